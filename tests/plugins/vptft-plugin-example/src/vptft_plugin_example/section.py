"""The picture of class gaps and the section that shows it: what the entry point names."""

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vptft.report.figures.style import FT, MUTED, VPT, fitted, place, root, styled, table_of
from vptft.report.sections.parts import Analysis, Context, Picture
from vptft.storage import slug
from vptft_plugin_example.analysis import ClassGaps


@styled
def draw_class_gaps(result: ClassGaps, *, ax: Axes | None = None) -> Figure:
    """Draw each class' gap with its 95% interval, the largest on top; a dotted line at their mean."""
    frame = table_of(result, "class", "gap", "low", "high").sort_values("gap", ignore_index=True)
    figure, grid = place(ax, rows=1, columns=1, height=0.7 + 0.24 * len(frame))
    axes = figure.add_subplot(grid[0])
    for i, row in frame.iterrows():
        look = VPT if row["gap"] > 0 else FT
        axes.plot([row["low"], row["high"]], [i, i], color=look.colour)
        axes.plot(row["gap"], i, color=look.colour, marker=look.marker)
    axes.axvline(0, color=MUTED, linewidth=0.6)
    axes.axvline(result.balanced, color=MUTED, linestyle=":", linewidth=0.9)
    axes.set_yticks(range(len(frame)), [fitted(name, 90) for name in frame["class"]])
    axes.set_xlabel("gap in points (right: VPT ahead)")
    axes.set_title(fitted(result.task, 250), loc="left")
    return root(figure)


def _pictures(results: Sequence[ClassGaps], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name=f"class-gaps-{slug(result.task)}",
            figure=draw_class_gaps(result),
            alt=f"Gap of each class of {result.task} with its interval.",
            caption="The gap class by class with its 95% interval; the dotted line is the mean over classes.",
            task=result.task,
        )


ANALYSIS = Analysis(
    key="class-gaps",
    kind=ClassGaps,
    heading="Gaps by class",
    caution="The class with the largest gap is partly the one with the most luck: few images stand behind each class.",
    command="python -m vptft_plugin_example RUNS OUT/results",
    own_program=True,
    many=True,
    pictures=_pictures,
    name=lambda result: f"{result.analysis}: {result.task}",
)
