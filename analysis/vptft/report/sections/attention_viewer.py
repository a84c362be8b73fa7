"""Every kind of attention map, image by image."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.attention_grid import draw_attention_grid
from vptft.report.figures.attention_heads import draw_attention_heads
from vptft.report.interactive.attention import attention_viewer
from vptft.report.pages import words
from vptft.report.sections.parts import Analysis, Context, Picture, Widget
from vptft.storage import slug
from vptft.why.attention.score_settings import RANDOM
from vptft.why.attention.scores import AttentionScores

CAUTION = (
    "Shown is the first seed's pair of each task. A few images show what maps look like, not who looks better: that is "
    "for the numbers over all images. A map that fails its sanity check is no map of this model. Both methods are "
    "explained for the same class, which one of them may not have chosen."
)
PER_OUTCOME = 2
"""Images of each outcome in a figure; the viewer has all that were kept."""


def _pictures(results: Sequence[AttentionScores], context: Context) -> Iterator[Picture]:
    for result in first_of_each(results):
        of, seed = f"{slug(result.task)}-seed{result.draw}", result.settings.get("seed")
        for kind in result.kinds:
            if kind == RANDOM:
                continue
            yield Picture(
                name=f"attention-{of}-{slug(kind)}",
                figure=draw_attention_grid(result, kind=kind, per_outcome=PER_OUTCOME),
                alt=f"Images of {result.task} of every outcome with the {kind} maps of VPT and FT.",
                caption=f"{result.task}, {kind.replace('_', ' ')}: the first {PER_OUTCOME} images of each outcome in a "
                f"sample drawn by seed {seed}.",
                raster=True,
                task=result.task,
            )
        yield Picture(
            name=f"attention-{of}-heads",
            figure=draw_attention_heads(result),
            alt=f"Attention of each layer and head to the patches of one image of {result.task}, VPT and FT.",
            caption=f"{result.task}: what each layer and head reads of the first image of that sample.",
            raster=True,
            task=result.task,
        )


def first_of_each(results: Sequence[AttentionScores]) -> list[AttentionScores]:
    """The pair of the first seed of each task: what is looked at, where numbers are of all."""
    first: dict[str, AttentionScores] = {}
    for result in sorted(results, key=lambda each: each.draw):
        first.setdefault(result.task, result)
    return [first[task] for task in dict.fromkeys(result.task for result in results)]


def quadrants_of(context: Context) -> dict[str, str]:
    """Quadrant of each task in words, where quadrants were measured."""
    return {
        str(row["task"]): words.side(row["objective_is_far"], row["data_is_far"])
        for plane in context.others.get("quadrants", ())
        for row in plane.frame().to_dict("records")
    }


def _widgets(results: Sequence[AttentionScores], context: Context) -> Iterator[Widget]:
    yield attention_viewer(first_of_each(results), quadrants_of(context))


ANALYSIS = Analysis(
    key="attention-scores", kind=AttentionScores, heading="Attention, image by image", caution=CAUTION,
    command="attention RUNS --scores", many=True, pictures=_pictures, widgets=_widgets,
    name=lambda result: f"{result.analysis}: {result.task}, seed {result.draw}",
)  # fmt: skip
