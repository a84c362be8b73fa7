"""Statistics of a set's features: what a distance needs of it, in a size that does not grow with the set.

Merging is exact and needs no order (Chan, Golub and LeVeque 1983), so shards can be made anywhere and joined later. The
file is an ``.npz`` that pytorch-fid reads (``mu``, ``sigma``), with what that file lacks: the number of images, the
feature space, what was skipped, and a sample of the features themselves.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import reduce
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np

from vptft.data.images import Skipped
from vptft.errors import DataError, StorageError
from vptft.features.extraction import Features
from vptft.features.spaces import FeatureSpace
from vptft.storage import atomic_path, key_of, read_arrays

SAMPLE = 5000
"""Images whose features are kept of a set too large to keep all: those whose hashed ids are smallest, which is a random
sample that is the same whatever the order of shards."""
ROUNDED = 1e-4
"""Of the largest entry: what single precision may leave of a covariance's symmetry and bounds."""
SCHEMA = 1


@dataclass(frozen=True, kw_only=True, eq=False)
class Statistics:
    """Moments of a set's features, and the features where they are kept.

    Attributes
    ----------
    name
        The set's name.
    distance_name, space
        As in :class:`vptft.features.extractors.Extractor`; ``space`` is None for a file of another program, which does
        not say.
    n
        Images behind it; None for a file that does not say.
    mean
        ``(d,)`` float64.
    scatter
        Centred second moment, the sum of ``(x - mean)(x - mean)^T``, ``(d, d)`` float64; None where ``features`` hold
        every image, from which it follows.
    features
        Features of every image, or of a sample of at most 5,000; None where a file holds none.
    shards
        Which parts of which whole this is, as ``"HASH I/N"``; empty for a set taken whole.
    files
        Hash of the ids of all images, whatever their order.
    source
        Hash of content and space: equal for equal images in equal features.
    skipped
        Images that could not be read.
    """

    name: str
    distance_name: str
    space: FeatureSpace | None
    n: int | None
    mean: np.ndarray
    scatter: np.ndarray | None
    features: Features | None
    shards: tuple[str, ...] = ()
    files: str = ""
    source: str = ""
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def of(cls, features: Features) -> "Statistics":
        """Return the statistics of features that are all there."""
        return cls(
            name=features.name,
            distance_name=features.distance_name,
            space=features.space,
            n=len(features.values),
            mean=features.values.mean(axis=0, dtype=np.float64),
            scatter=None,
            features=features,
            files=hash_of_ids(features.ids),
            skipped=features.skipped,
        )

    @property
    def complete(self) -> bool:
        """Whether the features of every image are there."""
        return self.features is not None and len(self.features.values) == self.n

    @property
    def dimensions(self) -> int:
        """Width of the features."""
        return len(self.mean)

    def covariance(self) -> np.ndarray:
        """Unbiased covariance ``(d, d)`` float64."""
        if self.n is not None and self.n < 2:
            raise DataError(f"{self.name} has {self.n} readable image; a covariance needs at least 2.")
        return self.second_moment() / ((self.n or 2) - 1)

    def second_moment(self) -> np.ndarray:
        """The scatter, from the features where it is not kept."""
        if self.scatter is not None:
            return self.scatter
        if self.features is None:
            raise TypeError("Statistics have features or a scatter.")
        centred = self.features.values.astype(np.float64) - self.mean
        return centred.T @ centred

    def shrunk(self, largest: int = SAMPLE) -> "Statistics":
        """Return the same statistics in bounded size: moments, and at most ``largest`` images' features."""
        return replace(self, scatter=self.second_moment(), features=_sampled(self.features, largest))

    def as_saved(self) -> "Statistics":
        """Return the same statistics as a file gives them back, to the last bit: it holds the covariance."""
        return replace(self, scatter=_scatter_of(self.covariance(), self.n))

    def merge(self, other: "Statistics") -> "Statistics":
        """Return the statistics of both sets' images together.

        Raises
        ------
        DataError
            When the spaces differ, a count is unknown, or an image would count twice: both hold the same shard, shards
            of two divisions of one set, or the same images.
        """
        require_same_space(self, other)
        _refuse_twice(self, other)
        if self.n is None or other.n is None:
            nameless = self.name if self.n is None else other.name
            raise DataError(f"{nameless} does not say how many images it is of, so it cannot be merged.")
        total = self.n + other.n
        step = other.mean - self.mean
        scatter = self.second_moment() + other.second_moment()
        scatter = scatter + self.n * other.n / total * np.multiply.outer(step, step)
        return replace(
            self,
            n=total,
            mean=self.mean + step * (other.n / total),
            scatter=scatter,
            features=_sampled(_together(self.features, other.features), SAMPLE),
            shards=tuple(sorted({*self.shards, *other.shards}, key=_place)),
            files=_added(self.files, other.files),
            source=_added(self.source, other.source) if self.source or other.source else "",
            skipped=(*self.skipped, *other.skipped),
        )

    def save(self, path: Path) -> None:
        """Write an ``.npz`` that pytorch-fid reads too."""
        arrays: dict[str, Any] = {
            "mu": self.mean,
            "sigma": self.covariance(),
            "vptft": np.array(json.dumps(self._meta())),
        }
        if self.features is not None:
            arrays |= {"sample": self.features.values, "sample_labels": _or_empty(self.features.labels)}
            arrays |= {"sample_predicted": _or_empty(self.features.predicted)}
        with atomic_path(path) as temporary:
            np.savez(temporary, **arrays)

    def _meta(self) -> dict[str, Any]:
        kept = self.features
        return {
            "schema": SCHEMA,
            "name": self.name,
            "distance_name": self.distance_name,
            "space": None if self.space is None else asdict(self.space),
            "n": self.n,
            "shards": self.shards,
            "files": self.files,
            "source": self.source,
            "skipped": [asdict(item) for item in self.skipped],
            "sample": None if kept is None else {"ids": kept.ids, "groups": kept.groups, "classes": kept.classes},
        }

    def key(self) -> str:
        """What makes these statistics these: a hash of space, files and moments."""
        space = None if self.space is None else asdict(self.space)
        moments = hashlib.sha256(self.mean.tobytes())
        if not self.files and self.scatter is not None:  # of another program: nothing else tells it from its like
            moments.update(self.scatter.tobytes())
        return key_of(space, self.files, self.n, moments.hexdigest())


