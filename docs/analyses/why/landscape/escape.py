r"""
Escape test
===========

**Question (Y2).** Do extra dimensions help an optimiser to get away from where it stands?

**Number.** From one and the same network, prompts, LoRA updates, new neurons, or nothing are added without changing the
function, and each extension e gets the same budget of steps, batches and trials. Its loss removed on fresh images, and
the paired contrast of prompts with the controls of equal size:

.. math:: r_e = L_{\text{fresh}}(\text{before}) - L_{\text{fresh}}(\text{after } e), \qquad
          \Delta = r_{\text{prompts}} - \operatorname{mean}_{c} \, r_c,

over the controls c. Y2 is supported where :math:`\Delta` is shown to be nothing or negative (region 0.02 nats).
Curvature at the start is not looked at: at gate 0 the joint Hessian is :math:`\begin{pmatrix} a & b^\top \\ b & 0
\end{pmatrix}`, indefinite whenever :math:`b \ne 0`, for any extension at all.

**How it misleads.** An equal budget is equal in steps and trials, not in what a step can do. Where the training loss is
near zero there is nothing to escape from; the residual gradient says so. The loss on fresh images also falls where an
overconfident network becomes less so. One point knows no spread.

**Command.** ``vptft-analyze landscape checkpoints/dtd --what escape -o reports/mine``

**Reference.** :py:mod:`vptft.why.landscape.escape.measure`, :py:mod:`vptft.why.landscape.escape.extensions`,
:py:mod:`vptft.why.landscape.escape.budget`, :py:mod:`vptft.why.landscape.escape.contrasts`

Spend a small budget
--------------------

The :doc:`toy </toy>` of these pages, from its pretrained (random) network under a head that has converged, two seeds: a
picture of what a result holds, and no evidence.
"""

from toy import model, sample

from vptft.report.figures.escape import draw_escape
from vptft.why.landscape.escape.budget import Budget
from vptft.why.landscape.escape.measure import measure, together
from vptft.why.landscape.escape.points import StartingPoint, with_converged_head

budget = Budget(steps=12, batch_size=16, rates=(1e-3, 1e-2), network_rates=(1e-5, 1e-4))
parts = []
for seed in (0, 1):
    train, held_out = sample("train", 48, seed), sample("val", 24)
    point = StartingPoint(
        task="squares", pretraining="random", start="pretrained", seed=seed,
        model=with_converged_head(model("linear", seed), train, held_out), train=train, held_out=held_out,
        fresh=sample("test", 48),
    )  # fmt: skip
    parts.append(measure(point, prompts=2, budget=budget))
result = together(parts)
figure = draw_escape(result)

# %%
result.contrasts[["variant", "against", "on", "quantity", "effect", "n"]].round(4)
