r"""
Sensitivity
===========

**Question.** Would the winner change with the prompt length, the depth, the initialisation, the search budget, or the
training draw?

**Number.** The gap in every *specification*, one choice of everything that was run (multiverse analysis, Steegen et al.
2016; the specification curve, Simonsohn, Simmons and Nelson 2020), and the share of the gap's variance that each choice
k makes (:math:`\omega^2`, Hays 1963), chance taken out:

.. math:: \sigma_k^2 = \frac{SS_k - df_k \, MSE}{N}, \qquad
          \text{share}_k = \frac{\sigma_k^2}{\sum_j \sigma_j^2 + \sigma_{\text{draw}}^2 + \sigma_{\text{rest}}^2},

with intervals by generalised pivotal quantities (Weerahandi 1993).

**How it misleads.** Only what was run can flip a verdict. The share of specifications that a method wins counts
settings that somebody chose: it is no probability, and twenty that share one FT run are not twenty confirmations. A
choice tried over a wider range has a larger share.

**Command.** ``vptft-analyze sensitivity checkpoints -o reports/mine``

**Reference.** :py:mod:`vptft.when.sensitivity.measure`, :py:mod:`vptft.when.sensitivity.shares`,
:py:mod:`vptft.when.sensitivity.budget`

Measure one
-----------

No committed study varies its design, so these runs are made up: three prompt lengths times two initialisations, three
draws. Length matters, initialisation does not, and 100 prompts turn the winner.
"""

import numpy as np

from vptft.report.figures.sensitivity import draw_shares, draw_specifications
from vptft.when.sensitivity.measure import measure
from vptft.when.sensitivity.specifications import Trained

rng = np.random.default_rng(0)
images = np.arange(500)


def trained(side: str, accuracy: float, draw: int, choices: dict[str, object]) -> Trained:
    hard = np.random.default_rng(7).random(500)  # the same images are hard for all
    return Trained(
        side=side, task="made up", pretraining="supervised", choices=choices,
        shared={"epochs": 20}, draw=draw, correct=hard < accuracy + rng.normal(0, 0.004), groups=images,
    )  # fmt: skip


gaps = {1: 0.02, 10: 0.08, 100: -0.06}
runs = [trained("ft", 0.6, draw, {}) for draw in range(3)]
runs += [
    trained("vpt", 0.6 + gap, draw, {"prompt length": length, "initialisation": name})
    for draw in range(3)
    for length, gap in gaps.items()
    for name in ("random", "xavier")
]
result = measure(runs)
curve = draw_specifications(result)

# %%
shares = draw_shares(result)

# %%
result.verdicts[["task", "n_specifications", "median_points", "share_vpt", "share_ft", "flips", "says"]].round(2)
