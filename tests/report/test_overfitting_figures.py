"""What the figures of overfitting show, read back from their artists."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from report.builders import TASKS, make_curves
from vptft.report.figures.overfitting import draw_overfitting
from vptft.report.figures.overfitting_gap import draw_overfitting_gap
from vptft.report.figures.style import SMALL, to_png, to_svg
from vptft.why.overfitting.explanation import measure
from why.overfitting.histories import compared


def explained(tasks=8, **options):
    rng = np.random.default_rng(0)
    cells = compared(rng, np.linspace(0, 2, tasks), slope=4.0, **options)
    return measure([replace(cell, group="ab"[int(cell.task[-1]) % 2]) for cell in cells])


def lines(axes):
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_means_bands_and_onsets_are_those_of_the_table():
    result = make_curves(seeds=(0, 1, 2), epochs=8)
    axes = draw_overfitting(result).axes[0]
    frame = result.frame().query("task == 'photo/category' and method == 'ft' and split == 'test'")
    named = lines(axes)
    assert np.allclose(named["FT test"].get_ydata(), frame.groupby("epoch")["loss"].mean())
    assert len(axes.collections) == 4  # bands of two methods, training and test
    row = result.cells.query("task == 'photo/category' and method == 'ft'").iloc[0]
    if row["onset_epoch"] < 8:
        assert named["FT onset"].get_xdata() == [row["onset_epoch"]]
    assert {text.get_text() for text in axes.texts} == {"VPT", "FT"}


def test_one_seed_has_no_band_and_a_curve_that_falls_no_onset():
    result = make_curves(TASKS[:1])
    falling = replace(result, cells=result.cells.assign(onset_epoch=6.0))
    axes = draw_overfitting(falling).axes[0]
    assert not axes.collections
    assert not any("onset" in name for name in lines(axes))


def test_linear_losses_start_at_zero_and_accuracies_are_percentages():
    result = make_curves(TASKS[:2], seeds=(0, 1, 2))
    axes = draw_overfitting(result, scale="linear").axes[0]
    assert (axes.get_yscale(), axes.get_ylim()[0]) == ("linear", 0)
    shown = draw_overfitting(result, quantity="accuracy").axes[0]
    frame = result.frame().query("task == 'photo/category' and method == 'ft' and split == 'test'")
    assert np.allclose(lines(shown)["FT test"].get_ydata(), 100 * frame.groupby("epoch")["accuracy"].mean())
    assert shown.get_ylabel() == "accuracy, %"


def test_sizes_have_panels_of_their_own():
    result = make_curves(TASKS[:1], seeds=(0, 1, 2))
    both = replace(
        result,
        curves=result.curves.assign(n_train=np.where(result.curves["method"] == "ft", 100, 300)),
        cells=result.cells.assign(n_train=np.where(result.cells["method"] == "ft", 100, 300)),
    )
    titles = [axes.get_title(loc="left") for axes in draw_overfitting(both).axes]
    assert sorted(titles) == ["photo/category, n 100", "photo/category, n 300"]


def test_variants_of_a_method_stand_beside_it_in_a_panel_of_their_own():
    result = make_curves(TASKS[:1], seeds=(0, 1))
    arms = ("ft, keep best_val", "ft, augment colour, backbone_dropout 0.1, label_smoothing 0.1, weight_decay 0.1")

    def varied(frame):
        ft = frame[frame["method"] == "ft"]
        return pd.concat([frame, *(ft.assign(method=arm) for arm in arms)], ignore_index=True)

    whole = replace(result, curves=varied(result.curves), cells=varied(result.cells))
    plain, with_more = draw_overfitting(whole).axes
    assert {text.get_text() for text in plain.texts} == {"VPT", "FT"}
    said = {text.get_text() for text in with_more.texts}
    assert {"FT", "keep best val", "augment colour,\nbackbone dropout\nand more"} == said
    assert with_more.get_title(loc="left") == f"FT with more, {TASKS[0]}"
    colours = {line.get_color() for line in with_more.lines if line.get_label().endswith("test")}
    assert len(colours) == 3


def test_the_gap_is_drawn_with_its_regression_and_what_remains():
    result = explained()
    (axes,) = draw_overfitting_gap(result).axes
    named, row = lines(axes), result.terms.iloc[0]
    first = result.frame().iloc[0]
    assert (named["task 00"].get_xdata()[0], named["task 00"].get_ydata()[0]) == (
        first["rise_nats"], first["gap_points"],
    )  # fmt: skip
    at_zero = np.interp(0, *named["regression"].get_data())
    assert at_zero == pytest.approx(row["remaining"], abs=1e-6)
    said = " ".join(text.get_text() for text in axes.texts)
    assert f"{row['r2']:.0%}" in said
    assert {f"task {i:02}" for i in range(8)} <= {text.get_text() for text in axes.texts}


def test_too_few_tasks_are_drawn_without_a_line():
    (axes,) = draw_overfitting_gap(explained(3)).axes
    assert "regression" not in lines(axes)
    assert any(text.get_text() == "3 tasks: too few for a regression" for text in axes.texts)


@pytest.mark.parametrize("width", [5.5, 3.25])
def test_figures_fit_both_widths_with_letters_that_can_be_read(width):
    for figure in (
        draw_overfitting(make_curves(seeds=(0, 1, 2)), width=width),
        draw_overfitting_gap(explained(), width=width),
        draw_overfitting_gap(explained(), predictor="loss_gap_nats", width=width),
    ):
        figure.draw_without_rendering()
        assert figure.get_size_inches()[0] == width
        assert min(t.get_fontsize() for t in figure.findobj(Text) if t.get_text().strip()) >= SMALL
        box = figure.get_tightbbox()
        assert box.x0 >= -0.01
        assert box.x1 <= width + 0.01


def test_equal_results_give_equal_files():
    for draw, result in ((draw_overfitting, make_curves(TASKS[:2])), (draw_overfitting_gap, explained())):
        assert (to_svg(draw(result)), to_png(draw(result), dpi=60)) == (
            to_svg(draw(result)),
            to_png(draw(result), dpi=60),
        )


def test_names_of_many_methods_are_in_the_legend():
    methods = ("ft", "vpt_deep", "linear", "lora", "bias", "mixed")
    figure = draw_overfitting(make_curves(TASKS[:2], methods=methods))
    assert not any(axes.texts for axes in figure.axes)
    (legend,) = figure.legends
    names = {"FT", "VPT", "Linear", "LoRA", "BitFit", "Mixed", "test"}
    assert {text.get_text() for text in legend.get_texts()} >= names
    few = draw_overfitting(make_curves(TASKS[:2], methods=methods[:5]))
    assert {text.get_text() for text in few.axes[0].texts} == {"VPT", "FT", "BitFit", "Linear", "LoRA"}
