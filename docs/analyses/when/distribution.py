r"""
Distance of the data
====================

**Question (W1).** How far are a task's images from those the backbone was pretrained on?

**Number.** The Frechet distance of two sets' features with means :math:`m_i` and covariances :math:`S_i` (Dowson and
Landau 1982; Heusel et al. 2017; FID with Inception's features, FD with any other):

.. math:: d^2 = \|m_1 - m_2\|^2 + \operatorname{tr} \, S_1 + \operatorname{tr} \, S_2
          - 2 \operatorname{tr} \, (S_1 S_2)^{1/2}.

With centred features :math:`X_1, X_2` of :math:`N_1, N_2` images the last trace is
:math:`\|X_1 X_2^\top\|_* / \sqrt{(N_1 - 1)(N_2 - 1)}`, a nuclear norm: exact at any rank, no matrix square root,
nothing added to a diagonal. The bias of small sets is taken off by the grouped jackknife (Quenouille 1956)

.. math:: \hat d^2 = g \, d^2 - (g - 1) \, \operatorname{mean}_j \, d_{-j}^2,

with one fold j of g left out at a time, whole groups together. Beside it stand KID (Binkowski et al. 2018) and CMMD
(Jayasumana et al. 2024), both unbiased, and precision, recall, density and coverage.

**How it misleads.** The plug-in value grows as the sets shrink: below, two draws of *one* distribution. Values of two
extractors share no scale. A distance at the noise floor is no distance. Debiasing removes most of the bias, not all,
where images are fewer than dimensions. An interval is about other images of the same sets, not about other features.

**Command.** ``vptft-analyze fid imagenet dtd``

**Reference.** :py:mod:`vptft.when.distribution.distance`, :py:mod:`vptft.when.distribution.frechet`,
:py:mod:`vptft.when.distribution.debias`, :py:mod:`vptft.when.distribution.kernels`,
:py:mod:`vptft.when.distribution.neighbours`

The committed suite
-------------------

Ten rendered tasks against the reference set of photographs, in DINOv2's features. The tasks of one appearance show the
same scenes and ask different questions, so their distances are equal.
"""

from committed import REPORTS

from vptft.report.figures.distances import draw_distances
from vptft.when.distribution.distance import SetDistance

folders = sorted((REPORTS / "suite" / "results" / "distance").glob("*/"))
results = [SetDistance.load(folder) for folder in folders]
figure = draw_distances(results)

# %%
# Measure one
# -----------
#
# Two sets of noise from one distribution, as 48 pixel values: the true distance is 0. The plug-in value is not, and
# nears it as sets grow; the debiased one lies around 0 with its interval.

import numpy as np
import pandas as pd

from vptft.data.arrays import array_images
from vptft.features.extraction import extract
from vptft.features.pixels import load_pixels
from vptft.features.statistics import Statistics
from vptft.when.distribution.distance import measure

rng = np.random.default_rng(0)
extractor = load_pixels(4)


def noise(n: int, name: str) -> Statistics:
    pixels = rng.integers(0, 256, size=(n, 4, 4, 3), dtype=np.uint8)
    return Statistics.of(extract(array_images(pixels, name=name), extractor))


rows = [measure(noise(n, "a"), noise(n, "b")).frame() for n in (50, 100, 400)]
pd.concat(rows)[["n_first", "distance", "debiased", "low", "high", "noise_floor"]].round(3)
