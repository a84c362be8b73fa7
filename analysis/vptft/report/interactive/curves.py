"""Curves per epoch, with methods, images and scale chosen by the reader."""

from typing import Any

import numpy as np
import pandas as pd

from vptft.report.figures.style import looks_of
from vptft.report.sections.parts import Widget
from vptft.why.overfitting.curves import OverfittingCurves

DASHES = {"test": "5 4", "val": "1.5 3"}
"""Dashes of a split's lines, as in the figures: training is drawn through."""


def curve_viewer(result: OverfittingCurves) -> Widget:
    """Data of curves: a line a run and split, to four digits."""
    frame = result.frame()
    looks = looks_of(frame["method"])
    sizes = frame["n_train"].nunique() > 1
    runs: list[dict[str, Any]] = []
    for _, own in frame.groupby(["task", "method", "n_train", "seed", "split"], sort=True):
        own = own.sort_values("epoch")
        first = own.iloc[0]
        task = f"{first['task']}, {first['n_train']:g} images" if sizes else str(first["task"])
        runs.append({
            "task": task, "method": str(first["method"]), "seed": str(first["seed"]), "split": str(first["split"]),
            "epoch": [_plain(each) for each in own["epoch"]],
            "loss": [_number(each) for each in own["loss"]],
            "accuracy": [_number(each) for each in own["accuracy"]],
        })  # fmt: skip
    return Widget(
        kind="curves",
        label="Curves to choose from",
        data={
            "tasks": list(dict.fromkeys(run["task"] for run in runs)),
            "methods": [{"name": name, "label": look.label, "colour": look.colour} for name, look in looks.items()],
            "splits": [
                {"name": split, "label": split.replace("_", " "), "dash": DASHES.get(split, "")}
                for split in pd.unique(frame["split"])
            ],
            "runs": runs,
        },
    )


def _plain(value: float) -> float | int:
    return int(value) if float(value).is_integer() else float(value)


def _number(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None
