"""How long a plan will take, from steps that are timed here before anything is trained."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

import torch
from torch.nn import functional as F

from vptft.checkpoints.native import WEIGHTS_FILE
from vptft.errors import VptftError
from vptft.models.backbones import Backbone, load_backbone
from vptft.tuning.building import build_model
from vptft.tuning.loop import logits_of, predict
from vptft.tuning.methods import Method, find_method
from vptft.tuning.optimisation import optimiser
from vptft.tuning.plan import Cell
from vptft.tuning.settings import TrainSettings

REPEATS = 3
UNKNOWN = 300
"""Images a split is taken to have where the plan leaves the number to the task."""


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How fast one kind of training goes here, seconds.

    Attributes
    ----------
    step
        A training step of ``batch_size`` images.
    image
        A prediction, an image.
    once
        Whether the images pass through the network once only (a probe), not every epoch.
    """

    step: float
    image: float
    once: bool = False

    def seconds(self, cell: Cell) -> float:
        """How long a cell takes: its steps, its curves, and its test predictions; reading images comes on top."""
        settings = cell.settings
        n_train = settings.n_train or UNKNOWN
        n_val = (settings.n_val or UNKNOWN) if settings.train_split == "train" else 0
        n_test = (settings.n_test or UNKNOWN) if cell.kind == "final" else 0
        if self.once:
            return self.image * (n_train + n_val + n_test)
        steps = settings.epochs * -(-n_train // settings.batch_size)
        curves = settings.epochs * (n_val + min(n_test, settings.n_curve))
        return steps * self.step + (curves + n_test) * self.image


def estimate(cells: Iterable[Cell], *, device: str = "cpu") -> dict[str, float | None]:
    """Return the seconds each cell will take, by folder.

    One step and one prediction of every kind of training are timed (median of 3 after one to warm up), on noise: of
    each method, backbone, image size, batch size and set of options. A machine busy with something else makes the
    numbers too large. None where a kind cannot be timed here, such as for a backbone that cannot be had.
    """
    paces: dict[tuple[object, ...], Pace | None] = {}
    found: dict[str, float | None] = {}
    for cell in cells:
        kind = _kind(cell)
        if kind not in paces:
            paces[kind] = _timed(cell, device)
        pace = paces[kind]
        found[cell.folder] = None if pace is None else pace.seconds(cell)
    return found


def to_rebuild(cells: Mapping[str, Cell], wanted: Iterable[Cell], root: Path) -> list[Cell]:
    """Return the cells that are done but are trained again first: cells wanted start from them, their weights went."""
    bases = {cell.base for cell in wanted if cell.base}
    return [
        cells[folder] for folder in sorted(bases)
        if (root / folder / "run.json").is_file() and not (root / folder / WEIGHTS_FILE).exists()
    ]  # fmt: skip


def hours(seconds: Mapping[str, float | None], workers: int = 1) -> float:
    """Return the hours that cells take on as many workers, each as fast as what was timed."""
    return sum(each or 0.0 for each in seconds.values()) / workers / 3600


def _kind(cell: Cell) -> tuple[object, ...]:
    settings = cell.settings
    options = {name: value for name, value in settings.changed().items() if name in find_method(cell.method).options}
    return (cell.backbone, cell.method, settings.image_size, settings.batch_size, settings.precision,
            *sorted(map(str, options.items())))  # fmt: skip


def _timed(cell: Cell, device: str) -> Pace | None:
    try:
        return pace_of(find_method(cell.method), load_backbone(cell.backbone, cell.settings.image_size), cell.settings,
                       device=device)  # fmt: skip
    except (VptftError, OSError):
        return None  # the sweep itself will say what is wrong with it


def pace_of(
    method: Method,
    backbone: Backbone,
    settings: TrainSettings,
    *,
    device: str = "cpu",
    clock: Callable[[], float] = time.perf_counter,
) -> Pace:
    """Time a step and a prediction of one kind of training on noise."""
    settings = replace(settings, lr=settings.lr or method.default_lr)
    base = None
    if method.after is not None:
        base = build_model(find_method(method.after), backbone, settings, n_classes=10)
    model = build_model(method, backbone, settings, n_classes=10, base=base).to(device)
    shape = (settings.batch_size, 3, settings.image_size, settings.image_size)
    pixels = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(settings.batch_size, device=device) % 10
    steps = optimiser(model, settings)

    def step() -> None:
        model.train()
        loss = F.cross_entropy(logits_of(model, pixels, backbone, settings.precision), labels)
        steps.zero_grad()
        loss.backward()
        steps.step()
        loss.item()

    def image() -> None:
        predict(model, pixels, backbone, precision=settings.precision)

    per_step = 0.0 if method.reads_fixed_features else _median(step, clock)
    per_image = _median(image, clock) / settings.batch_size
    return Pace(step=per_step, image=per_image, once=method.reads_fixed_features)


def _median(act: Callable[[], None], clock: Callable[[], float]) -> float:
    act()
    times = []
    for _ in range(REPEATS):
        started = clock()
        act()
        times.append(clock() - started)
    return median(times)
