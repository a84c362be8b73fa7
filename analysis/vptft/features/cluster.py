"""Statistics of a set on a Ray cluster: actors stream its shards, and the driver merges them as they come.

A shard that is lost with its actor is given out again; what counts is what the driver has merged, and it takes the
result of one attempt only. Ray is imported when it is used, and only :class:`_RayPool` knows it.
"""

import logging
import os
import platform
import shutil
import socket
import sys
import tempfile
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, NamedTuple, ParamSpec, Protocol, TypeVar

from vptft.data.images import ImageSet
from vptft.errors import DataError, MissingExtraError, SettingsError, VptftError
from vptft.features.extraction import BATCH
from vptft.features.extractors import Extractor
from vptft.features.spaces import FeatureSpace
from vptft.features.statistics import Statistics, read_statistics
from vptft.features.streaming import summarise
from vptft.storage import HOME_VARIABLE, key_of, lock

ATTEMPTS = 3
"""How often a shard is given out, and how many actors in a row may be lost before they are ready: a machine that fails
takes one of them, an image that kills its reader all."""
SHARDS_PER_ACTOR = 4
"""What a lost actor costs is at most a shard, and an actor that is slow holds the others up for less than one."""
PATIENCE = 10.0
"""Seconds in which a cluster's address must answer."""

P = ParamSpec("P")
R = TypeVar("R")


def summarise_on_ray(
    resolve: Callable[[], ImageSet],
    load: Callable[[], Extractor],
    target: Path,
    *,
    actors: int,
    shards: int | None = None,
    gpus_per_actor: float = 0,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
) -> Statistics:
    """Write the statistics of a set to ``target`` and return them, as :func:`~vptft.features.streaming.summarise` does.

    The cluster is the one this process is connected to already, else that of ``RAY_ADDRESS`` or the one running on this
    machine, else one started here for the call. Moments differ from ``summarise``'s by rounding, and are the same bits
    for the same number of shards, whatever the order in which they are done. A file that holds these statistics is
    read; an interrupted call goes on with the shards that are not finished; a second process waits for the first.

    Every node must see the same files under the same names: ids and feature space are compared, and refused where they
    differ. Content is hashed once, by the first actor, so a file that differs in content only is not noticed.

    Parameters
    ----------
    resolve, load
        Give the images and the extractor, on any node; pickled, such as ``partial(registry.images, "imagenet")`` and
        ``partial(load_extractor, "inception", device="cuda")``. Each actor calls them once, in the driver's working
        directory where the node has it, and with its ``VPTFT_HOME``.
    target
        The ``.npz`` to write. Finished shards are kept in a hidden folder beside it until it is there.
    actors
        How many at most; each takes one CPU. Those for which there is no room yet join when there is.
    shards
        Consecutive parts, each with at least two readable images. Default: those of an interrupted call, else 4 an
        actor, and no more than there are batches of 64 images.
    gpus_per_actor
        What Ray sets aside for each; an actor sees only its own GPUs, the first of them as ``cuda``.
    on_shard
        Called with (shards finished, shards in all).

    Raises
    ------
    MissingExtraError
        When Ray is not installed.
    SettingsError
        For fewer than one actor or shard, more shards than images, or actors that no node has room for.
    DataError
        When nodes see different images or features; when a shard is lost three times, or no actor gets ready. Finished
        shards are kept.
    VptftError
        What ``resolve``, ``load`` or ``summarise`` raise in an actor, as itself.
    """
    for name, value in (("actors", actors), ("shards", shards)):
        if value is not None and value < 1:
            raise SettingsError(f"At least one of {name} is needed; got {value}.")
    if gpus_per_actor < 0:
        raise SettingsError(f"gpus_per_actor is 0 or more; got {gpus_per_actor}.")
    ray = _ray()
    with lock(target), _connected(ray):
        _require_room(ray, gpus_per_actor)
        pool = _RayPool(ray, (resolve, load, Place.here()), gpus_per_actor)
        try:
            return scheduled(pool, target, actors=actors, shards=shards, on_shard=on_shard)
        finally:
            pool.close()


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


class Pool(Protocol):
    """What scheduling needs of a cluster: workers by number, each of which does one thing at a time."""

    def start(self, fingerprint: str | None) -> int:
        """Start a worker and have it prepare."""

    def give(self, worker: int, i: int, n: int) -> None:
        """Have a worker do a shard."""

    def next(self) -> tuple[int, News]:
        """Wait until some worker is through or lost."""

    def stop(self, worker: int) -> None:
        """Let a worker go, dead or alive; what it still does is not asked for."""


def scheduled(
    pool: Pool, target: Path, *, actors: int, shards: int | None, on_shard: Callable[[int, int], None]
) -> Statistics:
    """Have the workers of a pool do every shard that is not finished, and write the whole to ``target``."""
    first, seen = _first(pool)
    if target.is_file() and (done := read_statistics(target)).source == seen.source and not done.shards:
        on_shard(1, 1)
        return done
    ledger = Ledger.open(target, seen, actors, shards)
    _Schedule(pool=pool, seen=seen, ledger=ledger, on_shard=on_shard).run(first, actors)
    return ledger.close(target)


