"""Finished shards on disk, so that an interrupted call goes on."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from vptft.errors import SettingsError
from vptft.features.cluster.worker import Seen
from vptft.features.extraction import BATCH
from vptft.features.statistics import Statistics, read_statistics

SHARDS_PER_ACTOR = 4
"""What a lost actor costs is at most a shard, and an actor that is slow holds the others up for less than one."""


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
