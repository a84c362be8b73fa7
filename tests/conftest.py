"""A home of each test's own, and a toy task small enough to train in a tenth of a second."""

import multiprocessing
import os
from dataclasses import replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vptft.data.images import ImageSet, UnreadableImageError
from vptft.data.tasks import Task
from vptft.tuning.loop import train
from vptft.tuning.methods import METHODS
from vptft.tuning.settings import TrainSettings

torch.set_num_threads(1)
# Ray's workers give way to everything: where tests fill the cores, one of theirs took 18 minutes instead of one.
os.environ.setdefault("RAY_worker_niceness", "0")

CLASSES = ("red", "green", "blue")
TOY_SETTINGS = TrainSettings(
    epochs=2, batch_size=8, image_size=32, prompt_length=4, probe_layers=2, adapter_width=6, lora_rank=3,
    n_train=20, n_val=9, n_test=12,
)  # fmt: skip
TRAINABLE = [name for name in METHODS if name != "lora" or find_spec("peft")]
"""Methods that can be trained with what is installed."""


@pytest.fixture(autouse=True)
def own_home(tmp_path_factory, monkeypatch):
    """Cache and configuration of this test alone; outside ``tmp_path``, which some tests scan."""
    folder = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("VPTFT_HOME", str(folder))
    return folder


@pytest.fixture
def svg_alone(monkeypatch):
    """Figures of pages as SVG only, for tests that look at something else: the other formats cost the most."""
    from vptft.report.figures.style import save_figure

    monkeypatch.setattr("vptft.report.pages.page.save_figure", partial(save_figure, formats=("svg",)))


def square(label, rng, size=32):
    """A coloured square of half the side, somewhere on noise."""
    pixels = rng.integers(0, 60, size=(size, size, 3), dtype=np.uint8)
    top, left = rng.integers(0, size // 2, size=2)
    pixels[top : top + size // 2, left : left + size // 2] = 40
    pixels[top : top + size // 2, left : left + size // 2, label] = 220
    return Image.fromarray(pixels)


def toy_images(name, n, seed, bad=()):
    """``n`` squares, two a group, classes going round; images ``bad`` cannot be read."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % len(CLASSES)
    pictures = [square(label, rng) for label in labels]

    def read(i):
        if i in bad:
            raise UnreadableImageError(f"{name}/{i}.png", "broken on purpose")
        return pictures[i]

    return ImageSet(
        name=name,
        ids=tuple(f"{name}/{i}.png" for i in range(n)),
        read=read,
        groups=tuple(f"{name} {i // 2}" for i in range(n)),
        fingerprint=lambda: f"toy {n} {seed} {sorted(bad)}",
        labels=labels,
        classes=CLASSES,
    )


@pytest.fixture
def make_images():
    """``make_images(name, n, seed, bad=())``: a set of coloured squares."""
    return toy_images


def toy(name="toy/colour", **fields):
    def load(split, n=None, seed=0):
        return toy_images(split, n or 24, (seed, 1) if split == "train" else 9)

    return Task(
        **{"name": name, "group": "own", "objective": "classification", "classes": CLASSES, "load": load, **fields}
    )


@pytest.fixture
def make_task():
    """``make_task(name=..., **fields)``: the toy task with some of its fields changed."""
    return toy


@pytest.fixture
def toy_task():
    """Three colours of a square; training draws differ by seed, the other splits do not."""
    return toy()


@pytest.fixture
def settings():
    """Two epochs of 20 images in batches of 8."""
    return TOY_SETTINGS


@pytest.fixture
def go(toy_task):
    """``go(method, folder, settings, **others)``: train the toy task on the backbone ``tiny``.

    What the method starts from is trained beside ``folder``.
    """

    def run(method, folder, settings, *, task=toy_task, **others):
        method = METHODS[method]
        if method.after is not None and "base" not in others:
            before = folder.with_name(f"{method.after} before {folder.name}")
            others["base"] = run(method.after, before, replace(settings, lr=1e-3), task=task)
        return train(task, method, backbone="tiny", settings=settings, folder=folder, **others)

    return run


@pytest.fixture
def start_process(own_home, pytestconfig):
    """``start_process(source, **names)``: run source text in a process of its own, which has imported the package."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["vptft.tuning.loop", "vptft.features.extraction"])
    prepare = "import os, sys\nos.environ['VPTFT_HOME'] = home\nsys.path.insert(0, tests)\nimport conftest\n"

    def start(source, **names):
        names |= {"home": str(own_home), "tests": str(pytestconfig.rootpath / "tests")}
        process = context.Process(target=exec, args=(prepare + source, names))
        process.start()
        return process

    return start


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """One finished run of every method, on the toy task, to be read and never changed."""
    folder = tmp_path_factory.mktemp("finished")
    settings = replace(TOY_SETTINGS, lr=1e-3)
    runs = {}
    for name in TRAINABLE:
        method = METHODS[name]
        base = runs.get(method.after)
        runs[name] = train(toy(), method, backbone="tiny", settings=settings, folder=folder / name, base=base)
    return runs


@pytest.fixture(scope="session")
def image_folder(tmp_path_factory):
    """A folder of coloured squares, ten a class, one sub-folder a class."""
    root = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(5)
    for label, name in enumerate(CLASSES):
        (root / name).mkdir()
        for i in range(10):
            square(label, rng).save(root / name / f"{i}.png")
    return Path(root)
