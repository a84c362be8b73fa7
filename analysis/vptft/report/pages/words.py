"""What a page says: sentences made from numbers, and nothing that goes beyond them."""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vptft.evidence.findings import Finding
from vptft.evidence.statistics.power import detectable_by, smallest_p
from vptft.evidence.verdicts import LEVEL, SEEDS_FOR_A_VERDICT
from vptft.report.figures.distances import decimals, fixed
from vptft.report.figures.style import signed, with_interval
from vptft.when.distribution.distance import SetDistance

QUESTION = (
    "Han et al. (ICLR 2024) ask when visual prompt tuning (VPT) beats full finetuning (FT), and why. They expect FT "
    "ahead in one quadrant only: where the task's objective is near that of pretraining and its data are far."
)
LABELS = {
    "size": "study",
    "backbone": "backbone",
    "backbone_sha256": "backbone, SHA-256",
    "pretraining": "pretraining objective",
    "reference": "reference set for distances",
    "n_train": "training images",
    "n_test": "test images",
    "epochs": "epochs",
    "image_size": "image size, pixels",
    "batch_size": "batch size",
    "prompt_length": "prompts a layer",
    "seeds": "seeds",
    "searched": "learning rate searched",
    "learning_rates": "learning rates",
    "confounds": "differences besides the method",
}


def answer(frame: pd.DataFrame) -> list[str]:
    """Say who was ahead in each quadrant, by how much, and what the intervals hold; a verdict is withheld first."""
    seeds = int(frame["n_seeds"].min())
    said = [no_verdict(seeds)] if seeds < SEEDS_FOR_A_VERDICT else []
    several = frame["pretraining"].nunique() > 1
    for pretraining, tasks in frame.groupby("pretraining", sort=True):
        scope = f"{pretraining} pretraining, " if several else ""
        for (objective_is_far, data_is_far), chosen in tasks.groupby(["objective_is_far", "data_is_far"], sort=True):
            said.append(f"{capital(scope + side(bool(objective_is_far), bool(data_is_far)))} {_outcome(chosen)}")
    return [*said, interval_words(seeds)]


def no_verdict(seeds: int) -> str:
    """Say that too few seeds were trained for a verdict."""
    return "One seed: no verdict." if seeds == 1 else f"{seeds} seeds: no verdict."


def interval_words(seeds: int) -> str:
    """Say what the 95% intervals hold."""
    if seeds == 1:
        return "Intervals are 95% and hold the test images only: training again could move a gap beyond them."
    return f"Intervals are 95% and hold test images and {seeds} training seeds."


def side(objective_is_far: bool, data_is_far: bool) -> str:
    """Name a quadrant."""
    return f"{'far' if objective_is_far else 'near'} objective, {'far' if data_is_far else 'near'} data"


def capital(text: str) -> str:
    """Give the text with its first letter large."""
    return text[:1].upper() + text[1:]


def _outcome(tasks: pd.DataFrame) -> str:
    rows = tasks.to_dict("records")
    if len(rows) > 1:
        gaps, counts = tasks["gap_points"], tasks["winner"].value_counts()
        won = ", ".join(f"{label} {counts.get(key, 0)}" for key, label in (("vpt", "VPT on"), ("ft", "FT on")))
        return (
            f"({len(rows)} tasks): ahead were {won}, neither on {counts.get('uncertain', 0)}; "
            f"mean gap {signed(gaps.mean())} points, from {signed(gaps.min())} to {signed(gaps.max())}."
        )
    row = rows[0]
    value, low, high = (float(row[name]) for name in ("gap_points", "low_points", "high_points"))
    name = f"({isolated(str(row['task']))}):"
    if row["winner"] == "uncertain":
        return f"{name} neither was clearly ahead, gap VPT − FT {with_interval(value, low, high)} points."
    if row["winner"] == "ft":
        return f"{name} FT was ahead by {-value:.1f} points [{-high:.1f}, {-low:.1f}]."
    return f"{name} VPT was ahead by {value:.1f} points [{low:.1f}, {high:.1f}]."


