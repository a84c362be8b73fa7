"""What prompts let a budget remove, less what the controls do, paired by task and seed; and what that says of Y2."""

import math
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from vptft.evidence.findings import Finding, Verdict
from vptft.evidence.statistics.paired import mean_interval
from vptft.evidence.statistics.resampling import Interval, no_interval
from vptft.evidence.verdicts import REGION, Claim, decide

LOSS_REGION = 0.02
"""Nats of loss on fresh images that are practically nothing. A point of accuracy is the toolkit's region; where the
right class has a probability of one half, one point more is worth 0.01 / 0.5 nats. Chosen before any result."""

AGAINST: Mapping[str, tuple[str, ...]] = {"other dimensions": ("lora", "neurons"), "no dimensions": ("none",)}
"""Controls that prompts are compared with; of several, their mean: the best would be chosen by luck."""

CONTRASTS = [
    "pretraining", "start", "variant", "against", "on", "quantity", "effect", "low", "high", "p", "n", "n_tasks",
    "n_seeds",
]  # fmt: skip
CONTROLS = ["pretraining", "task", "method", "seed", "accuracy", "accuracy_ft"]
"""Columns of the runs that stand beside the test: accuracies on the same test images, fractions."""

ONE_TASK = "one task: the interval is over its seeds, and leaves out its test images, which they share"
"""Why one task alone bears no verdict."""

_DENIAL: Mapping[Verdict, Verdict] = {"supported": "refuted", "refuted": "supported"}
_MOVES = {
    "alone": "only the new parameters trained", "with head": "the head trained too", "joint": "the network trained too"
}  # fmt: skip
_METHODS = {"mixed": "Mixed (prompts and every weight at once)", "ft_then_pt": "FT-then-PT (prompts on a frozen FT)"}


def contrasts(table: pd.DataFrame) -> pd.DataFrame:
    """Give the paired differences of an escape test's table.

    Returns
    -------
    pd.DataFrame
        A row each ``start``, ``variant``, ``against`` and image set ``on`` (``train``, ``fresh``). ``effect`` with
        ``low``, ``high`` and ``p`` (Student's t): loss removed in nats, or accuracy gained in points, by prompts less
        the controls' mean. ``n`` counts tasks, or seeds where there is one task; ``n_seeds`` is the least of a task.

    Notes
    -----
    Of several tasks each counts once, with the mean of its seeds: seeds of one task are alike in what the task is.
    With one task the sample is its seeds, and says nothing of other tasks. The fresh images are the same for all seeds
    of a task, so their noise is in no interval, and one task alone bears no verdict; scenes, appearances and objectives
    that tasks share make it too short too.
    """
    rows = [
        {**cell, "against": against, "on": on, "quantity": quantity, **_summary(each, values)}
        for cell, part in _groups(table, ["pretraining", "start", "variant"])
        for against, names in AGAINST.items()
        for on in ("train", "fresh")
        for quantity in ("loss", "accuracy")
        for each, values in [_differences(part, names, quantity, on)]
        if len(values)
    ]
    return pd.DataFrame(rows, columns=CONTRASTS).astype({"pretraining": "str"})


def verdicts(contrasts: pd.DataFrame, controls: pd.DataFrame, table: pd.DataFrame) -> tuple[Finding, ...]:
    """Y2 by every contrast of the loss on fresh images, and by Mixed and FT-then-PT against FT, in one family.

    The claim that is judged is that extra dimensions help. Y2 denies it, so Y2 is supported where it is refuted, and
    refuted where it is supported.
    """
    fresh = contrasts[contrasts["on"] == "fresh"]
    losses, accuracies = (_records(fresh[fresh["quantity"] == quantity]) for quantity in ("loss", "accuracy"))
    claims = [_claim_of_contrast(*rows, table) for rows in zip(losses, accuracies, strict=True)]
    claims += [_claim_of_control(cell, part) for cell, part in _groups(controls, ["pretraining", "method"])]
    return tuple(_denied(finding) for finding in decide(claims))


def removed(table: pd.DataFrame, quantity: str, on: str) -> pd.Series:
    """Loss removed (nats) or accuracy gained (points) in each row of an escape test's table."""
    before, after = table[f"{quantity}_{on}_before"], table[f"{quantity}_{on}"]
    return before - after if quantity == "loss" else 100 * (after - before)


def _differences(part: pd.DataFrame, names: tuple[str, ...], quantity: str, on: str) -> tuple[pd.DataFrame, np.ndarray]:
    """Prompts less the mean of these controls, where a task and seed has them all; with the pairs they belong to."""
    values = part.assign(value=removed(part, quantity, on)).pivot(
        index=["task", "seed"], columns="extension", values="value"
    )
    if not {"prompts", *names} <= set(values.columns):
        return pd.DataFrame(), np.empty(0)
    values = values.dropna(subset=["prompts", *names])
    return values.index.to_frame(index=False), (values["prompts"] - values[list(names)].mean(axis=1)).to_numpy(float)