def read_statistics(path: Path) -> Statistics:
    """Read statistics that were saved here or by pytorch-fid.

    Raises
    ------
    StorageError
        When the file is no such file, is damaged, or its moments do not fit each other.
    """
    arrays = read_arrays(path)
    missing = [name for name in ("mu", "sigma") if name not in arrays]
    if missing:
        raise StorageError(f"{path} holds {', '.join(sorted(arrays)) or 'nothing'}, and no {' or '.join(missing)}.")
    if not all(arrays[name].dtype.kind in "fiu" for name in ("mu", "sigma")):
        raise StorageError(f"{path} holds mu or sigma that are not real numbers.")
    mean, covariance = np.asarray(arrays["mu"], np.float64), np.asarray(arrays["sigma"], np.float64)
    if mean.ndim != 1 or covariance.shape != (len(mean), len(mean)):
        raise StorageError(f"{path} holds mu {mean.shape} and sigma {covariance.shape}; they do not fit each other.")
    if not (np.isfinite(mean).all() and np.isfinite(covariance).all()):
        raise StorageError(f"{path} holds NaN or infinite values.")
    _require_covariance(path, covariance)
    if "vptft" not in arrays:
        return Statistics(
            name=path.name, distance_name="FD", space=None, n=None, mean=mean, scatter=covariance, features=None
        )
    try:
        return _from_meta(path, mean, covariance, arrays, json.loads(str(arrays["vptft"])))
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path} holds statistics of another version or a damaged note: {error}") from error


