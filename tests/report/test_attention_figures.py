"""Figures of attention scores: what is drawn is what the tables hold, and what fails its check says so."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from report.builders import make_scores
from vptft.errors import SettingsError
from vptft.report.figures.attention_grid import draw_attention_grid, save_maps
from vptft.report.figures.attention_heads import draw_attention_heads, tiled
from vptft.report.figures.attention_scores import (
    draw_attention_curves,
    draw_attention_layers,
    draw_attention_sanity,
    draw_attention_scores,
)
from vptft.report.figures.style import to_svg
from vptft.why.attention import comparison
from vptft.why.attention.score_settings import FAITHFUL, SCORES

N = 16


@pytest.fixture(scope="module")
def compared():
    return comparison.measure([make_scores(task, draw) for task in ("photo/count", "plain/count") for draw in range(3)])


def texts(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text")))


def test_the_grid_counts_each_outcome_and_shares_one_scale():
    result = make_scores()
    figure = draw_attention_grid(result, kind="rollout")
    said = texts(figure)
    for outcome, count in result.outcome_counts().items():
        assert f"{outcome}\n{count} of {N}" in said
    assert "FAILS its sanity check: weights, class" in said
    assert "drawn by seed 0" in said
    drawn = [axes.images[1] for axes in figure.axes if len(axes.images) == 2]
    assert len(drawn) == 2 * 8
    assert len({image.get_clim() for image in drawn}) == 1
    np.testing.assert_array_equal(drawn[0].get_array(), result.maps[0, 0, 0])  # VPT's first, then FT's
    np.testing.assert_array_equal(drawn[1].get_array(), result.maps[0, 1, 0])
    assert said.count("0.25") >= 16  # masses under every map
    passing = texts(draw_attention_grid(result, kind="gradcam"))
    assert "passes its sanity checks" in passing
    assert "0.25" not in passing  # it has no masses


def test_scores_are_hollow_where_the_kind_fails(compared):
    figure = draw_attention_scores(compared)
    axes = figure.axes[0]
    points = [line for line in axes.lines if line.get_marker() not in ("None", "") and len(line.get_xdata()) == 1]
    faces = [line.get_markerfacecolor() for line in points]
    assert len(points) == 2 * 3  # kinds, and two tasks and their mean
    assert faces[:3] == ["white"] * 3
    assert "white" not in faces[3:]
    table = compared.frame().query("outcome == 'all' and score == 'on_object' and map == 'rollout'")
    assert [line.get_xdata()[0] for line in points[:3]] == pytest.approx(100 * table["difference"])
    assert "(fails: weights, class)" in texts(figure)


def test_curves_and_sanity_draw_their_tables(compared):
    axes = draw_attention_curves(compared).axes
    assert len(axes) == 2 * 2
    assert [text.get_text() for text in (axes[0].title, axes[1].title)] == ["rollout (fails)", "gradcam"]
    assert len(axes[0].lines) == 8  # two sides; a kind and the random order; deletion and insertion
    weights = draw_attention_sanity(compared).axes[0]
    assert list(weights.lines[0].get_ydata()) == pytest.approx([1, 0.9, 0.8])
    with pytest.raises(SettingsError, match="No curves by pixels"):
        draw_attention_curves(compared, way="pixels")
    with pytest.raises(SettingsError, match="No sanity check"):
        draw_attention_sanity(replace(compared, sanity=compared.sanity.iloc[:0]))


def test_layers_show_the_seeds_mean_and_range(compared):
    axes = draw_attention_layers(compared).axes
    assert len(axes) == 2 * 4
    (vpt, ft) = axes[0].lines
    assert list(vpt.get_ydata()) == list(ft.get_ydata()) == [2, 3, 4]  # 1 + layer + draw, of draws 0 to 2
    band = axes[0].collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == (1, 5)


def test_heads_lie_side_by_side_with_the_share_on_prompts():
    result = make_scores()
    figure = draw_attention_heads(result, shown=1)
    shown = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown[5:9, 5:9], result.head_maps[1, 0, 1, 1])
    assert shown.shape == (3 * 5 - 1, 2 * 5 - 1)
    assert np.isnan(tiled(result.head_maps[1, 0])[4]).all()
    assert "0.20" in texts(figure)
    with pytest.raises(SettingsError, match="no number 8"):
        draw_attention_heads(result, shown=8)


def test_every_shown_map_is_kept_as_data_and_picture(tmp_path):
    result = make_scores()
    written = save_maps(replace(result, drawn=result.drawn[:2]), tmp_path)
    assert len(written) == 2 * (1 + 2 * 2)
    data = sorted(tmp_path.glob("*.npz"))
    with np.load(data[0]) as kept:
        np.testing.assert_array_equal(kept["ft/gradcam"], result.maps[0, 1, 1])


def test_what_is_not_there_is_refused(compared):
    with pytest.raises(SettingsError, match="no 'relevance' maps; there are rollout, gradcam"):
        draw_attention_grid(make_scores(), kind="relevance")
    result = make_scores()
    with pytest.raises(SettingsError, match="No image was kept"):
        draw_attention_grid(replace(result, drawn=result.drawn[:0]), kind="rollout")
    with pytest.raises(SettingsError, match="None of the scores"):
        draw_attention_scores(replace(compared, table=compared.table.query("score == 'gini'")))
    assert set(FAITHFUL) < set(SCORES)


def test_figures_repeat_byte_for_byte(compared):
    assert to_svg(draw_attention_scores(compared)) == to_svg(draw_attention_scores(compared))
