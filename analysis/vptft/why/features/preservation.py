"""What tuning left of the pretrained features: one network beside the one it came from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from vptft.errors import DataError, NotApplicable, SettingsError
from vptft.evidence.results import Result
from vptft.features.layers import LayerFeatures, Where, read_kind
from vptft.features.probes import knn_above_chance, linear_above_chance
from vptft.models.tuned import TunedModel
from vptft.why.features import drift, written
from vptft.why.features.cka import linear_cka
from vptft.why.features.collapse import collapse
from vptft.why.features.neighbours import NEIGHBOURS, neighbour_overlap, overlap_by_chance
from vptft.why.features.procrustes import procrustes_distance
from vptft.why.features.subspaces import feature_rank, subspace_overlap

REFERENCE, OWN, OTHER = "reference", "own task", "other task"
COMPARED = ("cka", "procrustes", "subspace_overlap", "neighbour_overlap")
"""Measures between the two networks; the others are of each of them, before and after."""
DIRECTIONS = 10
"""Main directions that are compared."""
TABLE = ("images", "role", "layer", "kind", "measure", "value", "before", "chance")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Images as both networks saw them.

    Attributes
    ----------
    name, role
        What they are: the reference set, test images of the run's own task, or of a task it was not trained on.
    before, after
        Features of the pretrained and of the tuned network, by layer and kind.
    groups
        Dependence group of each image, ``(n,)``.
    labels
        Classes, ``(n,)``; None where there are none.
    """

    name: str
    role: str
    before: LayerFeatures
    after: LayerFeatures
    groups: np.ndarray
    labels: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Described:
    """What is known of the run."""

    label: str
    task: str
    method: str
    n_train: int | None
    seed: int | None
    pretraining: str
    backbone: str
    accuracy: float
    few_groups: bool = False


