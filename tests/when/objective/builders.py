"""Made-up tasks: classes that stand apart, in a line, on a circle, or nowhere."""

import numpy as np

from vptft.when.objective.task import TaskFeatures


def blobs(means, *, n=240, spread=0.3, seed=0, dimensions=None):
    """Features ``(n, d)`` around the rows of ``means``, balanced, and their labels."""
    rng = np.random.default_rng(seed)
    means = np.asarray(means, dtype=float)
    if dimensions is not None:
        means = np.pad(means, ((0, 0), (0, dimensions - means.shape[1])))
    labels = np.arange(n) % len(means)
    return means[labels] + rng.normal(0, spread, (n, means.shape[1])), labels


def line(count):
    return np.arange(count)[:, None] * np.array([[1.0, 0.5, 0.0, 0.0]])


def circle(count):
    angles = 2 * np.pi * np.arange(count) / count
    return np.stack([np.cos(angles), np.sin(angles), 0 * angles], axis=1) * 3


def simplex(count):
    return np.eye(count) * 3


def make_task(means=None, *, task="toy", objective="classification", backbone="tiny:32", pretraining="random",
              groups=None, probabilities=None, draw=0, **fields):  # fmt: skip
    values, labels = blobs(simplex(3) if means is None else means, **fields)
    return TaskFeatures(
        task=task, objective=objective, backbone=backbone, pretraining=pretraining, values=values, labels=labels,
        groups=np.arange(len(labels)) // 2 if groups is None else groups, probabilities=probabilities, draw=draw,
    )  # fmt: skip


def rotation(d, seed=3):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(d, d)))[0]
