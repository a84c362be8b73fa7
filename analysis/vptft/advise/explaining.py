"""Advice in words: what each predictor adds, where the evidence ends, and how such advice has done."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from vptft.advise.decision import OPEN
from vptft.advise.predictors import ABOUT, SIZE, Choice, values_of
from vptft.advise.regression import Fit
from vptft.advise.tasks import Block, NewTask


def reasons(block: Block, choice: Choice, fitted: Fit, new: NewTask) -> Iterator[dict[str, Any]]:
    """Give a row for the mean of the evidence, each predictor that is used, and each that is not."""
    means, sds = fitted.coefficients()
    row = fitted.standardised([new.values[name] for name in choice.names])
    empty = dict.fromkeys(("value", "least", "most", "mean", "slope_points"), np.nan)
    yield {
        "block": block.name, "predictor": "mean", "about": "mean gap of the evidence", **empty, "points": means[0],
        "sd_points": sds[0], "used": True, "note": "",
    }  # fmt: skip
    for i, name in enumerate(choice.names):
        seen = np.concatenate([values_of(task, name) for task in choice.tasks])
        yield {
            "block": block.name, "predictor": name, "about": ABOUT[name], "value": new.values[name],
            "least": seen.min(), "most": seen.max(), "mean": fitted.centre[i], "slope_points": means[i + 1],
            "points": means[i + 1] * row[i + 1], "sd_points": sds[i + 1] * abs(row[i + 1]), "used": True,
            "note": _beyond(new.values[name], seen),
        }  # fmt: skip
    for name, why in choice.unused.items():
        value = new.values.get(name, np.nan)
        yield {
            "block": block.name, "predictor": name, "about": ABOUT[name], **empty, "value": value, "points": np.nan,
            "sd_points": np.nan, "used": False, "note": why,
        }  # fmt: skip


def warnings(block: Block, choice: Choice, new: NewTask) -> list[str]:
    """What a reader must know of this evidence before using its prediction for this task."""
    said = list(block.notes)
    for name in choice.names:
        seen = np.concatenate([values_of(task, name) for task in choice.tasks])
        if beyond := _beyond(new.values[name], seen):
            said.append(f"{ABOUT[name]}: {new.values[name]:.3g} lies {beyond}")
    sizes = np.array([size for task in choice.tasks for size in task.sizes])
    if SIZE not in choice.names and np.isfinite(sizes).all() and not sizes.min() <= new.n_train <= sizes.max():
        said.append(
            f"the evidence was trained on {_range(sizes)} images and this task has {new.n_train}: what that does to "
            "the gap is not in the prediction"
        )
    for why in dict.fromkeys(choice.left_out.values()):
        tasks = ", ".join(task for task, reason in choice.left_out.items() if reason == why)
        said.append(f"left out of {block.name}: {tasks}: {why}")
    return said


def sentence(told: dict[str, Any], new: NewTask) -> str:
    """Say what is advised and from which numbers."""
    gap = (
        f"predicted gap (VPT - FT) {told['predicted_points']:+.1f} points, 80% interval "
        f"[{told['low80_points']:+.1f}, {told['high80_points']:+.1f}], VPT ahead with probability {told['p_vpt']:.2f}, "
        f"from {told['n_tasks']} tasks of {told['block']}"
    )
    if told["mismatch"]:
        return (
            f"{OPEN}: there is no evidence of {new.backbone} ({new.pretraining} pretraining); borrowed, and not to be "
            f"relied on ({told['mismatch']}): {gap}"
        )
    beyond = f" ({told['beyond']} far beyond the evidence)" if told["beyond"] else ""
    return f"{told['advised']}{beyond}: {gap}"


Row = Mapping[Any, Any]


def record_line(summary: Row, regrets: Sequence[Row], calibration: Sequence[Row]) -> str:
    """Say how the advice of one block has done, and which rules it is not shown to beat."""
    (held,) = (row for row in calibration if row["level"] == 0.8)
    judged = [row for row in regrets if row["n"] > 0]
    against = ", ".join(
        f"{row['advice_points']:.1f} against {row['rule_points']:.1f} of {row['rule']} (difference "
        f"{row['difference_points']:+.1f} [{row['low_points']:+.1f}, {row['high_points']:+.1f}]"
        f"{'' if row['n'] == summary['n'] else ', on {} tasks'.format(row['n'])})"
        for row in judged
    )
    beaten = [row["rule"] for row in judged if row["says"] == "better"]
    others = [row["rule"] for row in judged if row["says"] != "better"]
    verdict = f"it is shown to beat {_listed(beaten)}" if beaten else "it is not shown to beat any of these"
    verdict += f", not {_listed(others)}" if beaten and others else ""
    return (
        f"{summary['block']}: {summary['n']} tasks, each foretold from others. Winner named rightly on "
        f"{summary['forced_right']} of {summary['n_won']}, where sure on {summary['advised_right']} of "
        f"{summary['advised']}. The 80% interval held {held['held']:.0%} [{held['low']:.0%}, {held['high']:.0%}]. Mean "
        f"regret in points {against}: {verdict}."
    )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def _beyond(value: float, seen: np.ndarray) -> str:
    """Where a value lies outside the evidence; empty where it does not."""
    if value < seen.min():
        return f"below the evidence, which begins at {seen.min():.3g}"
    return f"above the evidence, which ends at {seen.max():.3g}" if value > seen.max() else ""


def _range(sizes: np.ndarray) -> str:
    return f"{sizes.min():g}" if np.ptp(sizes) == 0 else f"{sizes.min():g} to {sizes.max():g}"
