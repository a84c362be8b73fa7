"""Curvature of one run's loss: eigenvalues of both signs, trace and sharpness, by parameter space and batch.

Scale-invariant versions come first, because raw curvature can be rescaled away without changing the function (Dinh et
al. 2017; see :mod:`.scaling`).
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
import pandas as pd
from torch import nn

from vptft.errors import NotApplicable, SettingsError
from vptft.evidence.results import Result
from vptft.why.landscape.curvature.density import spectral_density
from vptft.why.landscape.curvature.eigenvalues import MAX_PRODUCTS, TOLERANCE, extreme_eigenvalues
from vptft.why.landscape.curvature.function import Batch, LossFunction
from vptft.why.landscape.curvature.hvp import GaussNewtonProducts, HessianProducts, Products
from vptft.why.landscape.curvature.scaling import SCALINGS, Scaling, scaled
from vptft.why.landscape.curvature.sharpness import RHO, of_size, sharpness
from vptft.why.landscape.curvature.trace import beyond
from vptft.why.landscape.evaluation import Sample
from vptft.why.landscape.parameters import ALL, BACKBONE, HEAD, PROMPTS, space, spaces

SPACES = (PROMPTS, HEAD, BACKBONE, ALL)
MATRICES = {"hessian": HessianProducts, "gauss-newton": GaussNewtonProducts}
ENOUGH = 3
"""Batches below which a summary is a picture."""
COLUMNS: Mapping[str, str] = {
    "space": "str", "parameters": "int64", "matrix": "str", "scaling": "str", "batch": "int64", "seed": "int64",
    "quantity": "str", "rank": "int64", "value": "float64", "error": "float64",
}  # fmt: skip
DENSITY: Mapping[str, str] = {
    "space": "str", "parameters": "int64", "matrix": "str", "scaling": "str", "batch": "int64", "seed": "int64",
    "probe": "int64", "node": "float64", "weight": "float64",
}  # fmt: skip
KEYS = ["space", "parameters", "matrix", "scaling", "quantity", "rank"]


@dataclass(frozen=True, kw_only=True)
class CurvatureSettings:
    """What is measured; a product costs 2 to 3 gradients of a batch.

    Attributes
    ----------
    spaces
        Names of :func:`vptft.why.landscape.parameters.spaces`; those that a model has not are left out.
    batches
        Whole groups of images go round into so many; each has a spectrum of its own.
    seeds
        Of start vectors and probes. They show the estimators' error, which residuals and standard errors state too; of
        what another training would give they say nothing: for that, measure several runs.
    scalings
        Of :data:`.scaling.SCALINGS`.
    matrices
        ``hessian``, ``gauss-newton`` or both.
    k, tolerance, max_products
        As :func:`.extreme_eigenvalues` takes them.
    probes
        Products for what the trace has outside the eigenvalues' Krylov space.
    density_probes, density_steps
        Of :func:`.spectral_density`; no density with 0 probes.
    m
        Images a part of m-sharpness.
    """

    spaces: tuple[str, ...] = SPACES
    batches: int = ENOUGH
    seeds: tuple[int, ...] = (0,)
    scalings: tuple[Scaling, ...] = SCALINGS
    matrices: tuple[str, ...] = ("hessian",)
    k: int = 5
    tolerance: float = TOLERANCE
    max_products: int = MAX_PRODUCTS
    probes: int = 10
    density_probes: int = 0
    density_steps: int = 30
    m: int = 16

    def __post_init__(self) -> None:
        if not (self.spaces and self.seeds and self.scalings and self.matrices):
            raise SettingsError(f"Curvature needs a space, a seed, a scaling and a matrix: {self}.")
        for given, known in ((self.scalings, SCALINGS), (self.matrices, MATRICES)):
            if unknown := [name for name in given if name not in known]:
                raise SettingsError(f"There is no {', '.join(unknown)}; there are {', '.join(known)}.")
        if min(self.batches, self.m, self.k) < 1 or self.probes < 2 or self.density_probes < 0:
            raise SettingsError(f"Batches, m and k are 1 at least, probes 2, so that they have a spread: {self}.")

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}


DEFAULTS = CurvatureSettings()


class Cell(NamedTuple):
    """What is computed at once, kept when it is done: one space on one batch."""

    space: str
    batch: int


class Found(NamedTuple):
    """Tables of one cell, with the columns of :data:`COLUMNS` and :data:`DENSITY`."""

    table: pd.DataFrame
    density: pd.DataFrame


Mapped = Callable[[Callable[[Cell], Found], Sequence[Cell]], Iterable[Found]]


@dataclass(frozen=True, kw_only=True)
class Curvature(Result):
    """Curvature of one run; ``table`` as in :meth:`frame`.

    Attributes
    ----------
    label, task, method, split
        Whose loss, on which images.
    density
        Nodes of the spectral density: columns of ``frame`` up to seed, then probe, node and weight (a probe's sum to
        1). Empty where none was asked for.
    """

    analysis: ClassVar[str] = "curvature"
    label: str
    task: str
    method: str
    split: str
    table: pd.DataFrame
    density: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """One row a number.

        Columns: space, parameters (how many), matrix (``hessian``, ``gauss-newton``), scaling (``element`` and
        ``filter`` in units of the weights, ``none`` raw), batch, seed, quantity, rank, value, error.

        ==============  =====================================  ==================================================
        quantity        value                                  error
        ==============  =====================================  ==================================================
        eigenvalue      rank 1, 2, ... from the top, -1, -2,   residual norm: an eigenvalue lies within it
                        ... from the bottom
        trace           sum of all eigenvalues                 standard error over probes
        sharpness       rise (nats) after one ascent step      none
        m-sharpness     the same, a step for every m images    none
        loss            nats                                   none
        gradient norm   nats a unit: 0 at an optimum           none
        products        with the matrix, for eigenvalues and   none
                        trace
        converged       1 where all of rank 1, 2, ... (rank    none
                        1) or -1, -2, ... (rank -1) are
        ==============  =====================================  ==================================================
        """
        return self.table

    def summary(self) -> pd.DataFrame:
        """Every number over batches and seeds.

        Returns
        -------
        DataFrame
            space, parameters, matrix, scaling, quantity, rank, value (mean), lowest, highest, batch_sd (of the batches'
            means), seed_sd (within batches, pooled), error (mean), n_batches, n_seeds, and ``reading``: ``picture``
            with fewer than three batches, else ``average of this run``, which is still one training.
        """
        return pd.DataFrame(
            [dict(zip(KEYS, keys, strict=True)) | _spread(rows) for keys, rows in self.table.groupby(KEYS, sort=False)]
        )


def measure(
    model: nn.Module,
    *,
    sample: Sample,
    label: str,
    task: str,
    method: str,
    options: CurvatureSettings = DEFAULTS,
    mapped: Mapped = map,
    settings: Mapping[str, Any] | None = None,
) -> Curvature:
    """Measure curvature in every space and batch.

    Parameters
    ----------
    model
        Deterministic; it comes back untouched.
    sample
        Images, labels and groups. Curvature is of the mean loss of *these*: on training images it tells how the
        optimum lies, on test images nothing is an optimum.
    label, task, method
        Who this is, for the reader.
    options
        What is measured.
    mapped
        How cells are computed: ``map``, or a stand-in that keeps what is finished. It gives all cells in their order.

    Raises
    ------
    NotApplicable
        The model is not deterministic, or has none of the spaces.
    SettingsError
        More batches than groups of images.

    Notes
    -----
    There is no finding here. Y2 asks whether additional dimensions help an optimiser, which no second derivative at
    its end point answers: that is the escape test's. Whether a flat optimum generalises better is contested, with
    scale-invariant sharpness too (Andriushchenko et al. 2023). And VPT and FT have different parameters: a trace over
    46 thousand prompts and one over 21 million weights are not two values of one thing. Put methods side by side in
    a space that both have (``head``, ``backbone``), and remember that the one's backbone was never optimised: see its
    gradient norm.

    No version here is invariant to the *confidence* of the network: the curvature of cross-entropy in the logits is
    ``diag p - p p'``, which vanishes as answers become certain. A run with a fiftieth of another's training loss has
    about a fiftieth of its curvature, in any scaling, whatever the valley's shape. Read the loss beside it.
    """
    if (n_groups := len(np.unique(sample.group_ids))) < options.batches:
        raise SettingsError(f"{n_groups} independent {sample.split} images cannot fill {options.batches} batches.")
    wanted = [name for name in options.spaces if name in spaces(model)]
    if not wanted:
        raise NotApplicable(f"This model has none of the parameter spaces {', '.join(options.spaces)}.")
    cells = [Cell(name, batch) for name in wanted for batch in range(options.batches)]
    found = list(mapped(CellCurvature(model, sample, options), cells))
    return Curvature(
        settings={
            **options.to_json(), **(settings or {}),
            "n_images": len(sample.labels), "rho": dict(RHO), "spaces": wanted,
        },
        label=label, task=task, method=method, split=sample.split,
        table=_joined([each.table for each in found], COLUMNS),
        density=_joined([each.density for each in found], DENSITY),
    )  # fmt: skip


class CellCurvature:
    """Curvature of single cells."""

    def __init__(self, model: nn.Module, sample: Sample, options: CurvatureSettings = DEFAULTS) -> None:
        self._model, self._options = model, options
        member = sample.batches(options.batches)
        self._batches = [
            Batch(sample.images[member == batch], sample.labels[member == batch]) for batch in range(options.batches)
        ]

    def __call__(self, cell: Cell) -> Found:
        """Tables of one cell."""
        parameters, batch = space(self._model, cell.space), self._batches[cell.batch]
        rows: list[dict[str, Any]] = []
        nodes: list[pd.DataFrame] = []
        for matrix in self._options.matrices:
            products = MATRICES[matrix](self._model, parameters, [batch])
            function = products.function
            of: dict[str, Any] = {
                "space": cell.space,
                "parameters": function.size,
                "matrix": matrix,
                "batch": cell.batch,
            }
            if not rows:
                rows += [of | row for row in _first_order(function, batch, self._options)]
            for scaling in self._options.scalings:
                inner = scaled(products, function, scaling)
                for seed in self._options.seeds:
                    at = of | {"scaling": scaling, "seed": seed}
                    rows += [at | row for row in _spectrum(inner, seed, self._options)]
                    if self._options.density_probes:
                        nodes.append(_nodes(inner, seed, self._options).assign(**at))
        return Found(_joined([pd.DataFrame(rows)], COLUMNS), _joined(nodes, DENSITY))


def _first_order(function: LossFunction, batch: Batch, options: CurvatureSettings) -> list[dict[str, Any]]:
    """What needs no product: it is of no matrix and no seed."""
    loss, gradient = function.gradient(batch)
    raw = {"scaling": "none", "matrix": "", "seed": 0}
    rows = [
        raw | _row("loss", loss),
        raw | _row("gradient norm", float(gradient.norm())),
    ]
    for scaling in options.scalings:
        at = {"scaling": scaling, "matrix": "", "seed": 0}
        parts = of_size(batch, options.m)
        rows.append(at | _row("sharpness", sharpness(function, [batch], scaling=scaling)))
        rows.append(at | _row("m-sharpness", sharpness(function, parts, scaling=scaling)))
    return rows


def _spectrum(products: Products, seed: int, options: CurvatureSettings) -> list[dict[str, Any]]:
    before = products.count
    ends = extreme_eigenvalues(
        products, k=options.k, tolerance=options.tolerance, max_products=options.max_products, seed=seed
    )
    trace = beyond(products, ends.krylov, probes=options.probes, seed=seed)
    pairs = [
        (sign * rank, value, residual)
        for sign, values, residuals in (
            (1, ends.largest, ends.largest_residuals), (-1, ends.smallest, ends.smallest_residuals),
        )
        for rank, (value, residual) in enumerate(zip(values, residuals, strict=True), start=1)
    ]  # fmt: skip
    return [
        *(_row("eigenvalue", value, error=residual, rank=rank) for rank, value, residual in pairs),
        _row("trace", trace.value, error=trace.se),
        _row("products", products.count - before),
        _row("converged", ends.largest_converged, rank=1),
        _row("converged", ends.smallest_converged, rank=-1),
    ]


def _nodes(products: Products, seed: int, options: CurvatureSettings) -> pd.DataFrame:
    found = spectral_density(products, probes=options.density_probes, steps=options.density_steps, seed=seed)
    n_probes, n_nodes = found.nodes.shape
    return pd.DataFrame({
        "probe": np.repeat(np.arange(n_probes), n_nodes), "node": found.nodes.ravel(), "weight": found.weights.ravel(),
    })  # fmt: skip


def _row(quantity: str, value: float, *, error: float = float("nan"), rank: int = 0) -> dict[str, Any]:
    return {"quantity": quantity, "rank": rank, "value": float(value), "error": float(error)}


def _joined(tables: Sequence[pd.DataFrame], columns: Mapping[str, str]) -> pd.DataFrame:
    """Rows of all tables under exactly these columns, also where there is none."""
    whole = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(columns))
    return whole[list(columns)].astype(dict(columns))


def _spread(rows: pd.DataFrame) -> dict[str, Any]:
    of_batches = rows.groupby("batch")["value"]
    means, within = of_batches.mean(), of_batches.var(ddof=1)
    return {
        "value": float(means.mean()), "lowest": float(rows["value"].min()), "highest": float(rows["value"].max()),
        "batch_sd": float(means.std(ddof=1)), "seed_sd": float(np.sqrt(within.mean())),
        "error": float(rows["error"].mean()),
        "n_batches": len(means), "n_seeds": int(rows["seed"].nunique()),
        "reading": "average of this run" if len(means) >= ENOUGH else "picture",
    }  # fmt: skip
