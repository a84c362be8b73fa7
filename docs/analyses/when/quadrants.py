r"""
Quadrants
=========

**Question (W1, W2, W5).** Who wins where? Han et al. (2024, Figure 1) say: full finetuning (FT) only where the
objective is near pretraining's *and* the data are far.

**Number.** Of each task the gap in points, VPT minus FT on the same test images, averaged over training draws s and
images i,

.. math:: g = \frac{100}{S N} \sum_{s,i} (v_{si} - f_{si}),

with an interval from variance components of training draws and of groups of test images. The claims are contrasts of
the gap between sides of the plane, within one pretraining objective, corrected over the family (Holm):

.. math:: \text{W5:} \quad (G_{NF} - G_{NN}) - (G_{FF} - G_{FN}),

with :math:`G_{od}` the mean gap of the tasks whose objective o and data d are near (N) or far (F): an interaction, not
a main effect. Whether the paper's rule foretells a winner is judged on tasks that the boundary was not fitted to.

Beside it, of each pair of networks, the images that only one of both is right on, with McNemar's mid-p, or sign flips
of whole groups where images share a photograph.

**How it misleads.** With one seed the interval holds the test images alone, and there is no verdict; what a pair of
networks is right on says nothing of the next pair that is trained. Tasks that share
scenes or photographs are less than independent. With the median as boundary, near and far depend on which tasks are
there.

**Command.** ``vptft-analyze quadrants checkpoints/suite --reference imagenet -o reports/mine``

**Reference.** :py:mod:`vptft.when.quadrants.plane`, :py:mod:`vptft.when.quadrants.claims`,
:py:mod:`vptft.when.quadrants.boundaries`, :py:mod:`vptft.when.quadrants.outcomes`

The committed suite
-------------------

Ten tasks by design: two appearances times five questions. Open marks are gaps that may be nothing.
"""

from committed import REPORTS

from vptft.evidence.findings import to_table
from vptft.report.figures.gaps import draw_gaps
from vptft.report.figures.quadrants import draw_quadrants
from vptft.when.quadrants.plane import Quadrants, measure

result = Quadrants.load(REPORTS / "suite" / "results" / "quadrants")
plane = draw_quadrants(result, reference="photos")

# %%
gaps = draw_gaps(result)

# %%
# Its findings, with the verdict of :ref:`the one rule <verdicts>`:

to_table(result.findings())[
    ["hypothesis", "statement", "effect", "low", "high", "p_adjusted", "verdict", "reason"]
].round(3)

# %%
# Measure one
# -----------
#
# A task needs per-image correctness of both methods, one array a seed. Here both gaps are made up: +8 points with a
# far objective, -8 with a near one and far data.

import numpy as np

from vptft.evidence.statistics.resampling import PairedDraw
from vptft.when.quadrants.pairs import TaskPair

rng = np.random.default_rng(0)


def pair(name: str, gap: float, *, far_objective: bool, far_data: bool) -> TaskPair:
    odds = (0.15 + max(gap, 0), 0.15 - min(gap, 0))
    draws = [rng.choice([1.0, -1.0, 0.0], size=500, p=[*odds, 1 - sum(odds)]) for _ in range(3)]
    return TaskPair(
        task=name, objective="counting" if far_objective else "classification", objective_is_far=far_objective,
        pretraining="supervised", data_is_far=far_data, distance=900.0 if far_data else 300.0, measure_name="FD",
        draws=tuple(PairedDraw(differences=each, groups=np.arange(500)) for each in draws),
        accuracy_vpt=0.5 + gap, accuracy_ft=0.5,
    )  # fmt: skip


made = measure([
    pair("animals", 0.02, far_objective=False, far_data=False),
    pair("x-rays", -0.08, far_objective=False, far_data=True),
    pair("count animals", 0.08, far_objective=True, far_data=False),
    pair("count cells", 0.08, far_objective=True, far_data=True),
])  # fmt: skip
made_up = draw_quadrants(made)
