"""A Bayesian regression of the gap over tasks: closed form given two standard deviations, which are summed over.

For observation i of task t

    gap_i = b0 + sum_j b_j z_ij + u_t + e_i,   u_t ~ N(0, tau^2),   e_i ~ N(0, omega^2 + s_i^2)

with predictors z standardised over the evidence and the measurement variance s_i^2 known. Given (tau, omega) the
posterior of b and the prediction for another task are normal (Lindley and Smith 1972); over (tau, omega) they are
summed on a grid of prior quantiles, with weights of the marginal likelihood, so that a few tasks widen intervals as
they should. Where no task was seen twice, omega cannot be told from tau and is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from vptft.advise.prediction import Prediction
from vptft.advise.predictors import SIZE, values_of
from vptft.advise.tasks import Trained
from vptft.errors import SettingsError

LEAST = 4
"""Tasks below which nothing is fitted: a residual between tasks cannot be told from three."""


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is assumed before any task is seen, in points.

    Attributes
    ----------
    intercept, slope
        Standard deviations of normal priors around 0: of the mean gap, and of its change over one standard deviation
        of a predictor. Neither method is favoured, and no predictor either direction. Wide against what gaps are
        (printed ones mostly within 15 points), so they act only where evidence is thin.
    between, within
        Scales of half-Cauchy priors (Gelman 2006) of tau and omega.
    """

    intercept: float = 10.0
    slope: float = 5.0
    between: float = 5.0
    within: float = 2.0

    def __str__(self) -> str:
        return (
            f"mean gap N(0, {self.intercept:g}), slope a standard deviation of a predictor N(0, {self.slope:g}), "
            f"residual between tasks half-Cauchy({self.between:g}), within tasks half-Cauchy({self.within:g}); points"
        )


PRIOR = Prior()
BETWEEN_POINTS, WITHIN_POINTS = 80, 16
"""Prior quantiles on the grid; doubling both changes interval ends by less than 1%."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Fit:
    """The posterior given some evidence.

    Attributes
    ----------
    names
        Predictors, in the order of the coefficients after the intercept.
    centre, scale
        Mean and standard deviation of each predictor over the evidence, by which it is standardised ``(k,)``.
    weights, between, within
        Grid of tau and omega with its posterior weights ``(G,)``.
    means, precisions
        Of the coefficients given each, ``(G, 1 + k)`` and ``(G, 1 + k, 1 + k)``.
    prior_precision
        ``(1 + k, 1 + k)``.
    noise
        Median measurement variance of the evidence, which another gap is taken to be measured with.
    n_tasks
        Tasks it was fitted to.
    """

    names: tuple[str, ...]
    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    between: np.ndarray
    within: np.ndarray
    means: np.ndarray
    precisions: np.ndarray
    prior_precision: np.ndarray
    noise: float
    n_tasks: int

    def standardised(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        """A row of the design ``(1 + k,)`` of a task with these predictors."""
        return np.concatenate([[1.0], (np.asarray(values, dtype=float) - self.centre) / self.scale])

    def predict(
        self, values: Sequence[float] | np.ndarray, *, noise: float | None = None, tasks: float = 1.0
    ) -> Prediction:
        """Predict the gap of a task that is not in the evidence.

        Parameters
        ----------
        values
            Its predictors, in the order of ``names``.
        noise
            Variance its gap is measured with; None for that of the evidence.
        tasks
            How many times the evidence is taken to be there, for what more tasks like these would add.
        """
        row = self.standardised(values)
        precision = self.prior_precision + tasks * (self.precisions - self.prior_precision)
        return Prediction(
            weights=self.weights, centres=self.means @ row,
            parameters=np.einsum("i,gij,j->g", row, np.linalg.inv(precision), row),
            residual=self.between**2 + self.within**2,
            noise=np.full(len(self.weights), self.noise if noise is None else noise),
        )  # fmt: skip

    def coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of the coefficients ``(1 + k,)``, in points; slopes by standardised predictor."""
        mean = self.weights @ self.means
        own = np.linalg.inv(self.precisions)[:, range(len(mean)), range(len(mean))]
        return mean, np.sqrt(self.weights @ (own + np.square(self.means - mean)))


