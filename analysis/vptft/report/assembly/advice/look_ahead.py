"""A few epochs of VPT and FT on a task, judged on validation alone: kept, so that asking again costs nothing."""

from collections.abc import Callable
from dataclasses import replace

from vptft.data.tasks import Split, Task
from vptft.storage import cache_folder, key_of, slug
from vptft.tuning.loop import Purpose, train
from vptft.tuning.methods import find_method
from vptft.tuning.settings import TrainSettings

TRAINED, VALIDATED = 300, 100
"""Images of a look-ahead, the standard size's: a gap on 100 images is known to about 5 points."""


def settings_for(epochs: int, *, image_size: int, seed: int = 0) -> TrainSettings:
    """Settings of a look-ahead: the usual recipe, its schedule as short as the training."""
    return TrainSettings(epochs=epochs, image_size=image_size, n_train=TRAINED, n_val=VALIDATED, seed=seed)


def gap_after(
    task: Task,
    backbone: str,
    settings: TrainSettings,
    *,
    device: str = "cpu",
    tell: Callable[[str], Callable[[int, int], None]] = lambda label: lambda done, total: None,
) -> float:
    """Gap (VPT - FT) on validation after a short training of each at its default rate, points.

    Where the task has fewer images than the settings ask for, all are taken. Nothing is searched and no test image is
    seen; the weights are not kept.
    """
    fitted = replace(
        settings, n_train=_count(task, "train", settings.n_train), n_val=_count(task, "val", settings.n_val)
    )
    content = task.load("train").fingerprint() if task.group == "own" else task.source
    accuracy = {}
    for name in ("vpt_deep", "ft"):
        key = key_of(task.name, content, name, backbone, fitted.changed())
        run = train(
            task, find_method(name), backbone=backbone, settings=fitted,
            folder=cache_folder() / "look_ahead" / f"{slug(task.name)}-{name}-{key[:12]}",
            purpose=Purpose(test=False, keep_weights=False, notes=("a look-ahead",)), device=device,
            on_epoch=tell(f"look-ahead: {name} on {task.name}"),
        )  # fmt: skip
        accuracy[name] = run.info.val_accuracy or 0.0
    return 100 * (accuracy["vpt_deep"] - accuracy["ft"])


def _count(task: Task, split: Split, asked: int | None) -> int | None:
    """As many images as are asked for, or all (None) where there are fewer; a generated task has any number."""
    return asked if asked is not None and (task.appearance or len(task.load(split)) > asked) else None
