"""What the curvature figures show, read back from their artists."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from vptft.errors import SettingsError
from vptft.report.figures.curvature import draw_curvature, draw_density
from vptft.report.figures.style import SMALL, to_png
from vptft.report.sections import curvature
from vptft.report.sections.curvature import over_runs
from vptft.report.sections.parts import Context
from vptft.why.landscape.curvature.measure import COLUMNS, DENSITY, Curvature

SIZES = {"prompts": 46_080, "head": 2_310, "backbone": 21_536_640, "all": 21_538_950}


def made(method="vpt_deep", *, spaces=tuple(SIZES), seed=0, task="photo/count", k=5, scale=1.0):
    """Outliers that fall off by a factor, a small negative end, three batches."""
    rng = np.random.default_rng(seed)
    rows, nodes = [], []
    for space in spaces:
        of = (space, SIZES.get(space, 7))
        for batch in range(3):
            size = scale * rng.uniform(0.5, 2)
            ends = [(rank, size * 40.0 / 2**rank) for rank in range(1, k + 1)]
            ends += [(-rank, -size * 2.0 / 3**rank) for rank in range(1, k + 1)]
            rows += [(*of, "hessian", "element", batch, 0, "eigenvalue", *pair, 1e-3) for pair in ends]
            rows.append((*of, "hessian", "element", batch, 0, "trace", 0, 90 * size, 2.0))
            rows.append((*of, "", "element", batch, 0, "m-sharpness", 0, 0.3 * size, np.nan))
            rows.append((*of, "", "none", batch, 0, "loss", 0, 0.1 * scale, np.nan))
            values = np.array([*(value for _, value in ends), *rng.normal(0, 1e-3, 10)])
            weights = np.array([1e-6] * 2 * k + [(1 - 2e-6 * k) / 10] * 10)
            nodes += [
                (*of, "hessian", "element", batch, 0, 0, *pair) for pair in zip(values, weights, strict=True)
            ]  # fmt: skip
    return Curvature(
        settings={"batches": 3, "seed": 0}, label=method, task=task, method=method, split="train",
        table=pd.DataFrame(rows, columns=list(COLUMNS)), density=pd.DataFrame(nodes, columns=list(DENSITY)),
    )  # fmt: skip


RESULTS = [made("vpt_deep"), made("ft", spaces=("head", "backbone", "all"), seed=1, scale=30.0)]


def test_marks_are_means_over_batches_and_runs_and_bars_their_range():
    other = made("vpt_deep", seed=5)
    figure = draw_curvature([RESULTS[0], other], scaling="element")
    assert [axes.get_title().split("\n")[0] for axes in figure.axes[::3]] == ["prompts", "head", "backbone", "all"]
    frame = pd.concat([RESULTS[0].frame(), other.frame()]).query("space == 'head' and quantity == 'eigenvalue'")
    by_rank = frame.groupby("rank")["value"]
    axes = figure.axes[3]
    (marks,) = [line for line in axes.lines if line.get_label() == "VPT"]
    assert marks.get_ydata() == pytest.approx(by_rank.mean().to_numpy())
    (bars,) = axes.collections
    ends = np.array([segment[:, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(ends, np.column_stack([by_rank.min(), by_rank.max()]))


def test_eigenvalues_stand_by_rank_from_both_ends_on_a_symmetric_logarithmic_axis():
    axes = draw_curvature(RESULTS[:1]).axes[0]
    assert axes.get_yscale() == "symlog"
    assert [text.get_text() for text in axes.get_xticklabels()] == ["1", "5", "−5", "−1"]
    (marks,) = [line for line in axes.lines if line.get_label() == "VPT"]
    falling = marks.get_ydata()[np.argsort(marks.get_xdata())]
    assert (np.diff(falling) < 0).all()


def test_a_space_that_one_method_lacks_shows_the_other_and_parameters_are_counted():
    figure = draw_curvature(RESULTS)
    first, second = figure.axes[0], figure.axes[3]
    assert {line.get_label() for line in first.lines if line.get_label() in ("VPT", "FT")} == {"VPT"}
    assert {line.get_label() for line in second.lines if line.get_label() in ("VPT", "FT")} == {"VPT", "FT"}
    assert first.get_title() == "prompts\n46.1 k"
    assert {text.get_text() for text in figure.legends[0].get_texts()} == {"VPT", "FT"}
    assert "loss VPT 0.1, FT 3 nats" in figure.get_supxlabel()


@pytest.mark.parametrize("spaces", [("head",), ("prompts", "head"), ("prompts", "head", "backbone", "all", "block 0")])
def test_every_letter_is_inside_and_large_enough(spaces):
    results = [made("vpt_deep", spaces=spaces), made("ft", spaces=spaces, scale=1e4), made("mixed", spaces=spaces)]
    for figure in (draw_curvature(results), draw_density(results, space="head")):
        to_png(figure, dpi=100)
        whole = figure.bbox.padded(1)
        for text in figure.findobj(Text):
            if text.get_visible() and text.get_text():
                assert text.get_fontsize() >= SMALL
                box = text.get_window_extent()
                assert whole.containsx(box.x0), text.get_text()
                assert whole.containsx(box.x1), text.get_text()


def test_areas_under_a_density_are_shares_of_eigenvalues():
    figure = draw_density(RESULTS, space="all")
    (axes,) = figure.axes
    for result, line in zip(RESULTS, axes.lines[:2], strict=True):
        x, y = line.get_data()
        linear = axes.xaxis.get_transform().linear_width
        place = np.arcsinh(np.asarray(x) / linear)
        assert np.trapezoid(y, place) == pytest.approx(1, abs=1e-3)
        nodes = result.density.query("space == 'all' and node > 5 * @linear")
        tail = np.asarray(x) > 5 * linear
        assert np.trapezoid(np.asarray(y)[tail], place[tail]) == pytest.approx(nodes["weight"].sum() / 3, rel=0.1)


def test_what_is_not_there_is_said():
    with pytest.raises(SettingsError, match="No eigenvalue of the hessian with scaling 'none'"):
        draw_curvature(RESULTS, scaling="none")
    with pytest.raises(SettingsError, match="No density of 'block 3'"):
        draw_density(RESULTS, space="block 3")
    with pytest.raises(SettingsError, match="runs of one task; these are 2 runs"):
        draw_curvature([RESULTS[0], made(task="other")])
    with pytest.raises(SettingsError, match="these are 0 runs"):
        draw_density([], space="all")


def test_equal_results_give_equal_bytes():
    assert to_png(draw_curvature(RESULTS)) == to_png(draw_curvature(RESULTS))
    assert to_png(draw_density(RESULTS, space="all")) == to_png(draw_density(RESULTS, space="all"))


def test_the_page_tells_runs_of_one_method_together():
    runs = [made("ft", spaces=("head",), seed=seed) for seed in range(3)]
    told = over_runs([*runs, made("vpt_deep", spaces=("head",))])
    top = told[(told["quantity"] == "eigenvalue") & (told["rank"] == 1)].set_index("method")
    values = pd.concat([run.table for run in runs]).query("quantity == 'eigenvalue' and rank == 1")["value"]
    assert top.loc["ft", "value"] == pytest.approx(values.mean())
    assert (top.loc["ft", "lowest"], top.loc["ft", "highest"]) == (values.min(), values.max())
    assert top["n_runs"].to_dict() == {"ft": 3, "vpt_deep": 1}
    assert top["reading"].to_dict() == {"ft": "average over runs", "vpt_deep": "average of a run"}
    shown = curvature.ANALYSIS.tables(runs)[0]
    assert all(row[0] == "photo/count" for row in shown.rows)
    (density,) = (picture for picture in curvature.ANALYSIS.pictures(runs, Context()) if "density" in picture.name)
    assert "head" in density.caption
