"""Escape test: from one point, the loss that each extension of the network lets an equal budget remove (Y2).

Han et al. (2024, section 5.1) ask whether additional dimensions help prompt tuning to escape local minima, and answer
by loss curves of Mixed and FT-then-PT. Here prompts are put into a network without changing its function, other
dimensions of equal number beside them as controls, and each gets the same budget from the same point.
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd

from vptft.errors import SettingsError, TrainingError
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result
from vptft.why.landscape.escape.budget import DEFAULT, MOVES, Budget, gradient_norm, spend
from vptft.why.landscape.escape.contrasts import CONTROLS, contrasts, verdicts
from vptft.why.landscape.escape.extensions import EXTENSIONS, Extended, extend
from vptft.why.landscape.escape.points import StartingPoint
from vptft.why.landscape.evaluation import Sample, losses_of
from vptft.why.landscape.parameters import BACKBONE, HEAD, spaces

COLUMNS: Mapping[str, str] = {
    "task": "str", "pretraining": "str", "start": "str", "seed": "int64", "extension": "str", "variant": "str",
    "parameters": "int64", "lr": "float64", "network_lr": "float64", "gradient_network": "float64",
    "gradient_backbone": "float64", "gradient_head": "float64", "gradient_extension": "float64",
    **{f"{quantity}_{on}{when}": "float64"
       for on in ("train", "fresh") for quantity in ("loss", "accuracy") for when in ("_before", "")},
}  # fmt: skip
TRIALS: Mapping[str, str] = {
    **{name: COLUMNS[name] for name in ("task", "start", "seed", "extension", "variant", "lr", "network_lr")},
    "loss_held_out": "float64", "chosen": "bool",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EscapeTest(Result):
    """A row a point, extension and variant in ``table``; each learning rate tried in ``trials``.

    Attributes
    ----------
    trials
        Columns: task, start, seed, extension, variant, lr, network_lr, loss_held_out (nats, infinite where the
        training broke off), chosen.
    controls
        Runs beside the test: pretraining, task, method (``mixed``, ``ft_then_pt``), seed, accuracy, accuracy_ft (test,
        fractions, the FT run of that seed).
    contrasts
        As :func:`~vptft.why.landscape.escape.contrasts.contrasts` gives them.
    """

    analysis: ClassVar[str] = "escape"
    table: pd.DataFrame
    trials: pd.DataFrame
    controls: pd.DataFrame
    contrasts: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Columns: task, pretraining, start, seed, extension, variant, parameters (added), lr, network_lr (of the
        chosen trial; NaN where that part did not move), gradient_network, _backbone, _head, _extension (length of the
        training loss' gradient at the start, nats a unit), and loss (nats) and accuracy (fraction) on train and fresh
        images, before (``loss_train_before``) and after the budget (``loss_train``).
        """  # noqa: D205
        return self.table

    def findings(self) -> tuple[Finding, ...]:
        """Y2: every contrast of the loss on fresh images, and Mixed and FT-then-PT against FT, one family."""
        return verdicts(self.contrasts, self.controls, self.table)


def measure(
    point: StartingPoint,
    *,
    extensions: Sequence[str] = tuple(EXTENSIONS),
    variants: Sequence[str] = ("alone", "joint"),
    prompts: int = 10,
    budget: Budget = DEFAULT,
    seed: int = 0,
    settings: Mapping[str, Any] | None = None,
) -> EscapeTest:
    """Spend the budget from one point with every extension, and report what it removed.

    Parameters
    ----------
    point
        The network and its images; it comes back unchanged.
    extensions
        Names of :data:`~vptft.why.landscape.escape.extensions.EXTENSIONS`. ``none`` has nothing to train alone.
    variants
        What moves besides the extension: ``alone``, ``with head`` or ``joint`` (the whole network).
    prompts
        A layer; the other extensions are as large.
    budget
        Steps and rates. A trial costs ``steps`` training steps and a look at the held-out images, each extension and
        variant one look at train and fresh images more: with the defaults 14 trials a point.
    seed
        Of the batches and of what extensions draw, together with the point's own.

    Notes
    -----
    The learning rate with the least loss on the held-out images is taken, which none of the two reported losses is of.
    Fresh images are new to everything. The loss on them falls also where an overconfident network becomes less so,
    without an answer changed: accuracy stands beside it. Where the training loss of a finetuned network is near zero
    there is nothing to escape from, and what a budget removes of it is near zero for all; the residual gradient says
    so. A test of one point knows no spread: :func:`together` puts points side by side.

    The gates' Hessian is indefinite by construction, so curvature at the start is not looked at: see
    :class:`~vptft.why.landscape.escape.extensions.GatedPrompts`.
    """
    _check(extensions, variants)
    of_point = point.seed * 1_000_003 + seed
    plain = extend(point.model, "none", prompts=prompts)
    before = _state(plain, point) | _network_gradients(plain, point.train)
    rows, trials = [], []
    for name in extensions:
        start = extend(point.model, name, prompts=prompts, seed=of_point)
        gradient = gradient_norm(start, point.train, start.added)
        for variant in variants:
            if name == "none" and not MOVES[variant]:
                continue
            about = {
                "task": point.task,
                "start": point.start,
                "seed": point.seed,
                "extension": name,
                "variant": variant,
            }
            best, tried = _best(start, point, name, variant, budget, of_point)
            chosen = next(trial for trial in tried if trial["chosen"])
            after = _state(best, point)
            trials += [about | trial for trial in tried]
            rows.append(
                about
                | {"pretraining": point.pretraining, "parameters": start.size, "gradient_extension": gradient}
                | {key: chosen[key] for key in ("lr", "network_lr")}
                | {(f"{k}_before" if k in after else k): v for k, v in before.items()}
                | after
            )
    table = pd.DataFrame(rows)[list(COLUMNS)].astype(COLUMNS)
    return _result(
        table, pd.DataFrame(trials)[list(TRIALS)].astype(TRIALS), _no_controls(),
        {
            **(settings or {}), **asdict(budget), "rates": list(budget.rates),
            "network_rates": list(budget.network_rates), "prompts": prompts, "seed": seed,
            "n_train": len(point.train.labels), "n_held_out": len(point.held_out.labels),
            "n_fresh": len(point.fresh.labels),
        },
    )  # fmt: skip


