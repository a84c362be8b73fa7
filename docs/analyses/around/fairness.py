r"""
Fairness
========

**Question (C0).** Do the two sides of a comparison differ in the method only?

**Number.** None: a list. Each pair of recipes is compared aspect by aspect; a difference is a *confound* with what it
does, how to remove it, and the file and line that tell it; what one side does not tell is *unknown*. C0 is
supported where nothing differs and nothing needed is unknown, refuted by a critical or major confound, and inconclusive
in between. There is no equation and no threshold.

**How it misleads.** A recipe tells what it was asked for. What a program does whatever its settings say (an optimiser
that ignores its weight decay, dropout that one method alone trains with) is known here of KMnP/vpt and VPT-or-FT, and
of nothing else. A fair comparison can still be a weak one: two searches that were equally small.

**Command.** ``vptft-analyze checkpoints compare theirs/vpt theirs/ft``

**Reference.** :py:mod:`vptft.checkpoints.fairness`, :py:mod:`vptft.checkpoints.recipe`

Two runs of the suite
---------------------

Recipes are read from a run folder, ours or one of KMnP/vpt's.
"""

from dataclasses import replace

from committed import CHECKPOINTS

from vptft.checkpoints.fairness import measure
from vptft.checkpoints.recipe import Fact, read_recipe

task = CHECKPOINTS / "suite" / "photo-count"
vpt, ft = (read_recipe(next(iter(sorted((task / method).iterdir())))) for method in ("vpt_deep", "ft"))
print(measure([(vpt, ft)]).findings()[0].reason)

# %%
# The same pair, had FT been trained with dropout and without a search:

facts = {name: fact for name, fact in ft.facts.items() if name != "search"}
facts["backbone dropout"] = Fact(0.1, "made up for this page")
unfair = measure([(vpt, replace(ft, facts=facts))])
unfair.table[["kind", "aspect", "severity", "vpt", "ft", "remedy"]]

# %%
for finding in unfair.findings():
    print(f"{finding.verdict}: {finding.reason}")
