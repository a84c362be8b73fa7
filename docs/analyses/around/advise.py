r"""
Advice
======

**Question.** Prompts or full finetuning for a task that was not trained on yet, and how sure is that?

**Number.** A Bayesian regression of the gap over the tasks of the evidence, observation i of task t:

.. math:: g_i = \beta_0 + \sum_j \beta_j z_{ij} + u_t + e_i, \qquad
          u_t \sim N(0, \tau^2), \quad e_i \sim N(0, \omega^2 + s_i^2),

with predictors z known before training (disparity, distance, :math:`\log_2 n`) and the measurement variance
:math:`s_i^2`. Given :math:`(\tau, \omega)` it has a closed form (Lindley and Smith 1972); over them it is summed on a
grid of the prior. The advice is a method only where it is ahead with a probability of at least 80% and by an expected
point or more; otherwise "too close to call", with what would settle it.

**How it misleads.** A task of another kind than the evidence's is not warned of by a number. Evidence is never pooled
over pretraining objectives, so it is little. The track record below is the number to look at first: each task of the
evidence foretold from the others.

**Command.** ``vptft-analyze advise ./my-images --runs checkpoints/suite --budget storage=5MB``

**Reference.** :py:mod:`vptft.advise.measure`, :py:mod:`vptft.advise.regression`, :py:mod:`vptft.advise.decision`,
:py:mod:`vptft.advise.record`

The track record
----------------
"""

from committed import REPORTS

from vptft.advise.measure import measure
from vptft.advise.record import Record
from vptft.report.figures.advice import draw_advice, draw_record

record = Record.load(REPORTS / "advice" / "results" / "advice_record")
figure = draw_record(record)

# %%
record.regrets[["block", "rule", "n", "difference_points", "low_points", "high_points", "p", "says"]].round(2)

# %%
# Ask for one
# -----------
#
# Evidence from the paper's tables, where of each task the side of the objective and the number of images are known; a
# new task with 1,000 images and a far objective.

import numpy as np

from vptft.advise.tasks import NewTask
from vptft.report.assembly.advice.printed import published_evidence

task = NewTask(
    task="my task", backbone="timm/vit_base_patch16_224.orig_in21k", pretraining="supervised", n_train=1000,
    values={"objective_is_far": 1.0, "log2_n": float(np.log2(1000))}, objective_is_far=True,
)  # fmt: skip
advice = measure(task, published_evidence(task.backbone, task.pretraining))
print(advice.recommendation, "-", advice.reason)
print(advice.record)

# %%
predicted = draw_advice(advice)
