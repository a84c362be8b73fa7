r"""
Data size
=========

**Question (W3).** Does full finetuning catch up as training images grow, and where does it overtake?

**Number.** A line through each task's gap over :math:`x = \log_2 n`,

.. math:: g(n) = a + b \, (x - \bar x), \qquad \log_2 n^* = \bar x - a / b,

b in points a doubling. The size :math:`n^*` at which the line is zero is a ratio; its set of sizes that cannot be ruled
out is Fieller's (1954)

.. math:: \{u : (a + b u)^2 \le t^2 (v_a + 2 c u + v_b u^2)\},

an interval only where the slope differs from zero. Over tasks the mean slope is tested by sign flips. Power-law
learning curves :math:`a - b n^{-c}` of each method stand beside, where asked for.

**How it misleads.** Beyond the measured sizes nothing is claimed. Where the gap bends, the line crosses elsewhere than
the gap. Published curves are single means without a known spread: their noise is what the line leaves.

**Command.** ``vptft-analyze datasize checkpoints -o reports/mine``

**Reference.** :py:mod:`vptft.when.datasize.measure`, :py:mod:`vptft.when.datasize.crossing`,
:py:mod:`vptft.when.datasize.curves`

Accuracies that the paper prints
--------------------------------
"""

from committed import REPORTS

from vptft.report.figures.datasize import draw_datasize
from vptft.when.datasize.measure import DataSize, measure

result = DataSize.load(REPORTS / "published" / "results" / "datasize")
result.groups[["task_group", "n_tasks", "slope_points", "slope_low", "slope_high", "p_holm", "says"]].round(2)

# %%
# Measure one
# -----------
#
# Made-up accuracies of two tasks, three draws a size, in which the true gap falls by 3 points a doubling and is zero at
# 2,000 images in the first, and stays at +4 in the second.

import numpy as np

from vptft.evidence.statistics.resampling import PairedDraw
from vptft.when.datasize.cells import Cell

rng = np.random.default_rng(1)
truth = {"overtakes": lambda n: -3 * np.log2(n / 2000), "stays": lambda n: 4.0}
cells = []
for task, gap_at in truth.items():
    hard = rng.normal(0, 0.3, 400)  # test images that one method finds harder, the same at every size
    for draw in range(3):
        for n in (400, 800, 2000, 5000, 10000):
            points = (gap_at(n) + rng.normal(0, 1)) / 100 + hard + rng.normal(0, 0.15, 400)
            level = 0.3 + 0.05 * np.log2(n / 100)
            cells.append(
                Cell(
                    task=task, task_group="made up", pretraining="supervised", n_train=n, draw=draw,
                    accuracy_vpt=level + points.mean() / 2, accuracy_ft=level - points.mean() / 2,
                    images=PairedDraw(differences=points, groups=np.arange(400)),
                )
            )  # fmt: skip
made = measure(cells)
figure = draw_datasize(made)

# %%
made.tasks[["task", "slope_points", "slope_low", "slope_high", "outcome", "says"]].round(2)
