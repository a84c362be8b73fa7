r"""
Features
========

**Question (Y3).** What does tuning keep of the pretrained features, and does that predict who wins?

**Number.** Debiased linear CKA between the pretrained and the tuned network, layer by layer, on the same images
(Kornblith et al. 2019, with the unbiased HSIC of Song et al. 2012):

.. math:: \mathrm{CKA} = \frac{\mathrm{HSIC}(K, L)}{\sqrt{\mathrm{HSIC}(K, K) \, \mathrm{HSIC}(L, L)}}, \quad
          \mathrm{HSIC} = \frac{1}{n (n - 3)} \left[ \operatorname{tr} \, \tilde K \, \tilde L
          + \frac{1^\top \tilde K 1 \; 1^\top \tilde L 1}{(n - 1)(n - 2)}
          - \frac{2}{n - 2} 1^\top \tilde K \, \tilde L 1 \right],

:math:`K = X X^\top` and :math:`L = Y Y^\top` with their diagonals set to 0. Beside it: Procrustes distance, overlap of
main subspaces and of neighbours, drift and effective rank of the weights' change, what prompts write into tokens, and
what probes can still do on other tasks.

**How it misleads.** A linear probe keeps everything by construction. CKA counts directions by their variance: a few
large ones decide it, and the small one that holds the answer may not show. Debiasing assumes independent images. A
method that preserves more differs in more than that.

**Command.** ``vptft-analyze features checkpoints/dtd -o reports/mine``

**Reference.** :py:mod:`vptft.why.features.preservation`, :py:mod:`vptft.why.features.explanation`,
:py:mod:`vptft.why.features.cka`, :py:mod:`vptft.why.features.drift`

Measure two networks
--------------------

On the :doc:`toy </toy>` of these pages, since whole networks of the suite are not kept: a random backbone, three
colours of a square. Finetuning moves the features, prompts move them less.
"""

from toy import model, run, sample, squares

from vptft.features.layers import layer_features
from vptft.models.tuned import TunedModel
from vptft.report.figures.features import draw_drift, draw_layers
from vptft.why.features.preservation import Described, Seen, measure

images, groups = sample("test"), squares("test", 48)
results = []
for method in ("ft", "vpt_deep"):
    info, tuned = run(method).info, model(method)
    pretrained = TunedModel(run(method).backbone().module, n_classes=3).eval()
    seen = Seen(
        name="squares", role="reference", groups=groups.groups,
        before=layer_features(pretrained, images.images), after=layer_features(tuned, images.images),
    )  # fmt: skip
    about = Described(
        label=run(method).label, task="squares", method=method, n_train=info.n_train, seed=0,
        pretraining=info.pretraining, backbone="tiny", accuracy=info.test_accuracy,
    )  # fmt: skip
    results.append(measure(pretrained, tuned, run=about, sets=[seen]))
similarity = draw_layers(results)

# %%
# How far each block's weights moved; prompt tuning moves none, so only finetuning is in it.

drift = draw_drift(results)

# %%
# Does preservation predict accuracy?
# -----------------------------------
#
# The four quadrant tasks, from the saved result: every method a dose, each task's mean taken away. The verdicts are
# about the methods that moved features; a probe of frozen ones is a control.

from committed import REPORTS

from vptft.report.figures.preservation import draw_preservation
from vptft.why.features.explanation import PreservationEffect

effect = PreservationEffect.load(REPORTS / "why" / "results" / "feature-preservation")
doses = draw_preservation(effect)

# %%
for finding in effect.findings():
    print(f"{finding.verdict}: {finding.statement}. {finding.reason}")
