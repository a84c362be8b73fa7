r"""
Slices
======

**Question.** What does the loss look like around each solution?

**Number.** The mean cross-entropy on a grid along two random directions, scaled filter by filter (Li et al. 2018,
section 4): with weights w in filters :math:`w_j` and random d of the same shape,

.. math:: L(a, b) = \frac{1}{n} \sum_i \ell_i(w + a \, \delta + b \, \eta), \qquad
          \delta_j = \frac{d_j}{\|d_j\|} \, \|w_j\|.

A filter is a row of a matrix; a prompt tensor is one filter *a token*; LayerNorm and LayerScale stay where they are.

**How it misleads.** Two directions among millions: another seed gives another picture, so ``landscape --what slices``
draws several and what they have in common. Rescaling weights changes the picture without changing the function (Dinh et
al. 2017). VPT moves prompts and head, FT everything: the two panels are not in one space.

**Command.** ``vptft-analyze landscape checkpoints/dtd --what slices -o reports/mine``

**Reference.** :py:mod:`vptft.why.landscape.slices`, :py:mod:`vptft.why.landscape.surfaces`,
:py:mod:`vptft.why.landscape.directions`

Committed slices
----------------

The quickstart's runs on rendered photographs.
"""

from committed import REPORTS

from vptft.report.figures.landscape import draw_slices
from vptft.why.landscape.slices import LossSlice, measure

folders = sorted((REPORTS / "quickstart" / "results" / "landscape").glob("photo-c*/"))
figure = draw_slices([LossSlice.load(folder) for folder in folders])

# %%
# Measure two networks
# --------------------
#
# The :doc:`toy </toy>` of these pages.

from toy import model, sample

test = sample("test")
slices = [
    measure(
        model(method), images=test.images, labels=test.labels, label=method, task="squares", method=method, points=13
    )
    for method in ("vpt_deep", "ft")
]
toy = draw_slices(slices)
