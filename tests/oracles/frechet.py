"""Slow or closed-form references for distances between distributions: nothing here is shared with the package."""

import types
import warnings

import mpmath
import numpy as np
import scipy.linalg
from pytorch_fid import fid_score


def moments(x, weights=None):
    """Mean and unbiased covariance of rows; with weights that sum to 1, the weighted mean and biased covariance."""
    x = np.asarray(x, dtype=np.float64)
    if weights is None:
        return x.mean(axis=0), np.atleast_2d(np.cov(x, rowvar=False))
    mean = weights @ x
    return mean, (x - mean).T @ ((x - mean) * weights[:, None])


def root(covariance):
    """Symmetric square root by eigenvalues."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def distance_of_moments(mean_1, covariance_1, mean_2, covariance_2):
    """``|m1 - m2|^2 + tr (S1 + S2 - 2 (S1^1/2 S2 S1^1/2)^1/2)``, as written."""
    half = root(covariance_1)
    mixed = root(half @ covariance_2 @ half)
    return float(np.sum((mean_1 - mean_2) ** 2) + np.trace(covariance_1 + covariance_2 - 2 * mixed))


def distance(x, y):
    """The distance of two sets of rows, through their covariances: right to about 1e-7 of the trace."""
    return distance_of_moments(*moments(x), *moments(y))


def precise_distance(x, y, digits=60):
    """The distance in ``digits`` digits, for a few rows of a few columns; a covariance may be singular."""
    with mpmath.workdps(digits):
        means, scatters = [], []
        for rows in (x, y):
            matrix = mpmath.matrix(rows.tolist())
            mean = [mpmath.fsum(matrix[:, j]) / matrix.rows for j in range(matrix.cols)]
            centred = mpmath.matrix(matrix.rows, matrix.cols)
            for i in range(matrix.rows):
                for j in range(matrix.cols):
                    centred[i, j] = matrix[i, j] - mean[j]
            means.append(mean)
            scatters.append(centred.T * centred / (matrix.rows - 1))
        values, vectors = mpmath.eigsy(scatters[0])
        half = vectors * mpmath.diag([mpmath.sqrt(max(value, 0)) for value in values]) * vectors.T
        mixed = mpmath.eigsy(half * scatters[1] * half, eigvals_only=True)
        squares = mpmath.fsum((a - b) ** 2 for a, b in zip(*means, strict=True))
        traces = mpmath.fsum(scatter[i, i] for scatter in scatters for i in range(scatter.rows))
        return float(squares + traces - 2 * mpmath.fsum(mpmath.sqrt(max(value, 0)) for value in mixed))


def peer_distance(mean_1, covariance_1, mean_2, covariance_2):
    """pytorch-fid's own function; scipy 1.18 took away the argument ``disp`` of the square root it calls."""

    def sqrtm(matrix, disp=True):
        return scipy.linalg.sqrtm(matrix), 0.0

    original = fid_score.linalg
    fid_score.linalg = types.SimpleNamespace(sqrtm=sqrtm)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scipy warns where a product is singular
            return float(fid_score.calculate_frechet_distance(mean_1, covariance_1, mean_2, covariance_2))
    finally:
        fid_score.linalg = original


def rows_with(singular_values, n, rng):
    """Centred rows ``(n, d)`` whose covariance has these squared eigenvalues, in random directions."""
    values = np.asarray(singular_values, dtype=np.float64)
    d, rank = len(values), int(np.count_nonzero(values))
    white = rng.normal(size=(n, rank))
    left = np.linalg.qr(white - white.mean(axis=0))[0]
    left = left - left.mean(axis=0)
    right = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return np.sqrt(n - 1) * (left * values[values > 0]) @ right[:, values > 0].T


def positive_map(d, rng, spread=0.5):
    """A symmetric positive definite matrix with eigenvalues around 1."""
    vectors = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (vectors * np.exp(rng.uniform(-spread, spread, d))) @ vectors.T


def mapped_distance(centred, mapping, shift):
    """Closed form of the distance between rows and rows times a symmetric positive ``mapping``, plus a shift.

    Such a map is the optimal transport between the two Gaussians, whatever the rank, so that the distance is its
    mean squared step: no square root is in it, and nothing cancels.
    """
    steps = centred @ (np.eye(len(mapping)) - mapping)
    return float(np.square(steps).sum() / (len(centred) - 1) + np.square(shift).sum())


def distances_of_samples(first, second, n, m, repetitions, rng):
    """Plug-in distances of Gaussian samples, and their first-order terms, ``(repetitions,)`` each.

    ``first`` and ``second`` are (mean, factor L) of Gaussians with covariance ``L^T L``, full rank. The first-order
    term has mean zero and is known, which makes it a control variate for means over repetitions.
    """
    (mean_1, factor_1), (mean_2, factor_2) = first, second
    d = len(mean_1)
    x = mean_1 + rng.normal(size=(repetitions, n, d)) @ factor_1
    y = mean_2 + rng.normal(size=(repetitions, m, d)) @ factor_2
    means = [rows.mean(axis=1) for rows in (x, y)]
    covariances = []
    for rows, mean in zip((x, y), means, strict=True):
        centred = rows - mean[:, None]
        covariances.append(np.swapaxes(centred, 1, 2) @ centred / (rows.shape[1] - 1))
    values, vectors = np.linalg.eigh(covariances[0])
    halves = (vectors * np.sqrt(values)[:, None]) @ np.swapaxes(vectors, 1, 2)
    mixed = np.sqrt(np.linalg.eigvalsh(halves @ covariances[1] @ halves)).sum(axis=1)
    traces = sum(np.trace(each, axis1=1, axis2=2) for each in covariances)
    plain = np.square(means[0] - means[1]).sum(axis=1) + traces - 2 * mixed
    truths = [factor_1.T @ factor_1, factor_2.T @ factor_2]
    linear = np.zeros(repetitions)
    for rows, mean, other, (own, its) in (
        (x, mean_1, mean_2, truths), (y, mean_2, mean_1, truths[::-1]),
    ):  # fmt: skip
        half = root(own)
        back = np.linalg.inv(half)
        transport = back @ root(half @ its @ half) @ back
        form = np.eye(d) - transport
        step = rows - mean
        effects = 2 * step @ (mean - other) + np.einsum("rni,ij,rnj->rn", step, form, step) - np.trace(form @ own)
        linear += effects.mean(axis=1)
    return plain, linear
