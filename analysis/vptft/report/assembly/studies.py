"""From runs to what they say of data size and of design choices; saved results are loaded, as in ``assemble``."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from vptft.checkpoints.native import Run, RunInfo
from vptft.checkpoints.pairs import RunPair
from vptft.data import registry
from vptft.data.tasks import NEAR_OBJECTIVES
from vptft.errors import DataError, SettingsError, UnknownNameError
from vptft.evidence.verdicts import REGION
from vptft.published import tables
from vptft.report.assembly.outcomes import paired_images
from vptft.report.assembly.saved import identity, saved_or
from vptft.when.datasize.cells import Cell
from vptft.when.datasize.measure import DataSize
from vptft.when.datasize.measure import measure as measure_sizes
from vptft.when.sensitivity.measure import Conclusion, Sensitivity
from vptft.when.sensitivity.measure import measure as measure_sensitivity
from vptft.when.sensitivity.specifications import Side, Trained, text_of

SIDES: Mapping[str, Side] = {"vpt_deep": "vpt", "vpt_shallow": "vpt", "ft": "ft"}
PROMPT_CHOICES = {
    "prompt_length": "prompt length", "prompt_layers": "prompt layers", "prompt_init": "prompt initialisation",
    "prompt_dropout": "prompt dropout", "prompt_dropout_per_sample": "dropout per image",
    "prompt_projection": "prompt projection", "prompt_shared": "prompts shared by layers",
}  # fmt: skip
NO_CHOICES = frozenset({"key", "seed", "lr", "n_test", "n_val", "n_curve", "snapshots", "n_train", "train_split"})
"""Settings that are outcomes of a search, the training draw, or of no effect on a run."""


def data_size(
    pairs: Sequence[RunPair],
    *,
    least_sizes: int = 3,
    region: float = REGION,
    curves: bool = False,
    seed: int = 0,
    folder: Path | None = None,
) -> DataSize:
    """Accuracy and gap of run pairs against their number of training images."""
    options: dict[str, Any] = {"least_sizes": least_sizes, "region": region, "curves": curves, "seed": seed}
    inputs = {"runs": [[identity(pair.vpt), identity(pair.ft)] for pair in pairs], **options}

    def make(settings: dict[str, Any]) -> DataSize:
        return measure_sizes([_cell(pair) for pair in pairs], **options, settings=settings)

    return saved_or(DataSize, folder, inputs, make)


def published_data_size(
    *, least_sizes: int = 3, region: float = REGION, curves: bool = False, seed: int = 0
) -> DataSize:
    """Data size in the paper's tables: one mean a task and size, so noise is what the line leaves."""
    gaps = tables.chosen(tables.gaps(tables.load().accuracies), setting="data_scale")
    cells = [
        Cell(
            task=row["task"], task_group=row["group"], pretraining="supervised", n_train=int(row["n_train"]),
            accuracy_vpt=row["accuracy"] / 100, accuracy_ft=row["accuracy_against"] / 100,
        )
        for row in gaps.to_dict("records")
    ]  # fmt: skip
    settings = {"source": "Han et al., ICLR 2024, Tables 5 and 6"}
    return measure_sizes(cells, least_sizes=least_sizes, region=region, curves=curves, seed=seed, settings=settings)


def task_group(task: str) -> str:
    """Return the group of a task, ``own`` where the registry does not know it."""
    try:
        return registry.task(task).group
    except (UnknownNameError, DataError):
        return "own"


def _cell(pair: RunPair) -> Cell:
    info = pair.vpt.info
    if info.n_train is None:
        raise SettingsError(
            f"{pair.vpt.folder} does not tell how many images it was trained on.",
            "Leave out runs whose n_train is not known (`vptft-analyze runs FOLDER`).",
        )
    ours, theirs = pair.vpt.predictions(), pair.ft.predictions()
    return Cell(
        task=info.task, task_group=task_group(info.task), pretraining=info.pretraining, n_train=info.n_train,
        accuracy_vpt=ours.accuracy, accuracy_ft=theirs.accuracy, draw=info.seed,
        images=paired_images(ours, theirs, info.task), few_groups=info.few_groups,
    )  # fmt: skip


