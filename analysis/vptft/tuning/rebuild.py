"""Training a run again from its ``run.json``: weights too large to keep are made when they are needed."""

import shutil
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from vptft.checkpoints.native import WEIGHTS_FILE, Predictions, Run, load_run
from vptft.data import registry
from vptft.data.tasks import Task
from vptft.errors import CheckpointError
from vptft.storage import lock, write_json
from vptft.tuning.loop import EpochCallback, Purpose, train
from vptft.tuning.methods import find_method
from vptft.tuning.settings import TrainSettings

AGREEING, ACCURACY = 0.95, 0.02
"""How much of the test predictions must agree, and how far accuracies may differ, for a run rebuilt elsewhere."""

ELSEWHERE = "rebuilt on another machine"
"""How the note of such a run begins: it tells where the weights come from, and takes nothing from the run's number."""


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """A run with its weights.

    Attributes
    ----------
    run
        The run.
    exact
        Whether the weights are those of ``run.json``, bit for bit.
    agreeing
        Part of the test images on which both say the same class; 1 where exact, NaN for a run without predictions.
    """

    run: Run
    exact: bool
    agreeing: float


def rebuild(
    run: Run,
    *,
    task: Task | None = None,
    device: str = "cpu",
    on_epoch: EpochCallback = lambda done, total: None,
) -> Rebuilt:
    """Train a run again, and put its weights into its folder once they are shown to be its own.

    On the machine type it was trained on the weights are equal bit for bit. Elsewhere rounding differs, and training
    amplifies it: then at least 95% of the test predictions must agree, and the accuracy must lie within two points;
    ``run.json`` takes the new hash and says so. What it started from is rebuilt first where that is missing.

    Parameters
    ----------
    run
        One of ours, trained here or elsewhere.
    task
        Its task; looked up by name where None.
    device, on_epoch
        As in :func:`vptft.tuning.loop.train`.

    Raises
    ------
    CheckpointError
        A converted run, whose training is not ours; other settings than this version knows; another result.
    """
    if run.info.imported is not None:
        raise CheckpointError(
            f"{run.folder} was converted from another program's checkpoint: it cannot be trained here."
        )
    with lock(run.folder):  # cells of a sweep that start from the same run, in processes beside each other
        return _rebuilt(load_run(run.folder), task, device, on_epoch)


def with_weights(run: Run, *, task: Task, device: str = "cpu") -> Run:
    """Return a run whose weights are there: as it is, or rebuilt; whether they are its own is asked where it is used.

    Raises
    ------
    CheckpointError
        As for :func:`rebuild`.
    """
    return run if (run.folder / WEIGHTS_FILE).exists() else rebuild(run, task=task, device=device).run


def settings_of(run: Run) -> TrainSettings:
    """Return the settings a run was trained with.

    Raises
    ------
    CheckpointError
        ``run.json`` has settings that this version does not know.
    """
    known = {each.name for each in fields(TrainSettings)}
    told: dict[str, Any] = {k: v for k, v in run.info.settings.items() if k != "key"} | run.info.options
    strange = sorted(told.keys() - known)
    if strange:
        raise CheckpointError(f"{run.folder} was trained with settings that are not known here: {strange}.")
    return TrainSettings(**told)


def _rebuilt(run: Run, task: Task | None, device: str, on_epoch: EpochCallback) -> Rebuilt:
    if (run.folder / WEIGHTS_FILE).exists():
        run.model()  # refuses weights that are not the run's
        return Rebuilt(run=run, exact=True, agreeing=1.0)
    base = run.base_run()
    if base is not None:
        base = rebuild(base, task=task, device=device).run
    scratch = run.folder / "rebuilding" / "run"
    tested = run.info.test_accuracy is not None
    made = train(
        task or registry.task(run.info.task), find_method(run.info.method), backbone=run.info.backbone,
        settings=settings_of(run), folder=scratch, base=base, purpose=Purpose(test=tested), device=device,
        on_epoch=on_epoch,
    )  # fmt: skip
    rebuilt = _accepted(run, made)
    for path in (made.folder / WEIGHTS_FILE, made.folder / "snapshots"):
        if path.exists():
            shutil.rmtree(run.folder / path.name, ignore_errors=True)
            path.replace(run.folder / path.name)
    if not rebuilt.exact:
        write_json(run.folder / "run.json", asdict(rebuilt.run.info))
    shutil.rmtree(scratch.parent)
    return rebuilt


def _accepted(run: Run, made: Run) -> Rebuilt:
    """Return the run with its weights, or refuse them."""
    if made.info.model_sha256 == run.info.model_sha256:
        return Rebuilt(run=run, exact=True, agreeing=1.0)
    if run.info.test_accuracy is None:
        raise CheckpointError(f"{run.folder} was rebuilt with other weights, and it has no predictions to compare.")
    agreeing = _agreement(run.predictions(), made.predictions())
    apart = abs(float(made.info.test_accuracy or 0) - run.info.test_accuracy)
    if agreeing < AGREEING or apart > ACCURACY:
        raise CheckpointError(
            f"{run.folder} was trained again with another result: {100 * agreeing:.1f}% of the test predictions agree "
            f"(at least {100 * AGREEING:g}% must), accuracies are {100 * apart:.1f} points apart.",
            f"The other result lies in {made.folder}.",
        )
    note = f"{ELSEWHERE}: {100 * agreeing:.1f}% of the test predictions agree with those kept"
    info = replace(
        run.info, model_sha256=made.info.model_sha256, notes=[*dict.fromkeys([*run.info.notes, note])],
        rebuilt_of=[*run.info.rebuilt_of, run.info.model_sha256],
    )  # fmt: skip
    return Rebuilt(run=Run(folder=run.folder, info=info), exact=False, agreeing=agreeing)


def _agreement(kept: Predictions, made: Predictions) -> float:
    if not np.array_equal(kept.ids, made.ids):
        return 0.0
    return float((kept.logits.argmax(axis=1) == made.logits.argmax(axis=1)).mean())
