r"""
Overfitting
===========

**Question (Y1).** Do the networks overfit, and does that explain the gap?

**Number.** The rise of the held-out loss L from its onset to the end, in nats. The onset of a seed s is chosen on the
*other* seeds, so that a curve that only fluctuates rises by zero on average:

.. math:: t_s = \arg\min_t \sum_{r \ne s} \tilde L_r(t), \qquad \text{rise}_s = \tilde L_s(T) - \tilde L_s(t_s),

with :math:`\tilde L` smoothed over a tenth of the epochs; onsets are chosen on validation where it was logged. A task
and method *overfits* if the 95% interval over at least three seeds lies above 0 and reaches beyond 0.05 nats. Whether
that explains the gap is a regression over tasks,

.. math:: g_k = \beta_0 + \beta_1 (\text{rise}^{FT}_k - \text{rise}^{VPT}_k) + \varepsilon_k,

with :math:`\beta_0` the gap at equal overfitting.

**How it misleads.** A loss can rise by confidence alone while accuracy rises too: read the accuracy and the calibration
beside it. A regression over tasks is no cause, and noise in the rise flattens its slope. Where FT was also trained with
what keeps it from overfitting (``protocol overfitting``), the command compares it with and without, image by image: an
experiment, though a regulariser does more than that.

**Command.** ``vptft-analyze overfitting checkpoints -o reports/mine``

**Reference.** :py:mod:`vptft.why.overfitting.curves`, :py:mod:`vptft.why.overfitting.onset`,
:py:mod:`vptft.why.overfitting.calibration`, :py:mod:`vptft.why.overfitting.explanation`,
:py:mod:`vptft.why.overfitting.regularisation`

The committed suite
-------------------

Curves are measured from the histories of the committed runs, here four tasks of two methods.
"""

from committed import CHECKPOINTS, REPORTS

from vptft.checkpoints.native import find_runs
from vptft.report.figures.overfitting import draw_overfitting
from vptft.why.overfitting.curves import measure

tasks = ("photo-category", "photo-count", "plain-category", "plain-count")
runs = find_runs([CHECKPOINTS / "suite" / task for task in tasks])
histories = [
    run.history().assign(
        task=run.info.task, method=run.info.method, seed=run.info.seed, pretraining=run.info.pretraining,
        n_train=run.info.n_train,
    )
    for run in runs
    if run.info.method in ("ft", "vpt_deep")
]  # fmt: skip
result = measure(histories)
curves = draw_overfitting(result)

# %%
result.cells[["task", "method", "rise_nats", "rise_low", "rise_high", "accuracy_change_points", "verdict"]].round(2)

# %%
# Does it explain the gap?
# ------------------------
#
# All ten tasks, from the saved result; the line is the regression with its band.

from vptft.report.figures.overfitting_gap import draw_overfitting_gap
from vptft.why.overfitting.explanation import Explanation

explanation = Explanation.load(REPORTS / "suite" / "results" / "overfitting-gap")
gap = draw_overfitting_gap(explanation)
