"""Distances between sets of images."""

from collections.abc import Iterator, Sequence

from vptft.errors import SettingsError
from vptft.report.figures.agreement import draw_agreement
from vptft.report.figures.distances import decimals, draw_distances, fixed
from vptft.report.figures.matrix import draw_matrix
from vptft.report.pages import words
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.storage import slug
from vptft.when.distribution.agreement import agreement_of, distances_by_set
from vptft.when.distribution.distance import SetDistance
from vptft.when.quadrants.plane import Quadrants

CAUTION = (
    "Values of different feature extractors cannot be compared, plug-in values of different image counts neither. "
    "A plug-in value at the noise floor is no distance. Debiasing removes most of the bias of small sets, not "
    "all, and can give values below 0. An interval tells of other images of the same sets, not of other features."
)


def _pictures(results: Sequence[SetDistance], context: Context) -> Iterator[Picture]:
    """Draw one figure a measure, since numbers of different measures share no axis, and how far measures agree."""
    measures = list(dict.fromkeys(result.measure_name for result in results))
    for measure in measures:
        chosen = [result for result in results if result.measure_name == measure]
        debias = [str(result.settings.get("debias", "unknown")) for result in chosen]
        winners, every = _one_pretraining(context), _of_every_pair(chosen)
        yield Picture(
            name="distances" if len(measures) == 1 else f"distances-{slug(measure)}",
            figure=draw_matrix(chosen) if every else draw_distances(chosen, quadrants=winners),
            alt=words.alt_distances(measure, chosen),
            caption=words.caption_matrix(measure, debias)
            if every
            else words.caption_distances(measure, debias, coloured=winners is not None),
        )
    if results:
        yield from _of_agreement(results)


def _of_agreement(results: Sequence[SetDistance]) -> Iterator[Picture]:
    """Draw the ranks in all feature spaces, where at least three sets were measured in two or more."""
    reference = results[0].first
    try:
        common = distances_by_set(results, reference).dropna()
    except SettingsError:  # a set measured twice in one space, with other settings, has no one rank
        return
    if common.shape[1] > 1 and len(common) > 2:
        yield Picture(
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


def _one_pretraining(context: Context) -> Quadrants | None:
    """Quadrants whose winners can colour a task: a task has one winner for each pretraining objective."""
    (quadrants,) = context.others.get("quadrants") or (None,)
    if quadrants is None or quadrants.frame()["pretraining"].nunique() > 1:
        return None
    return quadrants


def _distance_table(results: Sequence[SetDistance]) -> Table:
    rows = [
        [
            result.first,
            result.second,
            result.measure_name,
            words.estimate(result),
            fixed(result.distance, decimals([result.distance], figures=4)),
            _noise_floor(result),
            words.with_error(result.kid, result.kid_se),
            ", ".join("unknown" if n is None else f"{n:,}" for n in (result.n_first, result.n_second)),
            words.remark(result),
        ]
        for result in results
    ]
    return Table(
        caption=f"Distances: {words.INTERVAL}; {words.FLOOR}, at the N beside it. KID (in other features than "
        "Inception's: the same kernel distance) is unbiased, ± its standard error.",
        columns=[
            "first", "second", "measure", "debiased [95% interval]", "plug-in", "noise floor", "KID ± SE", "N",
            "remark",
        ],
        rows=rows,
        numbers=frozenset(range(3, 8)),
        of_task="second",
    )  # fmt: skip


def _noise_floor(result: SetDistance) -> str:
    if result.noise_floor is None:
        return "no halves"
    return f"{fixed(result.noise_floor, decimals([result.noise_floor], figures=4))} (N = {result.noise_floor_n:,})"


def _notes(results: Sequence[SetDistance]) -> list[str]:
    return list(dict.fromkeys(warning for result in results for warning in result.warnings()))


ANALYSIS = Analysis(
    key="distance", kind=SetDistance, heading="Distance of the data", caution=CAUTION, command="fid", many=True,
    pictures=_pictures, tables=lambda results: [_distance_table(results)], notes=_notes,
    name=lambda result: f"{result.analysis}: {result.first} to {result.second}",
)  # fmt: skip
