"""Where the cells of a sweep are trained: in this process, in processes beside it, or on a Ray cluster."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import TYPE_CHECKING, Any

from vptft.errors import MissingExtraError
from vptft.tuning.sweep import Job, Outcome

if TYPE_CHECKING:
    from vptft.data.tasks import Task

EpochCallback = Callable[[int, int], None]


class Here:
    """One cell at a time, in this process.

    Parameters
    ----------
    on_start
        Called with the job when a cell starts; gives its epoch callback.
    load_task
        How a task's name becomes a task; the registry's way by default.
    """

    slots = 1

    def __init__(
        self,
        on_start: Callable[[Job], EpochCallback] = lambda job: lambda done, total: None,
        load_task: "Callable[[str], Task] | None" = None,
    ) -> None:
        self._on_start, self._load_task = on_start, load_task
        self._job: Job | None = None

    def submit(self, job: Job) -> None:
        """Take a cell; it is trained when it is waited for."""
        self._job = job

    def wait(self) -> Iterable[tuple[str, Outcome]]:
        """Train it."""
        job, self._job = self._job, None
        assert job is not None
        from vptft.tuning.cells import train_cell

        outcome = train_cell(job, load_task=self._load_task, on_epoch=self._on_start(job))
        return [(job.cell.folder, outcome)]


class Workers:
    """Processes on this machine, each with its share of the cores.

    A process that is killed takes its cell with it; the cell is started once more, by a fresh set of processes, and
    goes on from its last resume state. A cell that takes its process down twice has failed.
    """

    def __init__(self, count: int) -> None:
        self.slots = count
        self._pool = self._fresh()
        self._running: dict[Future[Outcome], Job] = {}
        self._lost: dict[str, int] = {}

    def submit(self, job: Job) -> None:
        """Start a cell."""
        try:
            future = self._pool.submit(_train, job)
        except BrokenProcessPool:
            self._pool = self._fresh()
            future = self._pool.submit(_train, job)
        self._running[future] = job

    def wait(self) -> Iterable[tuple[str, Outcome]]:
        """Wait for the next cells to end."""
        while True:
            done, _ = wait(self._running, return_when=FIRST_COMPLETED)
            ended = [(job, future) for future in done if (job := self._running.pop(future))]
            settled = []
            for job, future in ended:
                try:
                    settled.append((job.cell.folder, future.result()))
                except BrokenProcessPool:
                    settled += self._again(job)
            if settled:
                return settled

    def close(self) -> None:
        """Stop the processes; a cell that is being trained goes on when the sweep is started again."""
        for process in (self._pool._processes or {}).values():
            process.terminate()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _again(self, job: Job) -> list[tuple[str, Outcome]]:
        folder = job.cell.folder
        self._lost[folder] = self._lost.get(folder, 0) + 1
        # Every cell of a broken pool is lost with the one that broke it, so the innocent are counted too.
        if self._lost[folder] > self.slots:
            return [(folder, Outcome("failed", "its process was killed again and again: is there enough memory?"))]
        self.submit(job)
        return []

    def _fresh(self) -> ProcessPoolExecutor:
        threads = max(1, (os.cpu_count() or 1) // self.slots)
        return ProcessPoolExecutor(
            self.slots, mp_context=multiprocessing.get_context("spawn"), initializer=_begin, initargs=(threads,)
        )


class Ray:
    """A Ray cluster: cells wherever there is room; a lost worker's or node's cell is trained again elsewhere.

    Every machine must see the sweep's folder. A cell goes on from its resume state there.

    Parameters
    ----------
    address
        As ``ray.init`` takes it; None starts one on this machine.
    cpus, gpus
        What a cell needs; a part of a GPU will do.
    """

    def __init__(self, *, address: str | None = None, cpus: float = 1, gpus: float = 0) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError("ray", "cluster", "A sweep on a cluster") from error
        self._ray = ray
        if not ray.is_initialized():
            ray.init(address=address, log_to_driver=False, include_dashboard=False)
        resources = ray.cluster_resources()
        rooms = [int(resources.get("CPU", 1) / cpus), *([int(resources.get("GPU", 0) / gpus)] if gpus else [])]
        self.slots = max(1, min(rooms))
        self._train = ray.remote(num_cpus=cpus, num_gpus=gpus, max_retries=5)(_on_ray)
        self._cpus = max(1, int(cpus))
        self._running: dict[Any, Job] = {}

    def submit(self, job: Job) -> None:
        """Start a cell."""
        self._running[self._train.remote(job, self._cpus)] = job

    def wait(self) -> Iterable[tuple[str, Outcome]]:
        """Wait for the next cell to end."""
        done, _ = self._ray.wait(list(self._running), num_returns=1)
        return [self._ended(reference) for reference in done]

    def close(self) -> None:
        """Take back what is running; the cluster stays, unless it was started here."""
        for reference in self._running:
            self._ray.cancel(reference, force=True)
        self._ray.shutdown()

    def _ended(self, reference: Any) -> tuple[str, Outcome]:
        job = self._running.pop(reference)
        try:
            return job.cell.folder, self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            return job.cell.folder, Outcome("failed", f"Ray gave it up: {str(error).strip().splitlines()[-1]}")


def _begin(threads: int) -> None:
    """Prepare a worker: its share of the cores, and an end of its own should the sweep's process be killed."""
    _limit_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os._exit(1)


def _train(job: Job) -> Outcome:
    """Train a cell in a process of its own: torch is imported there, not where the sweep is planned."""
    from vptft.tuning.cells import train_cell

    return train_cell(job)


def _on_ray(job: Job, threads: int) -> Outcome:
    _limit_threads(threads)
    return _train(job)


def _limit_threads(threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
