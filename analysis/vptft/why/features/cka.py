"""Linear centred kernel alignment of two sets of features of the same images, without its bias.

Kornblith et al. 2019, *Similarity of Neural Network Representations Revisited*, section 3: with K = X X^T, L = Y Y^T,
CKA = HSIC(K, L) / sqrt(HSIC(K, K) HSIC(L, L)). Plugged in, HSIC is biased upwards, so that features of fewer images
than dimensions look alike whatever they are; Song et al. 2012 (*Feature Selection via Dependence Maximization*,
equation 5) give the estimator without that bias, and Nguyen et al. 2021 (*Do Wide and Deep Networks Learn the Same
Things?*, equation 4) average it over minibatches.
"""

from dataclasses import dataclass

import numpy as np

from vptft.errors import SettingsError

LEAST = 4
"""Images that the unbiased HSIC needs."""


@dataclass
class MinibatchCKA:
    """CKA from minibatches: what is held does not grow with the images.

    Each batch's unbiased HSIC terms are averaged, weighted by images; of one batch it is :func:`linear_cka` exactly.
    Numerator and denominator are unbiased for any batches, so the ratio tends to the CKA of all images as batches
    are added, whatever their size.
    """

    cross: float = 0.0
    first: float = 0.0
    second: float = 0.0
    images: int = 0

    def update(self, x: np.ndarray, y: np.ndarray) -> None:
        """Add a batch: features ``(b, d)`` and ``(b, e)`` of the same images, b of at least four."""
        gram_x, gram_y = gram(x), gram(y)
        if len(gram_x) != len(gram_y):
            raise SettingsError(f"CKA compares the same images; these are {len(gram_x)} and {len(gram_y)}.")
        n = len(gram_x)
        self.cross += n * hsic(gram_x, gram_y)
        self.first += n * hsic(gram_x, gram_x)
        self.second += n * hsic(gram_y, gram_y)
        self.images += n

    @property
    def value(self) -> float:
        """CKA of what was seen; NaN where either side is constant. Above 1 or below 0 by noise, never by bias."""
        scale = self.first * self.second if min(self.first, self.second) > 0 else 0.0
        return self.cross / float(np.sqrt(scale)) if scale else float("nan")


def linear_cka(x: np.ndarray, y: np.ndarray) -> float:
    """Debiased linear CKA of features ``(n, d)`` and ``(n, e)`` of the same n images, at least four.

    1 for features that differ by a rotation, a scale and a shift, about 0 for independent ones, and then as often
    below 0 as above.

    Notes
    -----
    Directions count by their variance: a few large ones (of DINOv2's last layers above all) decide it, and what a
    probe could still read from small ones does not show. Images that depend on each other, as crops of one photograph
    do, are not what the debiasing assumes: then independent features keep some similarity.
    """
    found = MinibatchCKA()
    found.update(x, y)
    return found.value


def gram(x: np.ndarray) -> np.ndarray:
    """Inner products ``(n, n)`` of centred features, float64; centring changes no HSIC, and keeps digits."""
    values = np.asarray(x, dtype=np.float64)
    if values.ndim != 2 or len(values) < LEAST:
        raise SettingsError(f"CKA needs features (n, d) of at least {LEAST} images, not {values.shape}.")
    values = values - values.mean(axis=0)
    return values @ values.T


def hsic(k: np.ndarray, m: np.ndarray) -> float:
    """Unbiased Hilbert-Schmidt independence criterion of two Gram matrices ``(n, n)`` (Song et al. 2012, equation 5).

    With diagonals set to 0: [tr(K L) + 1'K1 1'L1 / ((n - 1)(n - 2)) - 2 1'K L1 / (n - 2)] / (n (n - 3)).
    """
    n = len(k)
    diagonal_k, diagonal_m = np.diagonal(k), np.diagonal(m)
    rows_k, rows_m = k.sum(axis=1) - diagonal_k, m.sum(axis=1) - diagonal_m
    trace = float(np.vdot(k, m)) - float(diagonal_k @ diagonal_m)
    both = float(rows_k.sum()) * float(rows_m.sum()) / ((n - 1) * (n - 2))
    return (trace + both - 2 * float(rows_k @ rows_m) / (n - 2)) / (n * (n - 3))