def sensitivity(
    runs: Sequence[Run],
    *,
    conclusions: Mapping[str, Conclusion] | None = None,
    seed: int = 0,
    folder: Path | None = None,
) -> Sensitivity:
    """The gap in every specification that these VPT and FT runs hold; other methods are left out.

    A training setting of which both sides have the same values must agree in a specification; one in which the sides
    differ, by a recipe, is a choice of its side. A task that is not among ``conclusions`` and has a place in the
    factorial suite is held to the paper's rule.
    """
    used = [run for run in runs if run.info.method in SIDES]
    said = {run.info.task: rule for run in used if (rule := papers_rule(run.info)) is not None} | {
        **(conclusions or {})
    }
    inputs = {
        "runs": [identity(run) for run in used], "seed": seed,
        "conclusions": {task: asdict(each) for task, each in sorted(said.items())},
    }  # fmt: skip

    def make(settings: dict[str, Any]) -> Sensitivity:
        own = _own_settings(used)
        return measure_sensitivity(
            [_trained(run, own) for run in used], reference=_defaults(), conclusions=said, seed=seed, settings=settings
        )

    return saved_or(Sensitivity, folder, inputs, make)


def papers_rule(info: RunInfo) -> Conclusion | None:
    """Who is ahead by the paper's rule, for a task of the factorial suite: FT where the objective is near, data far."""
    if info.objective is None or info.appearance is None:
        return None
    ft = info.objective in NEAR_OBJECTIVES and info.appearance != "photo"
    return Conclusion(winner="ft" if ft else "vpt", source="the paper's rule")


def read_conclusions(path: Path) -> dict[str, Conclusion]:
    """Read a CSV with the columns ``task`` and ``winner`` (``vpt`` or ``ft``), and maybe ``source``."""
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} could not be read as a table: {error}") from error
    if missing := [name for name in ("task", "winner") if name not in table]:
        raise DataError(f"{path} lacks the columns {missing}; it has {list(table)}.")
    if wrong := sorted(set(table["winner"]) - {"vpt", "ft"}):
        raise DataError(f"{path}: the winner of a task is vpt or ft, not {', '.join(map(repr, wrong))}.")
    sources = table["source"] if "source" in table else [path.name] * len(table)
    return {
        task: Conclusion(winner=winner, source=source)
        for task, winner, source in zip(table["task"], table["winner"], sources, strict=True)
    }


def _defaults() -> dict[str, str]:
    """Return the level of each prompt choice that a run has where nothing is asked for."""
    from vptft.tuning.settings import TrainSettings

    plain = TrainSettings()
    return {name: text_of(getattr(plain, option)) for option, name in PROMPT_CHOICES.items()}


def _own_settings(runs: Sequence[Run]) -> set[str]:
    """Return names of training settings that the two sides take different values of."""
    values: dict[str, dict[str, set[str]]] = {"vpt": {}, "ft": {}}
    for run in runs:
        for name, value in _training(run).items():
            values[SIDES[run.info.method]].setdefault(name, set()).add(text_of(value))
    names = values["vpt"].keys() | values["ft"].keys()
    return {name for name in names if values["vpt"].get(name) != values["ft"].get(name)}


def _training(run: Run) -> dict[str, Any]:
    """Return what a run was trained with besides its method's options, by a name for readers."""
    info = run.info
    found = {name.replace("_", " "): v for name, v in info.settings.items() if name not in NO_CHOICES}
    found |= {"trials": int(info.search["budget"]) if info.search else 0}
    if info.search is None:
        found["learning rate"] = info.settings.get("lr")
    elif len({trial["weight_decay"] for trial in info.search["trials"]}) > 1:
        del found["weight decay"]
    return found


def _trained(run: Run, own: set[str]) -> Trained:
    info, side = run.info, SIDES[run.info.method]
    if info.seed is None:
        raise SettingsError(
            f"{run.folder} does not tell its seed, so it cannot be paired.", "Leave out runs without a seed."
        )
    predictions = run.predictions()
    training = _training(run)
    choices = {name: info.options[option] for option, name in PROMPT_CHOICES.items() if option in info.options}
    if info.method == "vpt_shallow":
        choices |= {"prompt layers": "input only", "prompts shared by layers": False}
    mine = own | {"learning rate"}
    choices |= {f"{side.upper()} {name}": value for name, value in training.items() if name in mine}
    shared = {name: value for name, value in training.items() if name not in mine}
    shared |= {"training images": info.n_train, "backbone": f"{info.backbone} {str(info.backbone_sha256)[:8]}"}
    trials = () if info.search is None else tuple(t["val_accuracy"] or 0.0 for t in info.search["trials"])
    return Trained(
        side=side, task=info.task, pretraining=info.pretraining, choices=choices, shared=shared, draw=info.seed,
        correct=predictions.correct, groups=predictions.groups, trials=trials,
    )  # fmt: skip
