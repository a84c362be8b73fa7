"""Pieces of a long computation, each kept as it is finished, so that an interrupted one goes on where it was."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vptft.storage import atomic_path, cache_folder, read_arrays
from vptft.tuning import engines

Arrays = dict[str, np.ndarray]
Piece = TypeVar("Piece")
Progress = Callable[[int, int], None]


class Pieces:
    """Arrays by name, in a folder of the cache that belongs to one computation.

    Parameters
    ----------
    key
        Of everything that the pieces depend on.
    """

    def __init__(self, key: str) -> None:
        self.folder: Path = cache_folder() / "pieces" / key[:32]

    def get(self, name: str) -> Arrays | None:
        """Read a piece; None where it is still to be made."""
        path = self.folder / f"{name}.npz"
        return read_arrays(path) if path.is_file() else None

    def put(self, name: str, arrays: Arrays) -> None:
        """Keep a piece."""
        with atomic_path(self.folder / f"{name}.npz") as path:
            np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # numpy's stub wants no str keys

    def clear(self) -> None:
        """Forget them: the whole is made."""
        shutil.rmtree(self.folder, ignore_errors=True)


def kept(
    pieces: Pieces,
    wanted: Sequence[Piece],
    *,
    name: Callable[[Piece], str],
    make: Callable[[Sequence[Piece]], Iterable[tuple[Piece, Arrays]]],
    on_piece: Progress = lambda done, total: None,
) -> list[Arrays]:
    """Give every piece in order: those kept are read, the others made, in any order, and kept one by one."""
    found = {name(piece): arrays for piece in wanted if (arrays := pieces.get(name(piece))) is not None}
    on_piece(len(found), len(wanted))
    for piece, arrays in make([piece for piece in wanted if name(piece) not in found]):
        pieces.put(name(piece), arrays)
        found[name(piece)] = arrays
        on_piece(len(found), len(wanted))
    return [found[name(piece)] for piece in wanted]


def in_processes(
    workers: int, prepare: Callable[[Any], Callable[[Any], Arrays]], job: Any, wanted: Sequence[Piece]
) -> Iterator[tuple[Piece, Arrays]]:
    """Make pieces in processes beside this one, each with its share of the cores; as they come.

    Parameters
    ----------
    workers
        How many processes.
    prepare
        A module's function that a process calls once, with ``job``; it gives what makes a piece.
    job
        What can be sent to a process.
    wanted
        Pieces, which can be sent too.
    """
    context = multiprocessing.get_context("spawn")
    threads = max(1, (os.cpu_count() or 1) // workers)
    pool = ProcessPoolExecutor(
        workers, mp_context=context, initializer=_begin, initargs=(threads, prepare, job)
    )  # fmt: skip
    try:
        futures = {pool.submit(_make, piece): piece for piece in wanted}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_maker: Callable[[Any], Arrays] | None = None
"""What makes a piece, in a worker process."""


def _begin(threads: int, prepare: Callable[[Any], Callable[[Any], Arrays]], job: Any) -> None:
    global _maker
    engines._begin(threads)
    _maker = prepare(job)


def _make(piece: Any) -> Arrays:
    assert _maker is not None
    return _maker(piece)
