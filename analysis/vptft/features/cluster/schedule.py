"""Which worker does which shard: a shard that is lost with its worker is given out again.

What counts is what the ledger has merged, and it takes the result of one attempt only.
"""

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from vptft.errors import DataError
from vptft.features.cluster.ledger import Ledger
from vptft.features.cluster.worker import Failure, Lost, News, Seen
from vptft.features.statistics import Statistics, read_statistics

ATTEMPTS = 3
"""How often a shard is given out, and how many actors in a row may be lost before they are ready: a machine that fails
takes one of them, an image that kills its reader all."""


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