def _first(pool: Pool) -> tuple[int, Seen]:
    """Start one worker and see what the others must see; an error it meets is not met by all of them."""
    for _ in range(ATTEMPTS):
        pool.start(None)
        worker, news = pool.next()
        match news:
            case Seen():
                return worker, news
            case Failure():
                raise news.error()
            case Lost(reason):
                pool.stop(worker)
    raise _never_ready(reason)


class Ledger:
    """Finished shards on disk: one state of all up to the first gap, and a file for each beyond it.

    They are merged in order, so that the same shards give the same bits; what is beyond the gap is a few shards, since
    they are given out in order.
    """

    def __init__(self, folder: Path, seen: Seen, shards: int) -> None:
        self._folder, self._seen, self.shards = folder, seen, shards
        self._state_file = folder / "merged.npz"
        self._state = read_statistics(self._state_file) if self._state_file.is_file() else None
        self._close_gap()

    @classmethod
    def open(cls, target: Path, seen: Seen, actors: int, shards: int | None) -> "Ledger":
        """Go on with an interrupted call, or begin."""
        begun = max(_begun(target, seen), default=(0, 0, None))[1]
        most = max(1, seen.count // BATCH)
        chosen = shards or begun or min(SHARDS_PER_ACTOR * actors, most)
        if chosen > seen.count:
            raise SettingsError(f"{seen.name} has {seen.count} images, too few for {chosen} shards.", "Take fewer.")
        return cls(target.with_name(f"{_prefix(target, seen)}{chosen}.shards"), seen, chosen)

    def missing(self) -> list[int]:
        """Shards that are not finished, in order."""
        return [i for i in range(self._merged, self.shards) if not self._file(i).is_file()]

    def add(self, i: int, part: Statistics) -> None:
        """Keep a finished shard, and merge as far as there is no gap."""
        if i == self._merged:
            self._merge(part.as_saved())  # as from its file, so that the bits do not depend on what came first
            self._close_gap()
        else:
            part.save(self._file(i))

    def close(self, target: Path) -> Statistics:
        """Write the whole, which is then what ``summarise`` makes of the set, and drop the shards."""
        if self._state is None or self._merged < self.shards:
            raise TypeError(f"Shards {self.missing()} are not finished.")
        whole = replace(self._state, shards=(), source=self._seen.source)
        whole.save(target)
        for _, _, folder in _begun(target, self._seen):
            shutil.rmtree(folder, ignore_errors=True)
        return whole.as_saved()

    @property
    def _merged(self) -> int:
        return max(1, len(self._state.shards)) if self._state else 0  # the only part of one is the whole, unnamed

    def _file(self, i: int) -> Path:
        return self._folder / f"{i}.npz"

    def _close_gap(self) -> None:
        while self._file(self._merged).is_file():
            self._merge(read_statistics(self._file(self._merged)))

    def _merge(self, part: Statistics) -> None:
        done = self._file(self._merged)
        state = self._state.merge(part) if self._state else part
        state.save(self._state_file)
        self._state = state.as_saved()  # so that going on from the file gives the same bits
        done.unlink(missing_ok=True)


def _prefix(target: Path, seen: Seen) -> str:
    return f".{target.name}.{seen.source[:16]}."


def _begun(target: Path, seen: Seen) -> Iterator[tuple[int, int, Path]]:
    """Give what interrupted calls left of this set in this space: (bytes, shards in all, folder)."""
    for folder in target.parent.iterdir():
        count = folder.name.removeprefix(_prefix(target, seen)).removesuffix(".shards")
        if folder.is_dir() and count.isdecimal():
            yield sum(path.stat().st_size for path in folder.iterdir()), int(count), folder


@dataclass(kw_only=True)
class _Schedule:
    """Which worker has which shard, and which shards wait for one."""

    pool: Pool
    seen: Seen
    ledger: Ledger
    on_shard: Callable[[int, int], None]
    waiting: deque[int] = field(default_factory=deque)
    held: dict[int, int] = field(default_factory=dict)
    losses: Counter[int] = field(default_factory=Counter)
    unready: int = 0

    def run(self, first: int, actors: int) -> None:
        """Go on until every shard is finished; ``first`` is ready."""
        self.waiting.extend(self.ledger.missing())
        for _ in range(min(actors, len(self.waiting)) - 1):
            self.pool.start(self.seen.fingerprint)
        self._employ(first)
        while self.waiting or self.held:
            worker, news = self.pool.next()
            match news:
                case Seen():
                    self.seen.require_same(news)
                    self.unready = 0
                    self._employ(worker)
                case Statistics():
                    self._finish(worker, news)
                case Failure():
                    raise news.error()
                case Lost(reason):
                    self._replace(worker, reason)

    def _employ(self, worker: int) -> None:
        if not self.waiting:
            self.pool.stop(worker)
            return
        self.held[worker] = self.waiting.popleft()
        self.pool.give(worker, self.held[worker], self.ledger.shards)

    def _finish(self, worker: int, part: Statistics) -> None:
        shard = self.held.pop(worker)
        self._employ(worker)  # first: the driver merges while the worker is at the next
        self.ledger.add(shard, part)
        self.on_shard(self.ledger.shards - len(self.waiting) - len(self.held), self.ledger.shards)

    def _replace(self, worker: int, reason: str) -> None:
        self.pool.stop(worker)
        shard = self.held.pop(worker, None)
        if shard is None:
            self._count_unready(reason)
        else:
            self._count_loss(shard, reason)
            self.waiting.appendleft(shard)
        self.pool.start(self.seen.fingerprint)

    def _count_unready(self, reason: str) -> None:
        self.unready += 1
        if self.unready == ATTEMPTS:
            raise _never_ready(reason)

    def _count_loss(self, shard: int, reason: str) -> None:
        self.losses[shard] += 1
        if self.losses[shard] == ATTEMPTS:
            raise DataError(
                f"Shard {shard}/{self.ledger.shards} of {self.seen.name} was lost {ATTEMPTS} times with its actor; "
                f"the last time: {reason}",
                "Memory may run out, or one of its images kill the reader: `vptft-analyze fid stats` with "
                f"`--shard {shard}/{self.ledger.shards}` shows. Finished shards are kept; the same call goes on.",
            )


def _never_ready(reason: str) -> DataError:
    return DataError(
        f"{ATTEMPTS} actors in a row were lost before they had images and extractor; the last: {reason}",
        "Memory may run out on the nodes: take fewer actors, or a smaller extractor. Finished shards are kept.",
    )


class _RayPool:
    """Workers as Ray actors. Ray restarts none of them and repeats no call: the schedule does, and counts."""

    def __init__(self, ray: Any, job: tuple[Any, ...], gpus: float) -> None:
        gone = ray.exceptions
        self._gone = (gone.RayActorError, gone.ObjectLostError, gone.OutOfMemoryError, gone.NodeDiedError)
        self._ray = ray
        # Serialised once: what the images and the extractor are described by may be large.
        self._job = [ray.put(part) for part in job]
        self._kind = ray.remote(
            num_cpus=1, num_gpus=gpus, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
        )(Worker)
        self._actors: dict[int, Any] = {}
        self._pending: dict[Any, int] = {}
        self._started = 0

    def start(self, fingerprint: str | None) -> int:
        worker, self._started = self._started, self._started + 1
        self._actors[worker] = self._kind.remote(*self._job)
        self._pending[self._actors[worker].prepare.remote(fingerprint)] = worker
        return worker

    def give(self, worker: int, i: int, n: int) -> None:
        self._pending[self._actors[worker].shard.remote(i, n)] = worker

    def next(self) -> tuple[int, News]:
        (ready,), _ = self._ray.wait(list(self._pending), num_returns=1)
        worker = self._pending.pop(ready)
        try:
            return worker, self._ray.get(ready)
        except self._gone as error:
            return worker, Lost(" ".join(str(error).split()))

    def stop(self, worker: int) -> None:
        self._ray.kill(self._actors.pop(worker))

    def close(self) -> None:
        for worker in list(self._actors):
            self.stop(worker)


def _ray() -> Any:
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError("ray", "cluster", "Statistics on a Ray cluster") from error
    return ray


@contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """Connect to a cluster, or start one, where this process has none; leave as it was what was there before."""
    ours = not ray.is_initialized()
    # Ray says on stdout that an actor died, whatever log_to_driver is, and stdout is for data.
    with redirect_stdout(sys.stderr):
        try:
            if ours:
                _connect(ray)
            yield
        finally:
            if ours:
                ray.shutdown()


def _connect(ray: Any) -> None:
    address = os.environ.get("RAY_ADDRESS", "")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():
            # Ray itself tries a dead address for minutes.
            socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE).close()
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    except OSError as error:
        raise VptftError(
            f"The Ray cluster at {address or 'this machine'} does not answer: {error}",
            "Start one with `ray start --head`, or set RAY_ADDRESS=local to have one started here for the call.",
        ) from error


def _require_room(ray: Any, gpus: float) -> None:
    """Refuse actors that no node has room for: Ray would wait for such a node without a word."""
    rooms = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(room.get("CPU", 0) >= 1 and room.get("GPU", 0) >= gpus for room in rooms):
        most = " and ".join(
            f"{max((room.get(what, 0) for room in rooms), default=0):g} {what}" for what in ("CPU", "GPU")
        )
        raise SettingsError(
            f"An actor takes 1 CPU and {gpus:g} GPU; a node of this Ray cluster has at most {most}.",
            "Add such a node first, or ask for fewer GPUs an actor.",
        )
