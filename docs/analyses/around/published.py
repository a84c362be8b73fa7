r"""
Published numbers
=================

**Question.** What do the tables of Han et al. (ICLR 2024) show of their own claims, and does their arithmetic agree
with itself?

**Number.** Each claim is asked of the printed accuracies with one primary test over tasks k, the sign-flip permutation
of the mean gap

.. math:: p = \frac{1}{2^K} \sum_{\sigma \in \{\pm 1\}^K} \left[ \left| \sum_k \sigma_k g_k \right|
          \ge \left| \sum_k g_k \right| \right],

exact up to 20 tasks, with Student's interval, Holm's correction over the family, and the same claim by ranks and by
signs beside it. The audit recomputes every printed mean, count and percentage.

**How it misleads.** The interval is over *tasks*: it asks about tasks like these. Of seeds, training draws and searches
nothing is printed, so nothing is known. The list of claims was made when the tables were known: a reading of the paper,
not a registered plan. A discrepancy is data, not an accusation.

**Command.** ``vptft-analyze published -o reports/mine``, ``vptft-analyze published audit``

**Reference.** :py:mod:`vptft.published.claims`, :py:mod:`vptft.published.audit`,
:py:mod:`vptft.published.reproduction`, :py:mod:`vptft.published.questions`

The claims
----------

Measured here from the tables that ship with the package.
"""

from vptft.published import audit, tables
from vptft.published.claims import measure
from vptft.report.figures.published import draw_claims, draw_group_gaps, draw_pretraining

printed = tables.load()
result = measure(printed)
claims = draw_claims(result)

# %%
gaps = draw_group_gaps(result)

# %%
# Four backbones side by side: whether prompts win depends on how the backbone was pretrained.

pretraining = draw_pretraining(result)

# %%
# The audit, by kind of printed number.

checked = audit.measure(printed).frame()
checked.groupby(["kind", "outcome"]).size().unstack(fill_value=0)