@dataclass(frozen=True, kw_only=True)
class FeaturePreservation(Result):
    """How one tuned network's features differ from the pretrained ones. A measurement; it judges nothing.

    Attributes
    ----------
    label, task, method, n_train, seed, pretraining, backbone, accuracy, few_groups
        Of the run; accuracy is a fraction of its test images. None is -1 in ``n_train`` and ``seed``.
    read
        Kind of token that the head reads.
    table
        As in :meth:`frame`.
    drift
        As :func:`.drift.weight_drift` gives it; empty where no weight moved.
    written
        As :func:`.written.written_by_prompts` gives it; empty without prompts.
    notes
        What is not applicable here, and why.
    """

    analysis: ClassVar[str] = "features"
    label: str
    task: str
    method: str
    n_train: int
    seed: int
    pretraining: str
    backbone: str
    accuracy: float
    few_groups: bool
    read: str
    table: pd.DataFrame
    drift: pd.DataFrame
    written: pd.DataFrame
    notes: list[str]

    def frame(self) -> pd.DataFrame:
        """Columns: images, role (reference, own task, other task), layer, kind (cls, patches, prompts), measure, value,
        before, chance.

        ``value`` of cka, procrustes, subspace_overlap and neighbour_overlap is between the two networks, ``before`` NaN
        and ``chance`` what unrelated features have (of procrustes at most that: with fewer images than dimensions they
        come nearer); of effective_rank, nc1, nc2_norms, nc2_angles, knn and linear
        (accuracy above chance, 0 to 1) it is of the tuned network, and ``before`` of the pretrained one. Prompts, which
        the pretrained network has not, are held against its cls token.
        """  # noqa: D205
        return self.table

    def scalar(self, measure: str, *, role: str = REFERENCE, kind: str | None = None) -> float:
        """Value of a measure in the last layer, mean over the sets of that role; NaN where there is none.

        ``kind`` is what the head reads, where not given.
        """
        layers, values, _ = self._rows(measure, role, kind or self.read)
        return float(values[layers == layers.max()].mean()) if len(layers) else float("nan")

    def over_layers(self, measure: str, *, role: str = REFERENCE, kind: str | None = None) -> float:
        """Mean of a measure over layers; NaN where there is none."""
        _, values, _ = self._rows(measure, role, kind or self.read)
        return float(values.mean()) if len(values) else float("nan")

    def change(self, measure: str, *, role: str = OTHER) -> float:
        """After less before in the last layer, of what the head reads, mean over the sets of that role."""
        layers, values, before = self._rows(measure, role, self.read)
        return float((values - before)[layers == layers.max()].mean()) if len(layers) else float("nan")

    def _rows(self, measure: str, role: str, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Layer, value and before of the rows of one measure, role and kind."""
        columns = self._columns
        chosen = (columns["measure"] == measure) & (columns["role"] == role) & (columns["kind"] == kind)
        return columns["layer"][chosen], columns["value"][chosen], columns["before"][chosen]

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        """The table's columns as arrays: a thousand questions are put to them, and pandas answers slowly."""
        words = {name: self.table[name].to_numpy(dtype=object) for name in ("measure", "role", "kind")}
        return words | {name: self.table[name].to_numpy() for name in ("layer", "value", "before")}


def measure(
    before: TunedModel,
    after: TunedModel,
    *,
    run: Described,
    sets: Sequence[Seen],
    prompted: tuple[torch.Tensor, np.ndarray, np.ndarray] | None = None,
    probed_linearly: Sequence[int] | None = None,
    seed: int = 0,
    on_set: Callable[[int, int], None] = lambda done, total: None,
    settings: Mapping[str, Any] | None = None,
) -> FeaturePreservation:
    """Compare a tuned network with the one it came from.

    Parameters
    ----------
    before, after
        Both plain vision transformers, in evaluation mode; of one architecture, for weights to be compared.
    run
        What is known of the run.
    sets
        Images with the features of both networks, from :func:`vptft.features.layers.layer_features`.
    prompted
        Normalised images, classes and groups on which to measure what prompts write; None to leave that out.
    probed_linearly
        Layers whose features are probed linearly too, which costs most; None for all.
    seed
        Of folds, halves and permutations.
    on_set
        Called with sets done and in all.

    Raises
    ------
    NotApplicable
        The backbone is no plain vision transformer.

    Notes
    -----
    Probes are cross-validated within each set, so neither network has been trained on what they learn from or are
    tested on. Every number is of few images and, for ``photos``, of five photographs: compare networks on the same
    images, and read no level as a property of the network.
    """
    read = read_kind(after)
    rows: list[tuple[Any, ...]] = []
    notes: list[str] = []
    for done, each in enumerate(sets):
        on_set(done, len(sets))
        rows += _of_set(each, probed_linearly, seed, notes)
    on_set(len(sets), len(sets))
    table = pd.DataFrame(rows, columns=list(TABLE))
    moved = _or_note(lambda: drift.weight_drift(before.backbone, after.backbone), drift.COLUMNS, notes, "weight drift")
    wrote = pd.DataFrame(columns=list(written.COLUMNS))
    if prompted is not None:
        wrote = _or_note(
            lambda: written.written_by_prompts(after, *prompted, seed=seed),
            written.COLUMNS,
            notes,
            "what prompts write",
        )
    numbers = dict.fromkeys(("value", "before", "chance"), "float64")
    return FeaturePreservation(
        settings=dict(settings or {}), label=run.label, task=run.task, method=run.method,
        n_train=-1 if run.n_train is None else run.n_train, seed=-1 if run.seed is None else run.seed,
        pretraining=run.pretraining, backbone=run.backbone, accuracy=run.accuracy, few_groups=run.few_groups, read=read,
        table=table.astype(numbers),
        drift=moved,
        written=wrote,
        notes=list(dict.fromkeys(notes)),
    )  # fmt: skip


def _or_note(make: Callable[[], pd.DataFrame], columns: Sequence[str], notes: list[str], what: str) -> pd.DataFrame:
    """Make a table, or an empty one and a note of the reason."""
    try:
        return make()
    except NotApplicable as error:
        notes.append(f"{what}: {error.problem}")
        return pd.DataFrame(columns=list(columns))


def _of_set(seen: Seen, probed_linearly: Sequence[int] | None, seed: int, notes: list[str]) -> list[tuple[Any, ...]]:
    rows = []
    chance = _chance(seen)
    for where, after in seen.after.items():
        before = seen.before.get(where) if where.kind != "prompts" else seen.before.get(Where(where.layer, "cls"))
        if before is None:
            notes.append(f"{where.kind}: the pretrained network has no such tokens to compare them with")
            continue
        named = (seen.name, seen.role, where.layer, where.kind)
        for name, value in _compared(before, after, seen.groups).items():
            rows.append((*named, name, value, np.nan, chance.get(name, np.nan)))
        linearly = probed_linearly is None or where.layer in probed_linearly
        same = np.array_equal(before, after)
        values = _alone(after, seen, linearly, seed, notes)
        others = values if same else _alone(before, seen, linearly, seed, notes)
        rows += [(*named, name, value, others[name], np.nan) for name, value in values.items() if name in others]
    return rows


def _compared(before: np.ndarray, after: np.ndarray, groups: np.ndarray) -> dict[str, float]:
    """Measures between two networks; subspaces and rotations where dimensions are the same in both."""
    found = {"cka": linear_cka(before, after), "neighbour_overlap": float("nan")}
    k = _neighbours(groups)
    if k:
        found["neighbour_overlap"] = neighbour_overlap(before, after, groups=groups, k=k)
    if before.shape == after.shape:
        found["procrustes"] = procrustes_distance(before, after)
        found["subspace_overlap"] = subspace_overlap(before, after, k=min(DIRECTIONS, *before.shape))
    return {name: found.get(name, float("nan")) for name in COMPARED}


def _chance(seen: Seen) -> dict[str, float]:
    width = next(iter(seen.after.values())).shape[1]
    k = _neighbours(seen.groups)
    return {
        "cka": 0.0, "procrustes": float(np.sqrt(2)), "subspace_overlap": min(DIRECTIONS, width) / width,
        "neighbour_overlap": overlap_by_chance(seen.groups, k=k) if k else float("nan"),
    }  # fmt: skip


def _neighbours(groups: np.ndarray) -> int:
    """How many neighbours of other groups every image can have, at most :data:`NEIGHBOURS`."""
    return min(NEIGHBOURS, len(groups) - int(np.unique(groups, return_counts=True)[1].max()))


def _alone(x: np.ndarray, seen: Seen, linearly: bool, seed: int, notes: list[str]) -> dict[str, float]:
    """Measures of one network's features."""
    found = {"effective_rank": feature_rank(x)}
    if seen.labels is None:
        return found
    try:
        collapsed = collapse(x, seen.labels)
        found |= {"nc1": collapsed.nc1, "nc2_norms": collapsed.nc2_norms, "nc2_angles": collapsed.nc2_angles}
        found["knn"] = knn_above_chance(x, seen.labels, seen.groups, seed=seed)
        if linearly:
            found["linear"] = linear_above_chance(x, seen.labels, seen.groups, seed=seed)
    except (DataError, SettingsError) as error:
        notes.append(f"probes of {seen.name}: {error.problem}")
    return found