def gap_of(row: Mapping[Any, Any]) -> str:
    """Say who is ahead on a task of a plane."""
    gap = with_interval(*(float(row[name]) for name in ("gap_points", "low_points", "high_points")))
    who = {"vpt": "VPT is ahead", "ft": "FT is ahead"}.get(str(row["winner"]), "neither is clearly ahead")
    return f"{who}, gap VPT − FT {gap} points"


def fairness(facts: Mapping[str, Any]) -> str:
    """Say how equal the two sides' conditions were, as far as the study recorded it."""
    searched = facts.get("searched")
    budget = "" if searched is None else (
        "Learning rates were searched on validation for both methods with equal budget."
        if searched
        else "Learning rates were not searched: each method trained with its default."
    )  # fmt: skip
    confounds = [isolated(str(text)) for text in facts.get("confounds", [])]
    if "confounds" not in facts:
        return f"{budget} {noted(facts)}".strip()
    differ = f"Besides the method the sides differ in {'; '.join(confounds)}." if confounds else (
        "Besides the method and its learning rate no setting differs."
    )  # fmt: skip
    return " ".join(filter(None, [budget, differ, noted(facts)]))


NOTES_SHOWN = 4


def noted(facts: Mapping[str, Any]) -> str:
    """Give what runs say of themselves: an optimum at the end of a search, a training that ended too early."""
    alike: dict[str, list[str]] = {}
    for note in facts.get("notes", []):
        # "RUN: what is to be known", which many runs say with other numbers in it.
        alike.setdefault(re.sub(r"\d[\d.,]*", "0", str(note).partition(": ")[2] or str(note)), []).append(str(note))
    told = [isolated(first) + _and_more(len(rest)) for first, *rest in alike.values()]
    if not told:
        return ""
    more = f"; and {len(told) - NOTES_SHOWN} kinds more, in study.json" if len(told) > NOTES_SHOWN else ""
    return f"To be known of the runs: {'; '.join(told[:NOTES_SHOWN])}{more}."


def _and_more(n: int) -> str:
    return f" (so, with numbers of their own, {n} more run{'s' if n > 1 else ''})" if n else ""


def effect(finding: Finding) -> str:
    """Give effect, interval, unit and p as one text; empty where nothing was estimated."""
    if finding.effect is None:
        return ""
    counted = finding.unit == "aspects that differ"
    number = signed if finding.unit == "points" else (
        lambda value: f"{value:{'' if counted else '+'}.3g}".replace("-", "−")
    )  # fmt: skip
    bounds = "" if finding.low is None or finding.high is None else f" [{number(finding.low)}, {number(finding.high)}]"
    p = "" if finding.p is None else f", p = {finding.p:.2g}"
    if finding.p_adjusted is not None and finding.p_adjusted != finding.p:
        p += f" ({finding.p_adjusted:.2g} corrected)"
    return f"{number(finding.effect)}{bounds} {finding.unit}".strip() + p


def could_see(finding: Finding) -> str:
    """Say how large an effect such a study sees, where its interval is why it is inconclusive; empty elsewhere.

    Where the interval excludes zero, trainings were too few or the test decided, and its width says nothing of that.
    """
    if finding.verdict != "inconclusive" or finding.low is None or finding.high is None:
        return ""
    if finding.p is not None and finding.n and finding.p >= LEVEL and np.isclose(finding.p, smallest_p(finding.n)):
        return f"{finding.n} differences give no p below {finding.p:.2g}, however large"
    if not finding.low <= 0 <= finding.high or finding.reason.endswith("no verdict"):
        return ""
    return f"four of five such studies see an effect of {detectable_by(finding.low, finding.high):.2g} {finding.unit}"


