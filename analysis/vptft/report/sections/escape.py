"""Whether extra dimensions help to leave an optimum."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.escape import draw_escape
from vptft.report.sections.parts import Analysis, Context, Picture
from vptft.why.landscape.escape.measure import EscapeTest

CAUTION = (
    "An equal budget is equal in steps and trials, not in what a step can do: parameters of different kinds "
    "move the function differently. A point whose own gradient is not small is no optimum, and what is removed "
    "there is training."
)


def _pictures(results: Sequence[EscapeTest], context: Context) -> Iterator[Picture]:
    for result in results:
        yield Picture(
            name="escape",
            figure=draw_escape(result),
            alt="Loss that each extension lets an equal budget remove, on training and on fresh images.",
            caption="Loss removed from the same point by extensions that leave the function as it was: prompts, LoRA, "
            "new neurons, none. A thin line is a task and seed.",
        )


ANALYSIS = Analysis(
    key="escape", kind=EscapeTest, heading="Do extra dimensions help?", caution=CAUTION,
    command="landscape --what escape", pictures=_pictures,
)  # fmt: skip
