"""What the figure of the escape test shows, read back from its artists."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from matplotlib.text import Text

from vptft.errors import SettingsError
from vptft.report.figures.escape import draw_escape
from vptft.report.figures.style import SMALL, to_png, to_svg
from vptft.why.landscape.escape.contrasts import CONTROLS, contrasts
from vptft.why.landscape.escape.measure import EscapeTest
from why.landscape.escape.planted import tables


def made(tasks=("a",), starts=("finetuned",), extensions=("prompts", "lora", "neurons", "none")):
    rng = np.random.default_rng(0)
    effects = {name: {(task, seed): rng.normal(0.3, 0.2) for task in tasks for seed in range(3)} for name in extensions}
    table = pd.concat([tables(effects, extensions=extensions, start=start) for start in starts], ignore_index=True)
    return EscapeTest(
        settings={}, table=table, trials=pd.DataFrame(), controls=pd.DataFrame(columns=CONTROLS),
        contrasts=contrasts(table),
    )  # fmt: skip


def lines(axes):
    return {line.get_label(): line.get_ydata() for line in axes.lines}


def ticks(axes):
    return [label.get_text() for label in axes.get_xticklabels()]


def test_lines_are_points_and_marks_are_means():
    result = made(tasks=("a", "b"))
    joint = result.frame().query("variant == 'joint'")
    _, _, train, fresh = draw_escape(result).axes
    assert ticks(fresh) == ["none", "neurons", "LoRA", "prompts"]
    for axes, on in ((train, "train"), (fresh, "fresh")):
        value = joint.assign(value=joint[f"loss_{on}_before"] - joint[f"loss_{on}"])
        for (task, seed), part in value.groupby(["task", "seed"]):
            expected = part.set_index("extension")["value"][["none", "neurons", "lora", "prompts"]]
            np.testing.assert_allclose(lines(axes)[f"{task} {seed}"], expected)
        for name, part in value.groupby("extension"):
            np.testing.assert_allclose(lines(axes)[name], [part["value"].mean()])


def test_alone_there_is_no_extension_without_parameters_and_a_row_has_one_scale():
    train, fresh, *_ = draw_escape(made()).axes
    assert ticks(train) == ["neurons", "LoRA", "prompts"]
    assert train.get_ylim() == fresh.get_ylim()


def test_contrasts_are_written_beside_the_fresh_images():
    result = made()
    row = result.contrasts.query("variant == 'joint' and against == 'no dimensions' and on == 'fresh'").iloc[0]
    said = draw_escape(result).axes[3].get_title(loc="right")
    assert said.splitlines()[1].startswith(f"prompts − none: {row['effect']:+.3f} [".replace("-", "−"))


@pytest.mark.parametrize(
    "result",
    [made(), made(("photo/category", "plain/count", "a" * 60, "d", "e"), ("finetuned", "pretrained"))],
    ids=["1", "5"],
)
def test_every_letter_is_inside_and_large_enough(result):
    figure = draw_escape(result)
    to_png(figure, dpi=100)
    whole = figure.bbox.padded(1)
    beyond = {
        id(label)
        for axes in figure.axes
        for label in axes.get_yticklabels()
        if not axes.get_ylim()[0] <= label.get_position()[1] <= axes.get_ylim()[1]
    }  # matplotlib keeps these and does not draw them
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text() and id(text) not in beyond:
            assert text.get_fontsize() >= SMALL
            box = text.get_window_extent()
            assert whole.containsx(box.x0), text.get_text()
            assert whole.containsx(box.x1), text.get_text()
            assert whole.containsy(box.y0), text.get_text()
            assert whole.containsy(box.y1), text.get_text()


def test_two_pretrainings_have_lines_of_their_own_and_no_common_contrast():
    one = made()
    table = pd.concat([one.table, one.table.assign(pretraining="masked")], ignore_index=True)
    _, fresh, *_ = draw_escape(replace(one, table=table, contrasts=contrasts(table))).axes
    assert sum(line.get_label().startswith("a ") for line in fresh.lines) == 6
    assert fresh.get_title(loc="right") == ""


def test_titles_of_a_row_do_not_touch():
    figure = draw_escape(made(("a", "b"), ("finetuned", "pretrained")))
    to_png(figure, dpi=100)
    for left, right in zip(figure.axes[::2], figure.axes[1::2], strict=True):
        one, other = (
            next(text for text in axes.findobj(Text) if text.get_text() == axes.get_title(loc=loc))
            for axes, loc in ((left, "left"), (right, "right"))
        )
        assert not one.get_window_extent().overlaps(other.get_window_extent())


def test_equal_results_give_equal_bytes():
    assert to_svg(draw_escape(made())) == to_svg(draw_escape(made()))


def test_a_table_without_a_column_is_refused():
    result = made()
    with pytest.raises(SettingsError, match=r"lacks the columns \['loss_fresh'\]"):
        draw_escape(replace(result, table=result.table.drop(columns="loss_fresh")))
