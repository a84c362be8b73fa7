"""Paired timings: all sides on the same inputs in the same run, process CPU seconds and wall, medians with their range.

Nothing here asserts: a bar is said to hold or not, and whoever reads decides.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

REPETITIONS = 5


@dataclass(frozen=True, kw_only=True)
class Options:
    """How the bench is run.

    Attributes
    ----------
    quick
        Tiny sizes and one repetition: shows that every part runs, and nothing about speed.
    gpu_rate
        Images a second that one GPU takes through the network. Assumed: no part of the bench measures a GPU.
    cores
        CPU cores a GPU, each with a process of its own. Assumed.
    read_rate
        MB a second that one GPU's processes read together. Assumed.
    shards
        Shards a process. Assumed.
    """

    quick: bool = False
    gpu_rate: float = 1500.0
    cores: int = 8
    read_rate: float = 250.0
    shards: int = 4

    @property
    def repetitions(self) -> int:
        """Paired repetitions."""
        return 1 if self.quick else REPETITIONS


class Seconds(NamedTuple):
    """What a call took, of this process's CPUs and of the clock."""

    cpu: float
    wall: float


class Rival(NamedTuple):
    """What ours is timed against.

    Attributes
    ----------
    name
        What it is, with its version.
    call
        The call that does the same.
    bar
        How many times slower than ours it must at least be; None where nothing is promised.
    stands_for
        How many of its calls its time stands for: 5 where it does a fifth of the work.
    """

    name: str
    call: Callable[[], object]
    bar: float | None = None
    stands_for: int = 1


def say(line: str = "") -> None:
    """Write a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def timed(call: Callable[[], object]) -> Seconds:
    """Time one call."""
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return Seconds(time.process_time() - cpu, time.perf_counter() - wall)


def compare(
    what: str, ours: Callable[[], object], rivals: Sequence[Rival], *, repetitions: int = REPETITIONS
) -> list[object]:
    """Time ours and every rival in turn and write the paired ratios; above 1 ours is faster.

    Every second repetition goes through the sides backwards, so that none always has the warmer cache.

    Returns
    -------
    list
        What the calls gave when they were warmed up, ours first.
    """
    calls = [ours, *(rival.call for rival in rivals)]
    with warnings.catch_warnings():
        # scipy deprecates what some peers call.
        warnings.simplefilter("ignore", DeprecationWarning)
        given = [call() for call in calls]
        rows: list[list[Seconds]] = [[] for _ in calls]
        for number in range(repetitions):
            for i in range(len(calls))[:: -1 if number % 2 else 1]:
                rows[i].append(timed(calls[i]))
    say(f"{what}: ours {_median(rows[0])}")
    for rival, theirs in zip(rivals, rows[1:], strict=True):
        ratios = [
            Seconds(*(rival.stands_for * peer / mine for peer, mine in zip(*pair, strict=True)))
            for pair in zip(theirs, rows[0], strict=True)
        ]
        cpu, wall = (_ratio(each, rival.bar) for each in zip(*ratios, strict=True))
        bar = "" if rival.bar is None else f" (bar: at least {rival.bar:.3g}x)"
        say(f"  {rival.name}{bar}: CPU {cpu}; wall {wall}")
    return given


def within(what: str, call: Callable[[], object], bar: float, *, repetitions: int = REPETITIONS) -> None:
    """Time a call, which its caller has warmed up, against a bar in wall seconds."""
    taken = [timed(call) for _ in range(repetitions)]
    wall = [each.wall for each in taken]
    spread = f"wall [{min(wall):.2f}, {max(wall):.2f}]" if repetitions > 1 else "1 repetition"
    say(f"{what} (bar: under {bar:g} s wall): {_median(taken)}, {spread}: {verdict(statistics.median(wall) < bar)}")


def typical(call: Callable[[], object], *, repetitions: int, clock: Literal["cpu", "wall"] = "cpu") -> float:
    """Median seconds of a call, after one to warm up."""
    call()
    return statistics.median(getattr(timed(call), clock) for _ in range(repetitions))


def verdict(holds: bool) -> str:
    """Say whether a bar holds."""
    return "holds" if holds else "DOES NOT HOLD"


def _median(taken: Sequence[Seconds]) -> str:
    cpu, wall = (statistics.median(each) for each in zip(*taken, strict=True))
    return f"{cpu:.3f} CPU s, {wall:.3f} wall s"


def _ratio(ratios: Sequence[float], bar: float | None) -> str:
    middle = statistics.median(ratios)
    said = "" if bar is None else f" {verdict(middle >= bar)}"
    return f"{middle:.2f}x [{min(ratios):.2f}, {max(ratios):.2f}]{said}"
