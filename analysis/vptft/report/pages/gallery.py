"""Every figure of a study, once: the page embeds them and writes them as files."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from vptft.errors import SettingsError
from vptft.report.figures.agreement import draw_agreement
from vptft.report.figures.attention import draw_attention, draw_prompt_share
from vptft.report.figures.distances import draw_distances
from vptft.report.figures.gaps import draw_gaps
from vptft.report.figures.landscape import draw_slices
from vptft.report.figures.matrix import draw_matrix
from vptft.report.figures.overfitting import draw_overfitting
from vptft.report.figures.quadrants import draw_quadrants
from vptft.report.pages import words
from vptft.report.pages.study import Study
from vptft.storage import slug
from vptft.when.distribution.agreement import agreement_of, distances_by_set
from vptft.when.distribution.distance import SetDistance
from vptft.when.quadrants.plane import Quadrants

SHOWN = 8
"""Images of an attention figure."""


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A figure, the section it belongs to, its file name, and its words."""

    section: str
    name: str
    figure: Figure
    alt: str
    caption: str
    raster: bool = False


def pictures(study: Study) -> Iterator[Picture]:
    """Draw what there are results for, in the order of the page."""
    yield from _of_quadrants(study)
    yield from _of_distances(study)
    if study.curves is not None:
        frame = study.curves.frame()
        yield Picture(
            section="overfitting",
            name="overfitting",
            figure=draw_overfitting(study.curves),
            alt=words.alt_of("Training and test loss per epoch of VPT and FT", frame["task"]),
            caption=words.CAPTION_CURVES,
        )
    if study.slices:
        yield Picture(
            section="landscape",
            name="landscape",
            figure=draw_slices(study.slices),
            alt=words.alt_of("Contours of the test loss around", (item.label for item in study.slices)),
            caption=words.CAPTION_SLICES,
        )
    yield from _of_attention(study)


def _of_quadrants(study: Study) -> Iterator[Picture]:
    if study.quadrants is None:
        return
    frame = study.quadrants.frame()
    yield Picture(
        section="quadrants",
        name="gaps",
        figure=draw_gaps(study.quadrants),
        alt=words.alt_gaps(frame),
        caption=words.caption_gaps(frame),
    )
    yield Picture(
        section="quadrants",
        name="quadrants",
        figure=draw_quadrants(study.quadrants, reference=str(study.facts.get("reference", ""))),
        alt=words.alt_quadrants(frame),
        caption=words.CAPTION_QUADRANTS,
    )


def _of_distances(study: Study) -> Iterator[Picture]:
    """Draw one figure a measure, since numbers of different measures share no axis, and how far measures agree."""
    measures = list(dict.fromkeys(result.measure_name for result in study.distances))
    for measure in measures:
        chosen = [result for result in study.distances if result.measure_name == measure]
        debias = [str(result.settings.get("debias", "unknown")) for result in chosen]
        winners, every = _one_pretraining(study), _of_every_pair(chosen)
        yield Picture(
            section="distance",
            name="distances" if len(measures) == 1 else f"distances-{slug(measure)}",
            figure=draw_matrix(chosen) if every else draw_distances(chosen, quadrants=winners),
            alt=words.alt_distances(measure, chosen),
            caption=words.caption_matrix(measure, debias)
            if every
            else words.caption_distances(measure, debias, coloured=winners is not None),
        )
    if study.distances:
        yield from _of_agreement(study.distances)


def _of_agreement(results: Sequence[SetDistance]) -> Iterator[Picture]:
    """Draw the ranks in all feature spaces, where at least three sets were measured in two or more."""
    reference = results[0].first
    try:
        common = distances_by_set(results, reference).dropna()
    except SettingsError:  # a set measured twice in one space, with other settings, has no one rank
        return
    if common.shape[1] > 1 and len(common) > 2:
        yield Picture(
            section="distance",
            name="agreement",
            figure=draw_agreement(results, reference=reference),
            alt=words.alt_agreement(agreement_of(common)),
            caption=words.caption_agreement(reference),
        )


def _of_every_pair(results: Sequence[SetDistance]) -> bool:
    """Whether three sets or more were all measured against each other."""
    pairs = {frozenset((result.first, result.second)) for result in results}
    n = len(frozenset().union(*pairs))
    return n > 2 and min(map(len, pairs)) == 2 and len(pairs) == len(results) == n * (n - 1) // 2


def _one_pretraining(study: Study) -> Quadrants | None:
    """Quadrants whose winners can colour a task: a task has one winner for each pretraining objective."""
    if study.quadrants is None or study.quadrants.frame()["pretraining"].nunique() > 1:
        return None
    return study.quadrants


def _of_attention(study: Study) -> Iterator[Picture]:
    for result in study.attention:
        n = len(result.pixels)
        yield Picture(
            section="attention",
            name=f"attention-{slug(result.task)}",
            figure=draw_attention(result, max_images=SHOWN),
            alt=f"Images of {result.task} with the rollout maps of VPT and FT.",
            caption=words.caption_attention(result.task, str(result.settings.get("drawn", "")), min(SHOWN, n), n),
            raster=True,
        )
        yield Picture(
            section="attention",
            name=f"prompt-share-{slug(result.task)}",
            figure=draw_prompt_share(result),
            alt=f"Share of the rollout on prompts per layer: {result.task}.",
            caption=words.caption_share(result.task, n),
        )