def fit(tasks: Sequence[Trained], names: Sequence[str], *, prior: Prior = PRIOR) -> Fit:
    """Fit the regression.

    Parameters
    ----------
    tasks
        Evidence; every task has all predictors.
    names
        Predictors.
    prior
        See :class:`Prior`.

    Raises
    ------
    SettingsError
        Fewer than :data:`LEAST` tasks, or a predictor that a task lacks.

    Notes
    -----
    The measurement variance counts as known though it is an estimate. A nonlinear relation, or residuals with heavy
    tails, are not in the model: whether intervals hold their level is to be seen by leaving tasks out.
    """
    if len(tasks) < LEAST:
        raise SettingsError(f"A prediction needs {LEAST} tasks on which both methods were trained; got {len(tasks)}.")
    gaps = np.concatenate([task.gaps for task in tasks])
    noise = np.concatenate([task.noise for task in tasks])
    raw = np.array([np.concatenate([values_of(task, name) for task in tasks]) for name in names])
    raw = raw.reshape(len(names), len(gaps)).T
    if not np.isfinite(raw).all():
        raise SettingsError(f"Not every task of the evidence has the predictors {list(names)}.")
    centre, scale = raw.mean(axis=0), raw.std(axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    design = np.column_stack([np.ones(len(gaps)), (raw - centre) / scale])
    member_of = np.repeat(np.arange(len(tasks)), [len(task.gaps) for task in tasks])
    precision = np.diag(1 / np.square([prior.intercept, *[prior.slope] * len(names)]))
    between, within = _grid(prior, repeated=len(gaps) > len(tasks))
    log_likelihood, means, precisions = _posterior(design, gaps, noise, member_of, between, within, precision)
    weights = np.exp(log_likelihood - log_likelihood.max())
    return Fit(
        names=tuple(names), centre=centre, scale=scale, weights=weights / weights.sum(), between=between,
        within=within, means=means, precisions=precisions, prior_precision=precision, noise=float(np.median(noise)),
        n_tasks=len(tasks),
    )  # fmt: skip


def row_of(task: Trained, names: Sequence[str], observation: int) -> list[float]:
    """Predictors of one observation of a task."""
    return [float(values_of(task, name)[observation]) for name in names]


def known_of(task: Trained, observation: int) -> dict[str, float]:
    """All predictors of one observation of a task, as of a new one."""
    return {**task.values, SIZE: float(values_of(task, SIZE)[observation])}


def _grid(prior: Prior, *, repeated: bool) -> tuple[np.ndarray, np.ndarray]:
    """Quantiles of the priors of tau and omega, every pair of them ``(G,)``: each is equally probable beforehand."""
    between = _half_cauchy(prior.between, BETWEEN_POINTS)
    within = _half_cauchy(prior.within, WITHIN_POINTS) if repeated else np.zeros(1)
    return np.repeat(between, len(within)), np.tile(within, len(between))


def _half_cauchy(scale: float, points: int) -> np.ndarray:
    return np.asarray(stats.halfcauchy.ppf((np.arange(points) + 0.5) / points, scale=scale))


def _posterior(
    design: np.ndarray, gaps: np.ndarray, noise: np.ndarray, member_of: np.ndarray, between: np.ndarray,
    within: np.ndarray, prior_precision: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:  # fmt: skip
    """Log marginal likelihood ``(G,)``, coefficients' means ``(G, k)`` and precisions ``(G, k, k)``.

    A task's covariance is a diagonal plus tau^2 everywhere, so its inverse is one rank away from a diagonal.
    """
    repeated = len(np.unique(member_of)) < len(gaps)
    shared = between**2 if repeated else np.zeros_like(between)
    own = within[:, None] ** 2 + noise + (0.0 if repeated else between[:, None] ** 2)  # (G, n)
    members = np.eye(member_of.max() + 1)[member_of]  # (n, tasks)
    both = np.column_stack([design, gaps])
    weighted = both[None] / own[..., None]  # (G, n, 1 + k + 1)
    sums = np.einsum("nt,gnj->gtj", members, weighted)
    of_task = (1 / own) @ members  # (G, tasks)
    shrink = shared[:, None] / (1 + shared[:, None] * of_task)
    products = np.einsum("ni,gnj->gij", both, weighted) - np.einsum("gt,gti,gtj->gij", shrink, sums, sums)
    precisions = prior_precision + products[:, :-1, :-1]
    right = products[:, :-1, -1]
    means = np.linalg.solve(precisions, right[..., None])[..., 0]
    log_det = np.log(own).sum(axis=1) + np.log1p(shared[:, None] * of_task).sum(axis=1)
    quadratic = products[:, -1, -1] - np.sum(right * means, axis=1)
    return -(log_det + np.linalg.slogdet(precisions)[1] + quadratic) / 2, means, precisions
