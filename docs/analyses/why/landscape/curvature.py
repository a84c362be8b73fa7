r"""
Curvature
=========

**Question.** How curved is the loss at each solution?

**Number.** Eigenvalues of both signs (Lanczos), trace and spectral density of the Hessian of the mean loss of fixed
images, from products alone. Raw curvature can be scaled away without changing the function (Dinh et al. 2017), so with
D the diagonal of weight sizes the scaled matrix comes first,

.. math:: D H D, \qquad \operatorname{tr} \, D H D = \sum_i d_i^2 H_{ii}, \qquad d_i = |w_i| \ \text{(element)},

twice the mean rise of the loss over random relative steps (Kwon et al. 2021; Andriushchenko et al. 2023). The trace is
:math:`\operatorname{tr} \, Q H Q^\top` exactly on a Krylov basis Q plus Hutchinson's mean on its complement, with the
probes' standard error (Meyer et al. 2021; Chen and Hallman 2022).

**How it misleads.** VPT and FT have different parameters: compare them in a space that both have (head, backbone), and
remember that the one's backbone was never optimised. No scaling removes confidence: a run with a fiftieth of the loss
has about a fiftieth of the curvature. Whether flat is better is contested. There is no finding here.

**Command.** ``vptft-analyze landscape checkpoints/dtd --what curvature -o reports/mine``; with ``--space head
--scaling element --density 4`` one space and its spectral density

**Reference.** :py:mod:`vptft.why.landscape.curvature.measure`, :py:mod:`vptft.why.landscape.curvature.scaling`,
:py:mod:`vptft.why.landscape.curvature.trace`, :py:mod:`vptft.why.landscape.curvature.density`

Measure two networks
--------------------

The :doc:`toy </toy>` of these pages, on training images; a mark is the mean over batches.
"""

from toy import model, sample

from vptft.report.figures.curvature import draw_curvature, draw_density
from vptft.why.landscape.curvature.measure import CurvatureSettings, measure

options = CurvatureSettings(
    k=2, probes=4, max_products=20, density_probes=1, density_steps=12, spaces=("prompts", "head", "backbone")
)
results = [
    measure(model(method), sample=sample("train", 32), label=method, task="squares", method=method, options=options)
    for method in ("vpt_deep", "ft")
]
figure = draw_curvature(results)

# %%
# The density of the head's spectrum, the space that both methods train.

density = draw_density(results, space="head")
