"""Pieces of a long computation, each kept as it is finished, so that an interrupted one goes on where it was."""

import multiprocessing
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from vptft.errors import VptftError
from vptft.storage import atomic_path, cache_folder, read_arrays
from vptft.tuning import engines

Arrays = dict[str, np.ndarray]
Piece = TypeVar("Piece")
Progress = Callable[[int, int], None]
ATTEMPTS = 5
"""How often a lost actor is started again, and its piece made again."""


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


def on_ray(
    workers: int, prepare: Callable[[Any], Callable[[Any], Arrays]], job: Any, wanted: Sequence[Piece]
) -> Iterator[tuple[Piece, Arrays]]:
    """Make pieces on a Ray cluster, by so many actors; as they come. Arguments as for :func:`in_processes`.

    An actor that is lost is started again, on another node where its own is gone, and makes its piece anew. Every
    machine must see the folders that the job names.

    Raises
    ------
    VptftError
        Ray is not installed, there is no cluster or no room, or a piece takes its actor down again and again.
    """
    from vptft.features.cluster.actors import connected, imported, require_room

    ray = imported()
    with connected(ray):
        from ray.util import ActorPool

        require_room(ray, 0)
        kind = ray.remote(num_cpus=1, max_restarts=ATTEMPTS, max_task_retries=ATTEMPTS, scheduling_strategy="SPREAD")(
            Maker
        )
        actors = [kind.remote(prepare, job) for _ in range(min(workers, len(wanted)))]
        pool: Any = ActorPool(actors)
        try:
            yield from pool.map_unordered(lambda actor, piece: actor.make.remote(piece), wanted)
        except ray.exceptions.RayActorError as error:
            raise VptftError(f"Ray lost the same piece of work again and again: {error}") from error
        finally:
            for actor in actors:
                ray.kill(actor)


class Maker:
    """What makes pieces, as a Ray actor: one thread, prepared once."""

    def __init__(self, prepare: Callable[[Any], Callable[[Any], Arrays]], job: Any) -> None:
        engines._limit_threads(1)
        self._make = prepare(job)

    def make(self, piece: Piece) -> tuple[Piece, Arrays]:
        """Make a piece; and say which."""
        return piece, self._make(piece)


_maker: Callable[[Any], Arrays] | None = None
"""What makes a piece, in a worker process."""


def _begin(threads: int, prepare: Callable[[Any], Callable[[Any], Arrays]], job: Any) -> None:
    global _maker
    engines._begin(threads)
    _maker = prepare(job)


def _make(piece: Any) -> Arrays:
    assert _maker is not None
    return _maker(piece)
