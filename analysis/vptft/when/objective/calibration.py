"""From the default measure to the disparity in [0, 1]: a fixed curve, and where its two numbers come from."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

DEFAULT = "class_readout"
"""The measure that the disparity is made of, chosen among all by the rule of
:mod:`vptft.when.objective.comparison` on the factorial suite; the comparison is in ``reports/objective``."""

FLOOR = 0.01
"""Below one point above chance a readout is noise, and its logarithm would be noise without limit."""

MIDPOINT, SCALE = -2.223, 0.579
"""Where the disparity is 1/2, and how fast it falls: from ``reports/objective/calibration.csv``, by
:func:`fitted`."""

IMAGES, IMAGE_SIZE = 1000, 98
"""Images a task, and their side in pixels, at which the two numbers were found: scores of fewer or smaller images are
on another scale. From 300 images at 56 px the suite's ``photo/category``, 0.30 here, scores 0.98, since DINOv2's
features do not hold it there."""

NEAR_END, FAR_END = 0.1, 0.9
"""What the suite's mean classification task and its mean geometric task are put at."""


def disparity(readout: float) -> float:
    """Return ``1 / (1 + exp((log max(r, FLOOR) - MIDPOINT) / SCALE))`` of a class readout r: 0 near, 1 far.

    It keeps the order of the readouts, so it separates what they separate and nothing else. The two numbers place it:
    half way between the suite's classification and geometric tasks is 1/2. They were fitted to no accuracy gap.
    A score is therefore relative to this suite: 0.1 says "read out as the suite's categories are".
    """
    return float(1 / (1 + np.exp((np.log(max(readout, FLOOR)) - MIDPOINT) / SCALE)))


def fitted(readouts: np.ndarray, is_far: np.ndarray) -> tuple[float, float]:
    """Midpoint and scale that put the mean log readout of the near and far tasks at NEAR_END and FAR_END.

    Parameters
    ----------
    readouts, is_far
        Class readout ``(n,)`` of tasks, and whether each task's objective is geometric.
    """
    logs = np.log(np.maximum(readouts, FLOOR))
    near, far = float(logs[~is_far].mean()), float(logs[is_far].mean())
    reach = np.log(FAR_END / NEAR_END)  # the distance from 1/2 of either end, in units of the scale
    return (near + far) / 2, (near - far) / 2 / float(reach)


def readouts(frame: pd.DataFrame, *, near: Callable[[str], bool], tasks: Sequence[str]) -> pd.DataFrame:
    """Return the table that :func:`fitted` takes its two numbers from.

    Parameters
    ----------
    frame
        Of :meth:`vptft.when.objective.disparity.Disparity.frame`.
    near
        Whether an objective is near, by name.
    tasks
        The tasks to calibrate on; others are left out.

    Returns
    -------
    DataFrame
        A row a backbone and task: backbone, task, is_far, class_readout (mean over draws), draws.
    """
    rows = frame[(frame["measure"] == DEFAULT) & frame["task"].isin(list(tasks))]
    rows = rows.assign(is_far=~rows["objective"].map(near).astype(bool))
    grouped = rows.groupby(["backbone", "task", "is_far"], sort=False)["value"]
    return grouped.agg(["mean", "size"]).reset_index().rename(columns={"mean": DEFAULT, "size": "draws"})


def off_scale(scores: pd.DataFrame) -> list[str]:
    """Say which disparities lie on another scale than the curve's: of fewer images, or of smaller ones.

    Parameters
    ----------
    scores
        Of :meth:`vptft.when.objective.disparity.Disparity.scores`; the size of the images stands behind the colon of
        the backbone's name.
    """
    said = []
    few = scores[scores["n"] < IMAGES].drop_duplicates("task")
    if len(few):
        listing = ", ".join(f"{row['task']} ({row['n']})" for row in few.to_dict("records"))
        said.append(f"the scale of the disparity is that of {IMAGES:,} images; of fewer are: {listing}")
    sizes = {name: name.rpartition(":")[2] for name in scores["backbone"].unique()}
    if small := [name for name, size in sizes.items() if size.isdecimal() and int(size) < IMAGE_SIZE]:
        said.append(f"the scale of the disparity is that of {IMAGE_SIZE} px; of smaller images is {', '.join(small)}")
    return said
