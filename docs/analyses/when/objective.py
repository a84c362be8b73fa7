r"""
Disparity of the objective
==========================

**Question (W2).** How far is what a task asks from what the backbone was pretrained for?

**Number.** A disparity in [0, 1], from frozen features and labels alone. A task is near where a linear probe reads the
answer *and* the answers stand apart as classes do, rather than in an order as counts and places do:

.. math:: r = \max(a, 0) \, (1 - \rho), \qquad
          \text{disparity} = \frac{1}{1 + \exp\left((\log \max(r, 0.01) - m) / s\right)},

a the linear probe's accuracy above chance, :math:`\rho` the label order, cut to [0, 1]: rank correlation of whitened,
cross-validated distances between class means with :math:`|i - j|`, on a line or a circle (after Walther et al. 2016 and
Kriegeskorte et al. 2008). m and s place the scale: half way between the suite's categories and its geometric tasks
is 1/2. They were fitted to no accuracy gap.

**How it misleads.** "Far from classification" means far from a *supervised* pretraining; for a self-distilled or masked
one it is another thing, and scores are never pooled over them. The measure was chosen among many on ten tasks of two
backbones, and the evidence does not exclude chance (``reports/objective``). Labels must be in their order: folders
named 1, 10, 2 are not. Where features hold nothing of the labels, their order is noise. The scale is that of 1,000
images of 98 px: of fewer or smaller ones the same task scores higher, since less can be read off.

**Command.** ``vptft-analyze objective vtab --backbone dinov2-s``

**Reference.** :py:mod:`vptft.when.objective.disparity`, :py:mod:`vptft.when.objective.measures`,
:py:mod:`vptft.when.objective.calibration`, :py:mod:`vptft.when.objective.structure`

The committed suite
-------------------
"""

from committed import REPORTS

from vptft.report.figures.objective import draw_disparity
from vptft.when.objective.disparity import Disparity, measure

figure = draw_disparity(Disparity.load(REPORTS / "suite" / "results" / "objective"))

# %%
# Measure one
# -----------
#
# Made-up features in which six answers can be read equally well: once as classes that stand apart in every direction,
# once as places on a line.

import numpy as np

from vptft.when.objective.task import TaskFeatures

rng = np.random.default_rng(0)
labels = np.arange(360) % 6
means = {"apart": 3 * np.eye(6), "in a line": 3 * np.arange(6)[:, None] * np.eye(6)[:1]}
tasks = [
    TaskFeatures(
        task=name, objective="unknown", backbone="made up", pretraining="made up",
        values=centres[labels] + rng.normal(size=(360, 6)), labels=labels, groups=np.arange(360),
    )
    for name, centres in means.items()
]  # fmt: skip
measure(tasks).scores()[["task", "disparity", "linear", "label_order"]].round(2)
