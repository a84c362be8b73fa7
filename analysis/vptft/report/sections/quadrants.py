"""Who is ahead, and where."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from vptft.report.figures.gaps import draw_gaps
from vptft.report.figures.quadrants import draw_quadrants
from vptft.report.figures.style import with_interval
from vptft.report.pages import words
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.when.quadrants.plane import Quadrants

CAUTION = (
    "A gap can be undertraining, or a learning rate that suits one side better. Near and far objective is the "
    "paper's grouping by hand; near and far data depend on the reference and on the features the distance is "
    "measured in. An interval that includes 0 does not show that the methods are equal."
)

MIDDLE = 0.5
"""Disparity from which the measure calls an objective far."""


def _pictures(results: Sequence[Quadrants], context: Context) -> Iterator[Picture]:
    for result in results:
        frame = result.frame()
        yield Picture(
            name="gaps",
            figure=draw_gaps(result),
            alt=words.alt_gaps(frame),
            caption=words.caption_gaps(frame),
        )
        yield Picture(
            name="quadrants",
            figure=draw_quadrants(result, reference=str(context.facts.get("reference", ""))),
            alt=words.alt_quadrants(frame),
            caption=words.CAPTION_PLANE if frame["disparity"].notna().all() else words.CAPTION_QUADRANTS,
        )


def _tables(results: Sequence[Quadrants]) -> list[Table]:
    made = []
    for result in results:
        made += [task_table(result.frame()), cell_table(result.cells)]
        if len(result.predictions):
            made.append(prediction_table(result.predictions))
    return made


def _notes(results: Sequence[Quadrants]) -> list[str]:
    """Tasks whose measured disparity lies on the other side than the paper's grouping puts them."""
    told = []
    for result in results:
        frame = result.frame()
        strange = frame[(frame["disparity"] > MIDDLE) != frame["objective_is_far"]].dropna(subset=["disparity"])
        if len(strange):
            named = [
                f"{row['task']} ({'far' if row['objective_is_far'] else 'near'} by hand, {row['disparity']:.2f})"
                for row in strange.to_dict("records")
            ]
            told.append(
                "Verdicts group objectives as the paper does, by hand; the figure's height is measured. The two "
                f"disagree on {', '.join(named)}: either may be wrong, and the measure was chosen on few tasks."
            )
    return told


def task_table(frame: pd.DataFrame) -> Table:
    """Each task with its gap and its place in the plane."""
    known = frame["disparity"].notna().any()
    rows = [
        [
            str(row["task"]),
            f"{row['objective']}, {'far' if row['objective_is_far'] else 'near'}",
            "far" if row["data_is_far"] else "near",
            f"{100 * row['accuracy_vpt']:.1f}",
            f"{100 * row['accuracy_ft']:.1f}",
            with_interval(row["gap_points"], row["low_points"], row["high_points"]),
            f"{row['distance']:.4g}",
            *([f"{row['disparity']:.2f}"] if known else []),
            f"{row['n_test']:,}",
            f"{row['n_groups']:,}",
            str(row["n_seeds"]),
        ]
        for row in frame.to_dict("records")
    ]
    measure = ", ".join(frame["measure_name"].unique())
    return Table(
        caption="Accuracy of VPT and FT in percent, mean over seeds; gap in points with its 95% interval; distance: "
        f"debiased {measure}.",
        columns=[
            "task",
            "objective",
            "data",
            "VPT",
            "FT",
            "gap",
            "distance",
            *(["disparity"] if known else []),
            "test images",
            "groups",
            "seeds",
        ],
        rows=rows,
        numbers=frozenset(range(3, 10 + known)),
    )


def cell_table(cells: pd.DataFrame) -> Table:
    """The four quadrants: who is ahead in each."""
    rows = [
        [
            words.side(row["objective_is_far"], row["data_is_far"]), row["predicted"].upper(), str(row["n_tasks"]),
            str(row["n_vpt"]), str(row["n_ft"]), str(row["n_open"]),
            with_interval(row["gap_points"], row["low_points"], row["high_points"]), row["pretraining"],
        ]
        for row in cells.to_dict("records")
    ]  # fmt: skip
    return Table(
        caption="The paper's four quadrants: the winner its rule names, and on how many tasks each method is ahead: "
        "the gap's interval, or the gap where none is known, lies beyond the region of practical equivalence; mean gap "
        "in points with its 95% interval.",
        columns=["quadrant", "rule", "tasks", "VPT ahead", "FT ahead", "open", "mean gap", "pretraining"],
        rows=rows,
        numbers=frozenset(range(2, 7)),
    )


def _with_bounds(row: Mapping[Any, Any]) -> str:
    """A boundary, with its interval where it was estimated; an infinite one parts nothing."""
    if pd.isna(row["value"]):
        return ""
    bounds = "" if pd.isna(row["value_low"]) else f" [{row['value_low']:.4g}, {row['value_high']:.4g}]"
    return f"{row['value']:.4g}{bounds}"


def prediction_table(predictions: pd.DataFrame) -> Table:
    """Whether the paper's rule names winners of tasks it has not seen."""
    rows = [
        [
            row["boundary"], _with_bounds(row), str(row["n"]), str(row["ties"]),
            f"{100 * row['accuracy']:.0f}% [{100 * row['low']:.0f}, {100 * row['high']:.0f}]",
            f"{100 * row['base']:.0f}%", f"{100 * row['always_vpt']:.0f}%", f"{row['p']:.2g}", row["pretraining"],
        ]
        for row in predictions.to_dict("records")
    ]  # fmt: skip
    return Table(
        caption="Does the paper's rule name the winner of a task it has not seen? Each task is named with a boundary "
        "from the others; beside it the others' usual winner, and always VPT; p is McNemar's, rule against usual.",
        columns=["boundary", "distance", "tasks", "ties", "rule", "usual winner", "always VPT", "p", "pretraining"],
        rows=rows,
        numbers=frozenset(range(1, 8)),
    )


ANALYSIS = Analysis(
    key="quadrants", kind=Quadrants, heading="Who is ahead, and where", caution=CAUTION, command="quadrants",
    pictures=_pictures, tables=_tables, notes=_notes,
)  # fmt: skip
