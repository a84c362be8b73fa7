"""Choosing a learning rate (and a weight decay) on validation: equal trials for every method, equals to the smaller."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from vptft.errors import SettingsError, TrainingError
from vptft.storage import read_json

SEARCH_SEED = 100
"""Seed of the search's training draw. Where a task has images without end, no final run sees those its learning rate
was chosen on; draws of a finite set share some, and a refit trains on the validation images by design."""

FAILED_FILE = "failed.json"
"""What a training that could not be finished leaves in its folder."""


@dataclass(frozen=True, kw_only=True)
class Search:
    """How learning rate and decay are chosen: by accuracy on validation after the last epoch.

    Attributes
    ----------
    rates
        Learning rates tried; empty for the method's own three (or its recipe's).
    decays
        Weight decays tried with each; empty for that of the settings (or the recipe's).
    extra
        Trials after those: one beyond the end where the best rate lies on an end, otherwise one between the best and
        its better neighbour. Every method gets as many.
    seed
        Seed of the training draw of every trial.
    """

    rates: tuple[float, ...] = ()
    decays: tuple[float, ...] = ()
    extra: int = 1
    seed: int = SEARCH_SEED

    def __post_init__(self) -> None:
        if not all(0 < rate < math.inf for rate in self.rates) or not all(0 <= d < math.inf for d in self.decays):
            raise SettingsError(f"Rates must be positive and decays not negative: {self.rates}, {self.decays}.")
        if self.extra < 0 or self.seed < 0:
            raise SettingsError(f"extra and seed must not be negative, got {self.extra}, {self.seed}.")


class Trial(NamedTuple):
    """One trial: its rate and decay, and its accuracy on validation; None where its loss was no longer a number."""

    lr: float
    wd: float
    accuracy: float | None

    @property
    def score(self) -> float:
        """What trials are ordered by: a diverged one is worse than any other."""
        return -1.0 if self.accuracy is None else self.accuracy


def chosen(trials: list[Trial]) -> Trial:
    """Return the best trial; of equals the one with the smaller rate, then the smaller decay.

    Raises
    ------
    TrainingError
        All diverged.
    """
    best = _best(trials)
    if best.accuracy is None:
        rates = ", ".join(f"{trial.lr:g}" for trial in trials)
        raise TrainingError(f"Every trial diverged; learning rates {rates}.", "Search smaller ones.")
    return best


def next_rate(trials: list[Trial]) -> tuple[float, float]:
    """Return the rate and decay of one more trial: beyond an end that is best, else between the best two neighbours.

    A step beyond an end is as long, on a log scale, as the one before it; a search of one rate steps by half a decade.
    """
    best = chosen(trials)
    rates = sorted({trial.lr for trial in trials})
    at = rates.index(best.lr)
    if at == 0 or at == len(rates) - 1:
        inner = rates[min(1, len(rates) - 1)] if at == 0 else rates[at - 1]
        ratio = best.lr / inner if inner != best.lr else math.sqrt(10)
        return rounded(best.lr * ratio), best.wd
    beside = [trial for trial in trials if trial.lr in (rates[at - 1], rates[at + 1])]
    return rounded(math.sqrt(best.lr * _best(beside).lr)), best.wd


def rounded(rate: float) -> float:
    """Return a rate to three digits, as a person would write it."""
    return float(f"{rate:.3g}")


def _best(trials: list[Trial]) -> Trial:
    return max(trials, key=lambda trial: (trial.score, -trial.lr, -trial.wd))


def at_an_end(trials: list[Trial]) -> str | None:
    """Say so where the best rate is the smallest or largest of several tried: the optimum may lie beyond."""
    rates = sorted({trial.lr for trial in trials})
    best = chosen(trials).lr
    if len(rates) < 2 or rates[0] < best < rates[-1]:
        return None
    side = "smallest" if best == rates[0] else "largest"
    return f"learning rate {best:g} is the {side} searched, of {', '.join(f'{rate:g}' for rate in rates)}"


def read_trial(folder: Path) -> Trial:
    """Read a finished or diverged trial."""
    if not (folder / "run.json").is_file() and (failed := folder / FAILED_FILE).is_file():
        told = read_json(failed)
        return Trial(told["lr"], told["wd"], None)
    info = read_json(folder / "run.json")
    settings = info["settings"]
    return Trial(settings["lr"], settings["weight_decay"], info["val_accuracy"])


def summary(trials: list[Trial]) -> dict[str, Any]:
    """Return what ``run.json`` says of the search: every trial, and how many there were."""
    rows = [{"lr": trial.lr, "weight_decay": trial.wd, "val_accuracy": trial.accuracy} for trial in trials]
    return {"budget": len(trials), "trials": rows}
