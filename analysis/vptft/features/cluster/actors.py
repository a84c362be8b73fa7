"""Ray: its actors as workers, and the connection to a cluster. Ray is imported when it is used, and only here known."""

import logging
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

from vptft.errors import MissingExtraError, SettingsError, VptftError
from vptft.features.cluster.worker import Lost, News, Worker

PATIENCE = 10.0
"""Seconds in which a cluster's address must answer."""


class RayPool:
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
        """As :class:`~vptft.features.cluster.schedule.Pool` has it."""
        worker, self._started = self._started, self._started + 1
        self._actors[worker] = self._kind.remote(*self._job)
        self._pending[self._actors[worker].prepare.remote(fingerprint)] = worker
        return worker

    def give(self, worker: int, i: int, n: int) -> None:
        """As :class:`~vptft.features.cluster.schedule.Pool` has it."""
        self._pending[self._actors[worker].shard.remote(i, n)] = worker

    def next(self) -> tuple[int, News]:
        """As :class:`~vptft.features.cluster.schedule.Pool` has it."""
        (ready,), _ = self._ray.wait(list(self._pending), num_returns=1)
        worker = self._pending.pop(ready)
        try:
            return worker, self._ray.get(ready)
        except self._gone as error:
            return worker, Lost(" ".join(str(error).split()))

    def stop(self, worker: int) -> None:
        """As :class:`~vptft.features.cluster.schedule.Pool` has it."""
        self._ray.kill(self._actors.pop(worker))

    def close(self) -> None:
        """Let every worker go."""
        for worker in list(self._actors):
            self.stop(worker)


def imported() -> Any:
    """Return the module ``ray``, or say how to install it."""
    try:
        import ray
        import ray.exceptions
    except ImportError as error:
        raise MissingExtraError("ray", "cluster", "Work on a Ray cluster") from error
    return ray


@contextmanager
def connected(ray: Any) -> Iterator[None]:
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


def require_room(ray: Any, gpus: float) -> None:
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