def _summary(pairs: pd.DataFrame, values: np.ndarray) -> dict[str, Any]:
    """Mean of paired differences with its interval and p: over tasks, or over the seeds of one task."""
    seeds = pairs.groupby("task")["seed"].nunique()
    unit = ["task"] if len(seeds) > 1 else ["task", "seed"]
    sample = pairs[["task", "seed"]].assign(value=values).groupby(["task", "seed"])["value"].mean()
    values = sample.groupby(unit).mean().to_numpy(float)
    spread = len(values) > 1 and np.ptp(values) > 0  # equal values, as of few test images, do not tell their variance
    found = mean_interval(values) if spread else no_interval(float(values.mean()))
    p = float(stats.ttest_1samp(values, 0.0).pvalue) if spread else math.nan
    return {
        "effect": found.value, "low": found.low, "high": found.high, "p": p, "n": len(values), "n_tasks": len(seeds),
        "n_seeds": int(seeds.min()),
    }  # fmt: skip


def _claim_of_contrast(row: Mapping[str, Any], accuracy: Mapping[str, Any], table: pd.DataFrame) -> Claim:
    """Judge the loss, and name the accuracy beside it: a network that is only less sure of itself loses loss too."""
    rows = table[(table["start"] == row["start"]) & (table["extension"] == "prompts")]
    low, high = rows["gradient_network"].min(), rows["gradient_network"].max()
    controls = {"other dimensions": "as many parameters in LoRA and in new neurons (their mean)"}.get(
        row["against"], "the same budget without new dimensions"
    )
    return Claim(
        hypothesis="Y2",
        statement=f"Loss on fresh images that prompts, added behind closed gates, let a budget remove, less what "
        f"{controls} let it remove; from the {row['start']} point (residual gradient {_span(low, high)} nats a unit), "
        f"{_MOVES[row['variant']]}; accuracy {_points(accuracy)}; {_pairs(row)}, {row['pretraining']} pretraining",
        effect=Interval(value=row["effect"], low=row["low"], high=row["high"]),
        predicted=1,
        unit="nats",
        region=LOSS_REGION,
        p=None if math.isnan(row["p"]) else row["p"],
        n=row["n"],
        n_seeds=row["n_seeds"],
        withheld=ONE_TASK if row["n_tasks"] == 1 else "",
    )


def _claim_of_control(cell: Mapping[str, Any], part: pd.DataFrame) -> Claim:
    found = _summary(part, 100 * (part["accuracy"] - part["accuracy_ft"]).to_numpy(float))
    return Claim(
        hypothesis="Y2",
        statement=f"Test accuracy of {_METHODS.get(cell['method'], cell['method'])} less that of FT; {_pairs(found)}, "
        f"{cell['pretraining']} pretraining",
        effect=Interval(value=found["effect"], low=found["low"], high=found["high"]),
        predicted=1,
        region=REGION,
        p=None if math.isnan(found["p"]) else found["p"],
        n=found["n"],
        n_seeds=found["n_seeds"],
        withheld=ONE_TASK if found["n_tasks"] == 1 else "",
    )


def _denied(finding: Finding) -> Finding:
    """Turn the verdict on "extra dimensions help" into that on Y2, which denies it."""
    if finding.low is not None and math.isnan(finding.low):  # one pair has no interval
        finding = replace(finding, low=None, high=None)
    if finding.verdict not in _DENIAL:
        return finding
    return replace(
        finding, verdict=_DENIAL[finding.verdict], reason=f"that they help is {finding.verdict}: {finding.reason}"
    )


def _points(row: Mapping[str, Any]) -> str:
    around = "" if math.isnan(row["low"]) else f" [{row['low']:+.1f}, {row['high']:+.1f}]"
    return f"{row['effect']:+.1f}{around} points"


def _pairs(row: Mapping[str, Any]) -> str:
    tasks, seeds = row["n_tasks"], row["n_seeds"]
    return f"{tasks} task{'' if tasks == 1 else 's'}, {seeds} seed{'' if seeds == 1 else 's'} each"


def _span(low: float, high: float) -> str:
    return f"{low:.2g}" if math.isclose(low, high) else f"{low:.2g} to {high:.2g}"


def _records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in frame.to_dict("records")]


def _groups(frame: pd.DataFrame, by: Sequence[str]) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    keys: Hashable
    for keys, part in frame.groupby(list(by), sort=False):
        assert isinstance(keys, tuple)
        yield dict(zip(by, keys, strict=True)), part
