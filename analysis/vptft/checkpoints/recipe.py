"""Recipe: how a run was trained, each fact with the place that tells it.

Some facts are in no file: which modules of a program drop activations, or which setting it ignores, is in its source.
They are known here of KMnP/vpt and VPT-or-FT, and their evidence says so.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from vptft.checkpoints.found import NORMALISATIONS, Found
from vptft.checkpoints.histories.kmnp import (
    FINAL_FOLDER,
    LOG,
    SEARCH_FOLDER,
    Job,
    looks_like_log,
    method_of,
    read_jobs,
)
from vptft.checkpoints.readers import petl, read_checkpoint
from vptft.checkpoints.readers.kmnp import PRODUCER
from vptft.checkpoints.readers.source import has_weights
from vptft.data import vtab
from vptft.errors import CheckpointError

if TYPE_CHECKING:
    from vptft.checkpoints.native import Run

THEIR_CODE = "KMnP/vpt's source"

NAMED_SETTINGS = {
    "batch_size", "epochs", "warmup_fraction", "schedule", "optimizer", "weight_decay", "head_lr", "lr", "seed",
    "image_size", "n_train", "key", "backbone_dropout", "train_split",
}  # fmt: skip
"""Settings of our runs that are aspects by a name of their own; any other is compared under ``setting NAME``."""


SCHEDULES = {"step": "warm-up + cosine", "epoch": "warm-up + cosine, constant within an epoch"}

OF_THE_RUN = {"task", "classes", "image size", "normalisation"}
"""Aspects of a converted run that are told by its own ``run.json``, not by the other program's log."""


class Fact(NamedTuple):
    """A value, and the file and line that tell it."""

    value: Any
    evidence: str


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How a run was trained.

    Attributes
    ----------
    name
        The run, for messages.
    producer, method
        Whose program, and our word for the method; None where it is not known.
    facts
        By aspect, as :data:`vptft.checkpoints.fairness.ASPECTS` lists them; what is not known is absent.
    cautions
        What is odd about this recipe whatever it is compared with.
    """

    name: str
    producer: str
    method: str | None
    facts: Mapping[str, Fact]
    cautions: tuple[Fact, ...] = field(default=())


def read_recipe(path: Path) -> Recipe:
    """Read the recipe of a run: our run folder, or a log of KMnP/vpt or VPT-or-FT, or a folder that holds one.

    Of several jobs in one log the last is taken. Weights without a log tell little, and that little is taken.

    Raises
    ------
    CheckpointError
        Nothing there tells how it was trained.
    """
    if path.is_dir() and (path / "run.json").is_file():
        from vptft.checkpoints.native import load_run

        return of_run(load_run(path))
    if path.is_file() and path.name == "run.json":
        return read_recipe(path.parent)
    for log in (path / LOG,) if path.is_dir() else (path, path.parent / LOG):
        if log.is_file() and looks_like_log(log):
            jobs = read_jobs(log)
            if jobs:
                return of_job(jobs[-1])
    if path.is_file() or (path.is_dir() and has_weights(path)):
        return of_found(read_checkpoint(path).found)
    raise CheckpointError(
        f"Nothing at {path} tells how it was trained.",
        f"Give one of our run folders, or a folder with a {LOG} of {PRODUCER}.",
    )


def of_job(job: Job) -> Recipe:
    """Recipe of a KMnP/vpt or VPT-or-FT job, with what their program does and no setting says."""
    method = method_of(job.config)
    facts: dict[str, Fact] = {}
    logged = f"{job.path}:{job.config_line}"

    def take(aspect: str, name: str, change: Callable[[Any], Any] = lambda value: value) -> None:
        value = job.setting(name)
        if value is not None and value != "":
            facts[aspect] = Fact(change(value), f"{logged} {name}")

    take("task", "DATA.NAME", lambda _: task_of(job))
    take("classes", "DATA.NUMBER_CLASSES")
    take("backbone", "DATA.FEATURE")
    take("image size", "DATA.CROPSIZE")
    take("batch size", "DATA.BATCH_SIZE")
    take("epochs", "SOLVER.TOTAL_EPOCH")
    take("warm-up", "SOLVER.WARMUP_EPOCH", lambda epochs: "1 epoch" if epochs == 1 else f"{epochs} epochs")
    take("schedule", "SOLVER.SCHEDULER")
    take("loss", "SOLVER.LOSS")
    take("seed", "SEED")
    take("learning rate", "SOLVER.BASE_LR")
    take("prompt dropout", "MODEL.PROMPT.DROPOUT")
    if method is not None and not (method.startswith("vpt") or method == "mixed"):
        facts.pop("prompt dropout", None)
    facts |= _optimiser(job, logged)
    mean, std = NORMALISATIONS["imagenet"]
    facts["normalisation"] = Fact(f"mean {mean}, deviation {std}", f"{THEIR_CODE}: ImageNet's, every data set alike")
    facts["selection"] = Fact("validation accuracy of the last epoch", f"{THEIR_CODE}: tune_vtab")
    if method in ("ft", "vpt_deep", "vpt_shallow", "linear", "mixed"):
        drops = method == "ft"
        why = "FT trains with it in 13 modules" if drops else "everything but FT keeps its encoder in evaluation mode"
        facts["backbone dropout"] = Fact(0.1 if drops else 0.0, f"{THEIR_CODE}: {why}; {logged} TRANSFER_TYPE")
    if job.trained_on is not None:
        size = job.sizes.get(job.trained_on)
        images = "" if size is None else f", {size} images"
        facts["training data"] = Fact(f"{job.trained_on}{images}", f"{job.path}:{job.line_of('trained_on')}")
    facts |= _search(job.path)
    return Recipe(name=job.label, producer=PRODUCER, method=method, facts=facts, cautions=_cautions(job, logged))


def task_of(job: Job) -> str | None:
    """The task by our name where it is one of VTAB-1k's, else by theirs."""
    name = job.setting("DATA.NAME")
    if not isinstance(name, str) or not name:
        return None
    row = vtab.known(name)
    return name.removeprefix("vtab-") if row is None else row.name


