r"""
Lines
=====

**Question.** Is there a barrier between two solutions, and does a curve go around it?

**Number.** The loss along the straight line between weights :math:`w_0` and :math:`w_1`, and its barrier

.. math:: B = \max_t \left[ L((1 - t) w_0 + t w_1) - (1 - t) L(w_0) - t L(w_1) \right]

in nats, with an interval over groups of images, and over pairs of seeds where there are three. Networks that permute
their attention heads are the same function: heads are matched before, and the matched line stands beside. Where asked
for, the bend of a quadratic Bezier curve is trained to stay low (Garipov et al. 2018)

.. math:: w(t) = (1 - t)^2 w_0 + 2 t (1 - t) \, \theta + t^2 w_1.

Prompts that only one end has enter through a gate inside the softmax, so each end is its own network exactly.

**How it misleads.** A barrier on the line is no barrier of the landscape. A curve that does not stay low may have been
trained too briefly. It is geometry, and no verdict: that two solutions lie apart does not say what carried one there.

**Command.** ``vptft-analyze landscape checkpoints/dtd --what lines -o reports/mine``

**Reference.** :py:mod:`vptft.why.landscape.lines`, :py:mod:`vptft.why.landscape.connectivity`,
:py:mod:`vptft.why.landscape.curves`, :py:mod:`vptft.why.landscape.matching`

Walk some
---------

The :doc:`toy </toy>` of these pages: between two finetunings that differ in their seed.
"""

from toy import model, sample

from vptft.report.figures.lines import draw_barriers, draw_lines
from vptft.why.landscape.directions import weights_of
from vptft.why.landscape.lines import Ends, Line, measure
from vptft.why.landscape.parameters import space

networks = [model("ft", seed) for seed in (0, 1)]
ends = [weights_of(space(network, "all")) for network in networks]
samples = [sample("train", 48), sample("test", 48)]


def load() -> Ends:
    return Ends(model=networks[0], first=ends[0], second=ends[1], samples=samples)


line = Line(task="squares", kind="ft seeds", first="ft seed 0", second="ft seed 1", seeds=(0, 1), load=load)
result = measure([line], points=15, curve_steps=60, curve_lr=3e-3)
lines = draw_lines(result)

# %%
barriers = draw_barriers(result)