def _require_covariance(path: Path, sigma: np.ndarray) -> None:
    """Refuse what cannot be a covariance: not symmetric, or two features that vary together more than each does.

    Raises
    ------
    StorageError
        It says which.
    """
    spread = np.diagonal(sigma)
    largest = max(float(np.abs(sigma).max(initial=0.0)), 1e-300)
    if float(np.abs(sigma - sigma.T).max(initial=0.0)) > ROUNDED * largest:
        raise StorageError(f"{path} holds a sigma that is not symmetric, so it is no covariance.")
    if float(spread.min(initial=0.0)) < -ROUNDED * largest:
        raise StorageError(f"{path} holds a sigma with negative variances, so it is no covariance.")
    bound = np.sqrt(np.multiply.outer(np.maximum(spread, 0), np.maximum(spread, 0)))
    if float((np.abs(sigma) - bound).max(initial=0.0)) > ROUNDED * largest:
        raise StorageError(f"{path} holds a sigma whose covariances exceed its variances, so it is no covariance.")


def is_statistics(path: Path) -> bool:
    """Whether a file is an ``.npz`` with a mean and a covariance, rather than one of images."""
    if not path.is_file():
        return False
    try:
        with ZipFile(path) as archive:
            return {"mu.npy", "sigma.npy"} <= set(archive.namelist())
    except (BadZipFile, OSError):
        return False


def merged(parts: Sequence[Statistics]) -> Statistics:
    """Merge shards, in any order."""
    if not parts:
        raise DataError("There is nothing to merge.")
    return reduce(Statistics.merge, parts)


def missing_shards(statistics: Statistics) -> list[str]:
    """Shards that statistics lack of the wholes they hold some of, as ``I/N``."""
    have = set(statistics.shards)
    return [
        f"{i}/{n}" for whole, n in _divisions(statistics).items() for i in range(n) if f"{whole} {i}/{n}" not in have
    ]


def require_same_space(first: Statistics, second: Statistics) -> None:
    """Refuse features that cannot be compared, naming what differs; a file that does not say is taken at its width."""
    if first.dimensions != second.dimensions:
        raise DataError(
            f"{first.name} has {first.dimensions} features an image, {second.name} {second.dimensions}.",
            "Take both with one extractor.",
        )
    difference = first.space.difference(second.space) if first.space and second.space else ""
    if difference:
        raise DataError(
            f"{first.name} and {second.name} are in different feature spaces: {difference}.",
            "Take both with the same extractor, weights and resize; numbers of different spaces cannot be compared.",
        )


def hash_of_ids(ids: Sequence[str]) -> str:
    """Hash of a set of ids that is the sum of their hashes: no order in it, and merged sets add up."""
    return f"{sum(int(hashlib.sha256(each.encode()).hexdigest(), 16) for each in ids) % 2**256:064x}"


def sample_keys(ids: Sequence[str]) -> np.ndarray:
    """Return a number an id that orders ids at random and is the same everywhere, ``(n,)`` uint64."""
    digests = [hashlib.sha256(f"sample {each}".encode()).digest()[:8] for each in ids]
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def rows_of(features: Features, index: np.ndarray) -> Features:
    """Return some rows of features."""
    return replace(
        features,
        values=features.values[index],
        ids=tuple(features.ids[i] for i in index),
        groups=tuple(features.groups[i] for i in index),
        labels=None if features.labels is None else features.labels[index],
        predicted=None if features.predicted is None else features.predicted[index],
    )


def _sampled(features: Features | None, largest: int) -> Features | None:
    if features is None or len(features.values) <= largest:
        return features
    return rows_of(features, np.sort(np.argsort(sample_keys(features.ids), kind="stable")[:largest]))


def _together(first: Features | None, second: Features | None) -> Features | None:
    if first is None or second is None:
        return None  # a sample of one half only would not be a sample of the whole
    labelled = first.classes == second.classes
    return replace(
        first,
        values=np.concatenate([first.values, second.values]),
        ids=(*first.ids, *second.ids),
        groups=(*first.groups, *second.groups),
        labels=_joined(first.labels, second.labels) if labelled else None,
        predicted=_joined(first.predicted, second.predicted),
        classes=first.classes if labelled else (),
    )


def _joined(first: np.ndarray | None, second: np.ndarray | None) -> np.ndarray | None:
    return None if first is None or second is None else np.concatenate([first, second])


