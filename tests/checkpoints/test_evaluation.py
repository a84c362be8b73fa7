"""Accuracy of a stranger's checkpoint: its logits, its interval, and what cannot be measured."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from checkpoints.foreign_files import CLASSES, HEADS, SIZE, Network, timm
from vptft.checkpoints.building import build_model
from vptft.checkpoints.evaluation import BATCH, accuracy_row, candidates, evaluate
from vptft.checkpoints.found import NORMALISATIONS, Asked, Normalisation
from vptft.checkpoints.native import Predictions
from vptft.checkpoints.readers import read_checkpoint
from vptft.errors import CheckpointError

NETWORK = Network()


@pytest.fixture
def model(tmp_path):
    torch.save(timm(NETWORK), tmp_path / "timm.pth")
    return build_model(read_checkpoint(tmp_path / "timm.pth", Asked(heads=HEADS)).found)


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_logits_are_the_networks_on_normalised_pixels(name, model, make_images):
    images = make_images("toy", 5, 1)
    found = evaluate(model, images, image_size=SIZE, normalisation=NORMALISATIONS[name])
    mean, std = (np.array(value).reshape(3, 1, 1) for value in NORMALISATIONS[name])
    x = (images.pixels(SIZE).numpy() / 255 - mean) / std
    expected = NETWORK.plain(torch.from_numpy(x).double())
    torch.testing.assert_close(torch.from_numpy(found.logits).double(), expected, rtol=0, atol=1e-4)
    assert found.labels.tolist() == images.labels.tolist()
    assert tuple(found.ids) == images.ids
    assert tuple(found.groups) == images.groups


def test_batches_go_round_all_images_and_tell_how_far(model, make_images):
    n, told = BATCH + 3, []
    images = make_images("toy", n, 2)
    model.train()
    found = evaluate(
        model, images, image_size=SIZE, normalisation=NORMALISATIONS["none"], on_batch=lambda *done: told.append(done)
    )
    assert told == [(BATCH, n), (n, n)]
    assert found.logits.shape == (n, CLASSES)
    assert not model.training


def test_images_without_labels_or_of_another_task_are_refused(model, make_images):
    images = make_images("toy", 4, 1)
    rest = {"image_size": SIZE, "normalisation": NORMALISATIONS["half"]}
    with pytest.raises(CheckpointError, match="toy has no labels: accuracy needs them"):
        evaluate(model, replace(images, labels=None), **rest)
    classes = tuple("abcdef")
    other = replace(images, labels=np.array([0, 1, 5, 2]), classes=classes)
    with pytest.raises(CheckpointError, match=f"toy has 6 classes, the head {CLASSES}: another task's"):
        evaluate(model, other, **rest)
    fits = evaluate(model, replace(other, labels=np.array([0, 1, 4, 2])), **rest)
    assert fits.labels.max() == CLASSES - 1


def predictions(correct, n, groups=None):
    labels = np.zeros(n, dtype=np.int64)
    logits = np.zeros((n, 3), dtype=np.float32)
    logits[:correct, 0], logits[correct:, 1] = 1, 1
    names = np.array([f"i{i}" for i in range(n)])
    return Predictions(ids=names, groups=names if groups is None else np.array(groups), labels=labels, logits=logits)


@pytest.mark.parametrize(("correct", "n"), [(0, 7), (7, 7), (3, 8), (1, 1), (480, 1000)])
def test_the_interval_is_wilsons(correct, n):
    row = accuracy_row("half", predictions(correct, n))
    z, p = 1.959963984540054, correct / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    assert (row["normalisation"], row["accuracy"], row["n"]) == ("half", p, n)
    assert (row["low"], row["high"]) == pytest.approx((middle - half, middle + half), abs=1e-9)


def test_groups_are_counted():
    assert accuracy_row("x", predictions(2, 4, groups=["a", "a", "b", "b"]))["groups"] == 2


def test_every_normalisation_is_a_candidate_until_one_is_known():
    assert candidates(None) == {
        "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)), "half": ((0.5,) * 3, (0.5,) * 3),
        "none": ((0.0,) * 3, (1.0,) * 3),
    }  # fmt: skip
    known = Normalisation((0.1,) * 3, (2.0,) * 3)
    assert candidates(known) == {"as recorded": known}
