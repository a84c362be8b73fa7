"""One way to load a checkpoint, whoever made it."""

import pytest
import torch

from checkpoints.foreign_files import HEADS, SIZE, Network, images, kmnp
from vptft.checkpoints.found import NORMALISATIONS, Asked
from vptft.checkpoints.loading import load
from vptft.errors import CheckpointError


def test_a_foreign_checkpoint_comes_with_its_logs_history(peers):
    loaded = load(peers / "kmnp/deep", Asked(heads=4))
    assert (loaded.method, loaded.image_size, loaded.normalisation) == ("vpt_deep", 32, NORMALISATIONS["imagenet"])
    assert loaded.history.groupby("split").size().to_dict() == {"test": 4, "train": 4, "val_in_train": 4}


def test_a_foreign_checkpoint_without_a_log_has_no_history(tmp_path):
    network = Network()
    torch.save({"model": kmnp(network)}, tmp_path / "last_model.pth")
    loaded = load(tmp_path / "last_model.pth", Asked(heads=HEADS))
    assert (loaded.method, loaded.image_size, len(loaded.history)) == (None, SIZE, 0)
    assert any(note.startswith("No history: ") for note in loaded.notes)
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(images()).double(), network.plain(images()), rtol=0, atol=3e-5)


def test_our_own_run_is_loaded_alike(finished):
    run = finished["vpt_deep"]
    loaded = load(run.folder)
    assert (loaded.method, loaded.image_size) == ("vpt_deep", 32)
    x = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded.model(x), run.model()(x))
    assert set(loaded.history["split"]) == {"train", "val", "test"}


def test_nothing_is_an_error(tmp_path):
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        load(tmp_path / "nothing")