def together(
    parts: Sequence[EscapeTest], *, controls: pd.DataFrame | None = None, settings: Mapping[str, Any] | None = None
) -> EscapeTest:
    """Put tests of several points side by side, so that seeds give an interval.

    Parameters
    ----------
    parts
        Of points that differ in task, start or seed.
    controls
        As in :class:`EscapeTest`; none by default.

    Raises
    ------
    SettingsError
        There is no part, or a point is there twice.
    """
    if not parts:
        raise SettingsError("There is no escape test to put together.")
    table = pd.concat([part.table for part in parts], ignore_index=True)
    key = ["pretraining", "task", "start", "seed", "extension", "variant"]
    if (twice := table[table.duplicated(key)]).size:
        point = twice.iloc[0]
        raise SettingsError(
            f"Two escape tests of {point['task']} from the {point['start']} point of seed {point['seed']}.",
            "Give one run of each task and seed.",
        )
    trials = pd.concat([part.trials for part in parts], ignore_index=True)
    given = _no_controls() if controls is None else controls[CONTROLS].reset_index(drop=True)
    return _result(table, trials, given, {**parts[0].settings, **(settings or {})})


def _result(
    table: pd.DataFrame, trials: pd.DataFrame, controls: pd.DataFrame, settings: Mapping[str, Any]
) -> EscapeTest:
    return EscapeTest(settings=settings, table=table, trials=trials, controls=controls, contrasts=contrasts(table))


def _best(
    start: Extended, point: StartingPoint, name: str, variant: str, budget: Budget, seed: int
) -> tuple[Extended, list[dict[str, Any]]]:
    """Try each rate from the same point; give the network that does best on the held-out images, and all trials."""
    best, least, tried = None, np.inf, []
    for trial, (rate, network_rate) in enumerate(zip(budget.rates, budget.network_rates, strict=True)):
        extended = copy.deepcopy(start)
        try:
            spend(extended, point.train, budget, variant=variant, trial=trial, seed=seed)
            loss = float(losses_of(extended.model, point.held_out).loss.mean())
        except TrainingError:
            loss = np.inf
        tried.append({
            "lr": rate if extended.added else np.nan, "network_lr": network_rate if MOVES[variant] else np.nan,
            "loss_held_out": loss, "chosen": False,
        })  # fmt: skip
        if loss < least:
            best, least = extended, loss
    if best is None:
        raise TrainingError(
            f"{name}, {variant}: the loss became no number at any of the rates {budget.rates}.",
            "Lower the rates of the budget.",
        )
    tried[[trial["loss_held_out"] for trial in tried].index(least)]["chosen"] = True
    return best, tried


def _state(extended: Extended, point: StartingPoint) -> dict[str, float]:
    """Loss and accuracy on the images that are reported."""
    out: dict[str, float] = {}
    for on, sample in (("train", point.train), ("fresh", point.fresh)):
        found = losses_of(extended.model, sample)
        out |= {f"loss_{on}": float(found.loss.mean()), f"accuracy_{on}": float(found.correct.mean())}
    return out


def _network_gradients(plain: Extended, sample: Sample) -> dict[str, float]:
    """Length of the gradient in the network's own spaces, the same whatever is added."""
    found = spaces(plain.model)
    parts = {name: gradient_norm(plain, sample, list(found[name].values())) for name in (BACKBONE, HEAD)}
    whole = float(np.hypot(parts[BACKBONE], parts[HEAD]))
    return {"gradient_network": whole, "gradient_backbone": parts[BACKBONE], "gradient_head": parts[HEAD]}


def _no_controls() -> pd.DataFrame:
    kinds = dict.fromkeys(CONTROLS, "str") | {"seed": "int64", "accuracy": "float64", "accuracy_ft": "float64"}
    return pd.DataFrame(columns=CONTROLS).astype(kinds)


def _check(extensions: Sequence[str], variants: Sequence[str]) -> None:
    for kind, names, known in (("extension", extensions, EXTENSIONS), ("variant", variants, MOVES)):
        if not names or set(names) - set(known) or len(set(names)) < len(names):
            raise SettingsError(f"Each {kind} is one of {', '.join(known)}, named once; got {', '.join(names)}.")