def of_run(run: "Run") -> Recipe:
    """Recipe of one of our runs, whose ``run.json`` tells everything."""
    info, settings = run.info, run.info.settings
    place = str(run.folder / "run.json")
    values: dict[str, Any] = {
        "task": info.task,
        "classes": len(info.classes),
        "backbone": None if info.imported is not None else info.backbone,
        "backbone weights": info.backbone_sha256 and info.backbone_sha256[:12],
        "image size": info.image_size,
        "batch size": settings.get("batch_size"),
        "epochs": settings.get("epochs"),
        "warm-up": _fraction(settings.get("warmup_fraction")),
        "schedule": SCHEDULES.get(str(settings.get("schedule")), settings.get("schedule")),
        "optimiser": settings.get("optimizer"),
        "weight decay": settings.get("weight_decay"),
        "head learning rate": settings.get("head_lr"),
        "learning rate": settings.get("lr"),
        "seed": info.seed,
        "training data": None
        if info.n_train is None
        else f"{settings.get('train_split') or 'train'}, {info.n_train} images",
        "normalisation": f"mean {tuple(info.mean)}, deviation {tuple(info.std)}",
        "backbone dropout": settings.get("backbone_dropout"),
        "search": _budget(info.search),
        "selection": "last epoch, no choice on test images" if settings.get("optimizer") else None,
    }
    if info.prompts is not None:
        values["prompt dropout"] = info.prompts.get("dropout")
    facts = {aspect: Fact(value, place) for aspect, value in values.items() if value is not None}
    others = settings.keys() - NAMED_SETTINGS
    facts |= {f"setting {name}": Fact(settings[name], place) for name in sorted(others) if settings[name] is not None}
    imported = info.imported or {}
    # What the other program's log says of its recipe is exact; what run.json holds of the input is what is used here.
    told = {name: Fact(**fact) for name, fact in imported.get("recipe", {}).items() if name not in OF_THE_RUN}
    cautions = tuple(Fact(**fact) for fact in imported.get("cautions", ()))
    facts |= told
    return Recipe(name=str(run.folder), producer="vptft-analyze", method=info.method, facts=facts, cautions=cautions)


