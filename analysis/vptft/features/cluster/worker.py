"""What an actor does and says: images and extractor once, then shards; errors of ours as values."""

import os
import platform
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, TypeVar

from vptft.data.images import ImageSet
from vptft.errors import DataError, VptftError
from vptft.features.extractors import Extractor
from vptft.features.spaces import FeatureSpace
from vptft.features.statistics import Statistics
from vptft.features.streaming import summarise
from vptft.storage import HOME_VARIABLE, key_of

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a worker finds: equal on every node, or the shards are not of one set.

    Attributes
    ----------
    where
        The node.
    name, count, ids
        The set's name, number of images, and hash of their ids.
    fingerprint
        Hash of content, as :class:`~vptft.data.images.ImageSet` gives it.
    space
        The extractor's.
    """

    where: str
    name: str
    count: int
    ids: str
    fingerprint: str
    space: FeatureSpace

    @property
    def source(self) -> str:
        """What ``summarise`` calls the whole set in this space."""
        return key_of(self.fingerprint, asdict(self.space))

    def require_same(self, other: "Seen") -> None:
        """Refuse a node that sees something else."""
        nodes = f"{self.where} and {other.where}"
        if self.ids != other.ids:
            raise DataError(
                f"{nodes} see different images as {self.name}: {self.count} and {other.count}, or others by name.",
                "Give every node the same files, such as on a shared file system, and the same registrations.",
            )
        if difference := self.space.difference(other.space):
            raise DataError(
                f"{nodes} take features in different spaces: {difference}.",
                "Give every node the same weights and the same version of vptft-analyze.",
            )


@dataclass(frozen=True, kw_only=True)
class Failure:
    """An error of ours on its way to the driver; not every error class can be pickled itself."""

    kind: type[VptftError]
    problem: str
    hint: str

    def error(self) -> VptftError:
        """Return the error as it was raised."""
        error = self.kind.__new__(self.kind)
        VptftError.__init__(error, self.problem, self.hint)
        return error


class Lost(NamedTuple):
    """A worker is gone, with what it was doing."""

    reason: str


class Place(NamedTuple):
    """Where the driver runs: what relative paths and registered names mean."""

    folder: str
    home: str | None

    @classmethod
    def here(cls) -> "Place":
        """This process's."""
        return cls(str(Path.cwd()), os.environ.get(HOME_VARIABLE))

    def enter(self) -> None:
        """Make it this process's, as far as this node has it."""
        if Path(self.folder).is_dir():
            os.chdir(self.folder)
        if self.home is not None:
            os.environ[HOME_VARIABLE] = self.home


def _told(method: "Callable[Concatenate[Any, P], R]") -> "Callable[Concatenate[Any, P], R | Failure]":
    """Return errors of ours instead of raising them."""

    @wraps(method)
    def run(self: Any, *args: P.args, **kwargs: P.kwargs) -> R | Failure:
        try:
            return method(self, *args, **kwargs)
        except VptftError as error:
            return Failure(kind=type(error), problem=error.problem, hint=error.hint)

    return run


class Worker:
    """What an actor does: find images and extractor once, then stream shards."""

    def __init__(
        self, resolve: Callable[[], ImageSet], load: Callable[[], Extractor], place: Place | None = None
    ) -> None:
        self._resolve, self._load, self._place = resolve, load, place

    @_told
    def prepare(self, fingerprint: str | None) -> Seen:
        """Find images and extractor; the content is hashed where no fingerprint is given."""
        if self._place is not None:
            self._place.enter()
        images = self._resolve()
        self._extractor = self._load()
        # Every shard asks for the whole set's fingerprint: most sets read every file for it.
        known = images.fingerprint() if fingerprint is None else fingerprint
        self._images = replace(images, fingerprint=lambda: known)
        return Seen(
            where=platform.node(),
            name=images.name,
            count=len(images),
            ids=key_of(images.ids),
            fingerprint=known,
            space=self._extractor.space,
        )

    @_told
    def shard(self, i: int, n: int) -> Statistics:
        """Statistics of a shard, by way of a file that this node alone sees: a twin of it can never write it too."""
        with tempfile.TemporaryDirectory(prefix="vptft-") as folder:
            return summarise(self._images, self._extractor, Path(folder) / "shard.npz", shard=(i, n))


News = Seen | Statistics | Failure | Lost