def _from_meta(
    path: Path, mean: np.ndarray, covariance: np.ndarray, arrays: Mapping[str, np.ndarray], meta: Mapping[str, Any]
) -> Statistics:
    if meta["schema"] != SCHEMA:
        raise ValueError(f"its schema is {meta['schema']!r}, this version reads {SCHEMA}")
    if meta["n"] is not None and (not isinstance(meta["n"], int) or meta["n"] < 2):
        raise ValueError(f"its number of images is {meta['n']!r}")
    space = None if meta["space"] is None else FeatureSpace(**meta["space"])
    statistics = Statistics(
        name=str(meta["name"]),
        distance_name=str(meta["distance_name"]),
        space=space,
        n=meta["n"],
        mean=mean,
        scatter=_scatter_of(covariance, meta["n"]),
        features=None,
        shards=tuple(meta["shards"]),
        files=str(meta["files"]),
        source=str(meta["source"]),
        skipped=tuple(Skipped(**item) for item in meta["skipped"]),
    )
    if meta["sample"] is None or space is None:
        return statistics
    values = arrays["sample"]
    if values.ndim != 2 or values.shape != (len(meta["sample"]["ids"]), len(mean)):
        raise ValueError(f"its sample has shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("its sample holds NaN or infinite values")
    _require_one_each(len(values), {
        "groups": meta["sample"]["groups"], "labels": arrays["sample_labels"], "predicted": arrays["sample_predicted"],
    })  # fmt: skip
    sample = Features(
        name=statistics.name,
        distance_name=statistics.distance_name,
        space=space,
        values=values,
        ids=tuple(meta["sample"]["ids"]),
        groups=tuple(meta["sample"]["groups"]),
        labels=_or_none(arrays["sample_labels"]),
        classes=tuple(meta["sample"]["classes"]),
        predicted=_or_none(arrays["sample_predicted"]),
    )
    return replace(statistics, features=sample)


def _scatter_of(covariance: np.ndarray, n: int | None) -> np.ndarray:
    """Scatter behind a covariance; of a file that does not say how many images it is of, the covariance itself."""
    return covariance * ((n or 2) - 1)


def _require_one_each(count: int, found: Mapping[str, Sequence[Any] | np.ndarray]) -> None:
    """Refuse what is there of a sample's images and is not one an image; labels and predictions may be left out."""
    for name, values in found.items():
        if len(values) != count and (name == "groups" or len(values)):
            raise ValueError(f"its sample has {count} images and {len(values)} {name}")


def _or_empty(values: np.ndarray | None) -> np.ndarray:
    return np.empty(0, np.int64) if values is None else values


def _or_none(values: np.ndarray) -> np.ndarray | None:
    return values if len(values) else None


def _refuse_twice(first: Statistics, second: Statistics) -> None:
    """Refuse to count an image twice, as far as shards and sources tell."""
    both = f"{first.name} and {second.name}"
    if twice := sorted(set(first.shards) & set(second.shards)):
        raise DataError(f"{both} both hold shard {twice[0].split()[1]}; it would count twice.")
    ours, theirs = _divisions(first), _divisions(second)
    for whole in sorted(ours.keys() & theirs.keys()):
        if ours[whole] != theirs[whole]:
            raise DataError(
                f"{both} are shards of {ours[whole]} and of {theirs[whole]} of one set; images would count twice.",
                "Make all shards of a set with the same number of parts.",
            )
    if first.source and first.source == second.source:
        raise DataError(f"{both} are of the same images; they would count twice.")


def _divisions(statistics: Statistics) -> dict[str, int]:
    """Into how many shards each whole is divided that statistics hold shards of."""
    return {shard.rpartition(" ")[0]: int(shard.rpartition("/")[2]) for shard in statistics.shards}


def _place(shard: str) -> tuple[str, int]:
    """Whole and number of a shard written ``HASH I/N``."""
    whole, _, part = shard.rpartition(" ")
    return whole, int(part.partition("/")[0])


def _added(first: str, second: str) -> str:
    return f"{(int(first or '0', 16) + int(second or '0', 16)) % 2**256:064x}"
