"""The factorial core: ten tasks, five questions about the same scenes in two appearances."""

from functools import lru_cache, partial

import numpy as np
from PIL import Image

from vptft.data.images import ImageSet
from vptft.data.suite.appearances import APPEARANCES, NATIVE, render, solid_masks
from vptft.data.suite.sampling import label_of, sample_scene, tile_of
from vptft.data.suite.scenes import FACTORS, SUITE_VERSION, Scene
from vptft.data.suite.shapes import TARGETS
from vptft.data.suite.tiles import Part
from vptft.data.tasks import Objective, Split, Task
from vptft.errors import SettingsError
from vptft.storage import key_of

SIZES: dict[Part, int] = {"train": 300, "val": 100, "test": 1000}
"""Scenes a split by default, the standard size ``suite``."""

OBJECTIVES: dict[str, Objective] = {
    "category": "classification",
    "count": "counting",
    "location": "location",
    "orientation": "orientation",
    "distance": "distance",
}
"""Question -> objective, in the order of the tables."""

CLASSES: dict[str, tuple[str, ...]] = {
    "category": TARGETS,
    "count": tuple(str(number + 1) for number in range(FACTORS["count"])),
    "location": tuple(f"column {number + 1}" for number in range(FACTORS["location"])),
    "orientation": ("up", "up right", "right", "down right", "down", "down left", "left", "up left"),
    "distance": ("1 nearest", "2", "3", "4", "5", "6 farthest"),
}
"""Names of the classes a question."""


def suite_tasks() -> tuple[Task, ...]:
    """Return the ten tasks, ``photo/category`` to ``plain/distance``.

    The five tasks of one appearance show the same pictures, and a scene looks different but is the same in the
    other appearance: tasks differ in the question, in the look, and in nothing else. Accuracies of tasks that
    share scenes are therefore paired, never independent.
    """
    return tuple(
        Task(
            name=f"{appearance}/{question}",
            group="suite",
            objective=objective,
            classes=CLASSES[question],
            load=partial(load, appearance, question),
            appearance=appearance,
            source="generated, on photographs that scikit-image and scikit-learn ship",
        )
        for appearance in APPEARANCES
        for question, objective in OBJECTIVES.items()
    )


def load(
    appearance: str, question: str, split: Split, n: int | None = None, seed: int = 0, *, size: int = NATIVE
) -> ImageSet:
    """Scenes of one split, rendered when they are read; the last few thousand stay in memory.

    Parameters
    ----------
    appearance, question
        The two factors.
    split
        ``train`` and ``trainval`` are drawn by ``seed``; ``val`` and ``test`` are always the same scenes.
        ``trainval`` is three parts train and one part val.
    n
        How many; None for 300 train, 100 val, 400 trainval, 1000 test. Draws of one seed are nested.
    seed
        Seed of the training draw. Backgrounds of train, val and test come from disjoint tiles.
    size
        Side in pixels that scenes are rendered at.

    Returns
    -------
    ImageSet
        ``groups`` are background tiles (far fewer than scenes: resample these), ``masks`` the visible pixels of
        the target, or of all solids where the question is ``count``.
    """
    if n is not None and n < 1:
        raise SettingsError(f"{appearance}/{question}: n must be at least 1, got {n}.")
    keys = _keys(split, n, seed)
    masks = partial(_mask, question, size)
    return ImageSet(
        name=f"{appearance}/{question} ({split})",
        ids=tuple("/".join(map(str, key)) for key in keys),
        read=lambda i: _picture(keys[i], appearance, size),
        groups=tuple(tile_of(*key).name for key in keys),
        # Of the pixels alone: five questions about the same scenes share their features in the cache.
        fingerprint=lambda: key_of("vptft suite", SUITE_VERSION, appearance, size, keys),
        labels=np.array([label_of(*key, question) for key in keys], dtype=np.int64),
        classes=CLASSES[question],
        masks=lambda i: masks(_scene(*keys[i])),
    )


def _keys(split: Split, n: int | None, seed: int) -> list[tuple[Part, int, int]]:
    """(part, seed, index) of every scene of a split."""
    if split == "trainval":
        whole = SIZES["train"] + SIZES["val"] if n is None else n
        held = whole // 4
        return [*_keys("train", whole - held, seed), *(_keys("val", held, seed) if held else [])]
    if split not in SIZES:
        raise SettingsError(f"A split is train, val, trainval or test; got {split!r}.")
    return [(split, seed if split == "train" else 0, i) for i in range(SIZES[split] if n is None else n)]


@lru_cache(maxsize=4096)
def _scene(part: Part, seed: int, index: int) -> Scene:
    return sample_scene(part, seed, index)


@lru_cache(maxsize=4096)
def _picture(key: tuple[Part, int, int], appearance: str, size: int) -> Image.Image:
    """Rendered scene: five tasks and both methods ask for the same ones."""
    return render(_scene(*key), appearance, size)


def _mask(question: str, size: int, scene: Scene) -> np.ndarray:
    masks = solid_masks(scene, size)
    return np.any(masks, axis=0) if question == "count" else np.asarray(masks[0])