def subtitle(facts: Mapping[str, Any]) -> str:
    """Give the study in one line."""
    parts = (
        ("backbone", "{}"),
        ("pretraining", "{} pretraining"),
        ("n_train", "{} training images"),
        ("epochs", "{} epochs"),
        ("image_size", "{} px"),
        ("seeds", "{} per method and task"),
    )
    values = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else value
        for name, value in {**facts, "seeds": _counted(facts.get("seeds"), "seed")}.items()
    }
    return " · ".join(words.format(isolated(str(values[name]))) for name, words in parts if values.get(name))


def caption_gaps(frame: pd.DataFrame) -> str:
    """Caption of the gaps."""
    return (
        f"Test accuracy of VPT minus FT, in points; positive is VPT ahead. {interval_words(int(frame.n_seeds.min()))}"
    )


CAPTION_QUADRANTS = (
    "Each task at its data's distance (across) and its objective's side (up), with its gap in points. Within a band "
    "the height has no meaning. Shaded: where the paper expects FT ahead."
)
CAPTION_PLANE = (
    "Each task at its data's distance (across) and the measured disparity of its objective (up), with its gap in "
    "points; marks that would hide each other stand side by side. Shaded: where the paper expects FT ahead."
)
CAPTION_CURVES = (
    "Mean cross-entropy per epoch, all panels on one logarithmic axis; solid is training, dashed is test; bands go "
    "from the lowest to the highest seed, and a triangle stands where the test loss turns."
)
CAPTION_SLICES = (
    "Test loss around each model (cross) along two random directions; 1 is a step as long as each filter. One colour "
    "scale a task. A picture, not evidence."
)


DEBIASED = {
    "jackknife": "by a grouped jackknife",
    "infinity": "by extrapolation to infinitely many images",
    "delta": "by the delta method",
}
INTERVAL = (
    "the 95% interval holds the sampling of images, whole groups at a time (1.96 standard errors), and on the side "
    "where it lies the bias that is left, as measured between halves of one set"
)
FLOOR = (
    "the noise floor is the plug-in distance between two halves of one set that share no group, mean of both sets "
    "where both can be halved"
)


def caption_distances(measure_name: str, debias: Iterable[str], *, coloured: bool) -> str:
    """Caption of one measure's distances."""
    colours = (
        " Colour tells who was ahead on the task, by the 95% interval of the gap; hatched is a far objective; grey, "
        "not trained."
    )
    return (
        f"{isolated(measure_name)}: bars are debiased {debiased_by(debias)}; {INTERVAL}. The tall tick is the plug-in "
        f"value that other tools report. Dotted: {FLOOR}. N is the number of images."
        f"{colours if coloured else ''}"
    )


def caption_matrix(measure_name: str, debias: Iterable[str]) -> str:
    """Caption of distances between all sets."""
    return (
        f"{isolated(measure_name)} between every two sets, debiased {debiased_by(debias)}. A marked corner: the 95% "
        f"interval includes 0; {INTERVAL}."
    )


def caption_agreement(reference: str) -> str:
    """Caption of the ranks in several feature spaces."""
    return (
        f"Ranks of the sets by debiased distance to {isolated(reference)} in each feature space, and Spearman's ρ of "
        "every two spaces. Ranks know nothing of intervals: sets whose intervals overlap can change places by chance. "
        "The p takes the sets as independent of each other."
    )


def debiased_by(methods: Iterable[str]) -> str:
    """Say how the bias was taken off, as the settings name it."""
    return " or ".join(dict.fromkeys(DEBIASED.get(method, method) for method in methods)) or "in a way not recorded"


def alt_distances(measure_name: str, results: Iterable[SetDistance]) -> str:
    """Alternative text of distances: every value with its interval."""
    said = (f"{result.first} to {result.second} {estimate(result)}" for result in results)
    return f"{measure_name}, debiased, with 95% intervals: {'; '.join(said)}."


