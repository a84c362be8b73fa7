"""Where each model looks."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.attention import draw_attention, draw_prompt_share
from vptft.report.interactive.attention import attention_viewer
from vptft.report.pages import words
from vptft.report.sections.attention_viewer import quadrants_of
from vptft.report.sections.parts import Analysis, Context, Picture, Widget
from vptft.storage import slug
from vptft.why.attention.maps import AttentionMaps

CAUTION = (
    "Rollout is a description of where attention could carry content from, not of what decided. Maps are "
    "normalised to sum 1, so read them with the masses: what went to prompts, class token and registers is not in "
    "them. Prompt-aware, so it is lower on patches than rollouts that treat prompts as carried along."
)
SHOWN = 8
"""Images of an attention figure."""


def _pictures(results: Sequence[AttentionMaps], context: Context) -> Iterator[Picture]:
    for result in results:
        n = len(result.pixels)
        if not context.others.get("attention-scores"):  # which are drawn with rollout among the rest
            yield Picture(
                name=f"attention-{slug(result.task)}",
                figure=draw_attention(result, max_images=SHOWN),
                alt=f"Images of {result.task} with the rollout maps of VPT and FT.",
                caption=words.caption_attention(result.task, str(result.settings.get("drawn", "")), min(SHOWN, n), n),
                raster=True,
                task=result.task,
            )
        yield Picture(
            name=f"prompt-share-{slug(result.task)}",
            figure=draw_prompt_share(result),
            alt=f"Share of the rollout on prompts per layer: {result.task}.",
            caption=words.caption_share(result.task, n),
            task=result.task,
        )


def _widgets(results: Sequence[AttentionMaps], context: Context) -> Iterator[Widget]:
    if not context.others.get("attention-scores"):  # whose viewer has rollout among the rest
        yield attention_viewer(results, quadrants_of(context))


ANALYSIS = Analysis(
    key="attention", kind=AttentionMaps, heading="Attention", caution=CAUTION, command="attention", many=True,
    pictures=_pictures, widgets=_widgets, name=lambda result: f"{result.analysis}: {result.task}",
)  # fmt: skip