def of_found(found: Found) -> Recipe:
    """What weights alone tell: their input, their classes, and what their program always does."""
    place = str(found.path)
    facts: dict[str, Fact] = {}
    if found.shape is not None:
        facts["image size"] = Fact(
            found.shape.image_size[0], f"{place}: {found.sources.get('image size', 'position embedding')}"
        )
    if found.n_classes is not None:
        facts["classes"] = Fact(found.n_classes, f"{place}: head")
    if found.normalisation is not None:
        mean, std = found.normalisation
        facts["normalisation"] = Fact(f"mean {mean}, deviation {std}", found.sources.get("normalisation", place))
    if found.producer == petl.PRODUCER:
        facts["selection"] = Fact("best test accuracy of every tenth epoch", f"{petl.PRODUCER}'s source: train.py")
    return Recipe(name=place, producer=found.producer, method=found.method, facts=facts)


def _fraction(value: Any) -> str | None:
    return None if value is None else f"{value:g} of all steps"


def _budget(search: Mapping[str, Any] | None) -> str | None:
    return None if search is None else f"{search.get('budget')} trials on validation"


def _optimiser(job: Job, logged: str) -> dict[str, Fact]:
    """What the optimiser really was: their AdamW has its own weight decay, and is none where 0 is asked for."""
    asked, decay = job.setting("SOLVER.OPTIMIZER"), job.setting("SOLVER.WEIGHT_DECAY")
    if not isinstance(asked, str) or isinstance(decay, bool) or not isinstance(decay, (int, float)):
        return {}
    place = f"{logged} SOLVER.OPTIMIZER, SOLVER.WEIGHT_DECAY"
    if asked == "adamw" and decay > 0:
        return {
            "optimiser": Fact("AdamW", place),
            "weight decay": Fact(
                f"0.01, LayerNorm's weights too (asked for: {decay:g})",
                f"{THEIR_CODE}: AdamW's decay is fixed, the setting is ignored; {place}",
            ),
        }
    momentum = job.setting("SOLVER.MOMENTUM", 0.9)
    fallen = "SGD because weight decay is 0: asked for AdamW" if asked == "adamw" else asked.upper()
    why = f"{THEIR_CODE}: AdamW with decay 0 becomes SGD; {place}" if asked == "adamw" else place
    return {"optimiser": Fact(f"{fallen}, momentum {momentum}", why), "weight decay": Fact(f"{decay:g}", place)}


def _search(log: Path) -> dict[str, Fact]:
    """How many learning rates and decays were tried: cells of the search folder beside a final run's folder."""
    for folder in log.resolve().parents[:6]:
        if not folder.name.endswith(FINAL_FOLDER):
            continue
        inside = log.resolve().relative_to(folder).parts[:-3]  # below it: NAME, FEATURE, then lr_wd, run, log
        other = folder.with_name(folder.name.removesuffix(FINAL_FOLDER) + SEARCH_FOLDER).joinpath(*inside)
        try:
            cells = sorted(path.name for path in other.iterdir() if path.name.startswith("lr"))
        except OSError:
            return {}
        if cells:
            rates = {cell.partition("_")[0] for cell in cells}
            return {"search": Fact(f"{len(cells)} cells, {len(rates)} learning rates", str(other))}
    return {}


def _cautions(job: Job, logged: str) -> tuple[Fact, ...]:
    """What is odd about a job of theirs whatever it is compared with."""
    found = [Fact(problem, job.label) for problem in job.problems]
    first = next(iter(job.epochs), None)
    if first is not None and first.lr == 0:
        found.append(
            Fact("the first epoch has a learning rate of 0 exactly: nothing is learned", f"{job.path}:{first.line}")
        )
    if job.final:
        place = job.line_of("trained_on") or job.config_line
        found.append(
            Fact(
                "its 'val' images are part of the training data: no claim on overfitting rests on them",
                f"{job.path}:{place}",
            )
        )
    if job.setting("DATA.FEATURE") == "sup_vitb16_224":
        found.append(
            Fact(
                "FEATURE sup_vitb16_224 loads ViT-B_16-224.npz, not the imagenet21k file of their README",
                f"{logged} DATA.FEATURE",
            )
        )
    if method_of(job.config) == "mixed":
        found.append(
            Fact("Mixed trains every weight with VPT's SGD and learning rates, not with FT's AdamW", THEIR_CODE)
        )
    if job.nan:
        found.append(
            Fact("the loss was no longer a number and training stopped early", f"{job.path}:{job.line_of('nan')}")
        )
    elif not job.complete:
        done, planned = job.epochs_done, job.epochs_planned
        found.append(Fact(f"the log ends after {done} of {planned or 'unknown'} epochs", job.label))
    return tuple(found)