def alt_agreement(frame: pd.DataFrame) -> str:
    """Alternative text of the agreement between feature spaces."""
    said = (
        f"{row['first_space']} and {row['second_space']} ρ = {fixed(row['rho'], 2)}, n = {row['n']}"
        for row in frame.to_dict("records")
    )
    return f"Sets ranked by distance in each feature space; rank correlation: {'; '.join(said)}."


def estimate(result: SetDistance) -> str:
    """Give the debiased distance with its interval where there is one: ``310.4 [298.1, 322.0]``."""
    bounds = [] if result.low is None or result.high is None else [result.low, result.high]
    places = decimals([result.debiased, *bounds], figures=4)
    interval = f" [{', '.join(fixed(bound, places) for bound in bounds)}]" if bounds else ""
    return fixed(result.debiased, places) + interval


def with_error(value: float | None, se: float | None) -> str:
    """Give a value and its standard error, of which two figures are shown; empty where there is no value."""
    if value is None:
        return ""
    if not se:
        return fixed(value, decimals([value], figures=3))
    places = decimals([se], figures=2)
    return f"{fixed(value, places)} ± {fixed(se, places)}"


def remark(result: SetDistance) -> str:
    """Say what a reader of one row must not overlook."""
    said = []
    if result.noise_floor is not None and result.distance <= result.noise_floor:
        said.append("at the noise floor")
    if result.low is None or result.high is None:
        said.append("no interval")
    elif result.low <= 0 <= result.high:
        said.append("interval includes 0")
    if result.skipped:
        said.append(f"{len(result.skipped)} unreadable")
    return "; ".join(said)


def caption_attention(task: str, drawn: str, shown: int, n: int) -> str:
    """Caption of one task's maps, with the rule by which the images were drawn."""
    rule = f"Drawn, not picked: {isolated(drawn)}. " if drawn else ""
    return (
        f"{isolated(task)}. {rule}Shown are the first {shown} of {n}. Under an image: its class and who was right; "
        "under a map: the mass on patches and on prompts, and the share of the map on the object where there are masks."
    )


def caption_share(task: str, n: int) -> str:
    """Caption of one task's prompt share."""
    return (
        f"{isolated(task)}: how much of the VPT model's rollout ends in the prompts of each layer; line is the mean, "
        f"bands are quartiles and range over {n} images."
    )


def alt_gaps(frame: pd.DataFrame) -> str:
    """Alternative text of the gaps and quadrants: every number drawn."""
    said = (
        f"{row['task']} {with_interval(row['gap_points'], row['low_points'], row['high_points'])}"
        for row in frame.sort_values("gap_points", ascending=False).to_dict("records")
    )
    return f"Accuracy gap VPT minus FT in points with 95% intervals: {'; '.join(said)}."


def alt_quadrants(frame: pd.DataFrame) -> str:
    """Alternative text of the quadrants."""
    said = (
        f"{row['task']}: {side(row['objective_is_far'], row['data_is_far'])}, distance {row['distance']:.4g}, "
        f"{ {'vpt': 'VPT ahead', 'ft': 'FT ahead'}.get(row['winner'], 'neither ahead') }"
        for row in frame.to_dict("records")
    )
    return f"Tasks by distance of data and objective: {'; '.join(said)}."


def alt_of(subject: str, names: Iterable[str]) -> str:
    """Alternative text of a figure whose numbers stand elsewhere."""
    return f"{subject}: {', '.join(dict.fromkeys(names))}."


def isolated(text: str) -> str:
    """Wrap a foreign name so that letters written from right to left do not reorder the sentence around it."""
    turned = any(unicodedata.bidirectional(character) in ("R", "AL") for character in text)
    return f"\N{FIRST STRONG ISOLATE}{text}\N{POP DIRECTIONAL ISOLATE}" if turned else text


def _counted(values: object, noun: str) -> str:
    if not isinstance(values, Sequence) or not values:
        return ""
    return f"{len(values)} {noun}" if len(values) == 1 else f"{len(values)} {noun}s"
