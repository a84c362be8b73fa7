"""What `protocol overfitting` changes of a training: augmentation, label smoothing, early stopping; and its cells."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.transforms import v2

from vptft.errors import NotApplicable, SettingsError
from vptft.storage import read_json
from vptft.tuning import loop
from vptft.tuning.augmentation import colour_jitter, jittered
from vptft.tuning.loop import kept_epoch
from vptft.tuning.plan import Arm
from vptft.tuning.protocols import PROTOCOLS, REGULARISERS, SUITE
from vptft.tuning.settings import TrainSettings

COMMITTED = Path(__file__).parents[2] / "checkpoints" / "suite"


@pytest.fixture
def pixels():
    return torch.randint(0, 256, (4, 3, 6, 5), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)


def test_colours_change_as_torchvision_changes_them_image_by_image(pixels):
    factors = torch.tensor([[0.7, 1.3, 1.0, 0.8], [1.4, 0.6, 1.0, 1.2], [0.6, 1.4, 1.0, 0.9]]).view(3, 4, 1, 1, 1)
    ours = jittered(pixels, *factors)
    for i, image in enumerate(pixels):
        expected = image.float() / 255
        changes = (v2.functional.adjust_brightness, v2.functional.adjust_contrast, v2.functional.adjust_saturation)
        for change, factor in zip(changes, factors[:, i].flatten().tolist(), strict=True):
            expected = change(expected, factor)
        assert (ours[i].float() - 255 * expected).abs().max() <= 0.51
    assert torch.equal(ours[2], pixels[2])


def test_jitter_is_drawn_by_its_generator(pixels):
    first, again = (colour_jitter(pixels, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.equal(first, colour_jitter(pixels, torch.Generator().manual_seed(4)))
    assert torch.equal(colour_jitter(pixels, torch.Generator(), strength=0.0), pixels)


@pytest.mark.parametrize("changes", [{"label_smoothing": 0.3}, {"augment": "colour"}])
def test_a_regulariser_changes_the_run_and_its_curves_stay_in_nats_of_the_plain_loss(changes, go, settings, tmp_path):
    settings = replace(settings, lr=1e-3)
    plain = go("ft", tmp_path / "plain", settings)
    other = go("ft", tmp_path / "other", replace(settings, **changes))
    assert plain.info.model_sha256 != other.info.model_sha256
    first = [run.history()["loss"].iloc[0] for run in (plain, other)]
    assert first == pytest.approx([np.log(3)] * 2, abs=0.4)


def test_early_stopping_keeps_the_first_best_epoch_on_validation(go, settings, tmp_path):
    settings = replace(settings, epochs=4, lr=5e-3, keep="best_val", snapshots=4)
    run = go("ft", tmp_path / "run", settings)
    history = run.history()
    epoch = kept_epoch(history)
    on_val = history.query("split == 'val'").set_index("epoch")["accuracy"]
    assert on_val[epoch] == on_val.max()
    assert (on_val[on_val.index < epoch] < on_val.max()).all()
    assert len(on_val) == 4
    assert run.info.val_accuracy == on_val.max()
    assert (run.folder / "model.safetensors").read_bytes() == run.snapshots()[epoch].read_bytes()
    assert any(f"after epoch {epoch}" in note for note in run.info.notes)
    on_test = history.query("split == 'test' and epoch == @epoch")["accuracy"].iloc[0]
    assert run.predictions().accuracy == pytest.approx(on_test)


def test_early_stopping_goes_on_after_an_interruption(go, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "RESUME_SECONDS", -1.0)
    settings = replace(settings, epochs=4, lr=5e-3, keep="best_val", augment="colour", label_smoothing=0.1)
    whole = go("ft", tmp_path / "whole", settings)

    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go("ft", tmp_path / "run", settings, on_epoch=stop)
    assert go("ft", tmp_path / "run", settings).info.model_sha256 == whole.info.model_sha256


def test_what_cannot_be_is_refused(go, settings, tmp_path):
    with pytest.raises(SettingsError, match="keep must be last with train_split trainval"):
        TrainSettings(keep="best_val", train_split="trainval")
    with pytest.raises(NotApplicable, match="augment colour changes none"):
        go("linear", tmp_path / "run", replace(settings, augment="colour"))


def test_every_arm_of_the_protocol_is_searched_with_as_many_trials():
    arms = [Arm(method="ft"), Arm(method="vpt_deep")]
    plans, left_out = PROTOCOLS["overfitting"].plans(("photo/count",), arms, "dinov2-s")
    cells = [cell for plan in plans for cell in plan.cells().values()]
    assert not left_out
    assert len({cell.folder for cell in cells}) == len(cells)
    finals = [cell for cell in cells if cell.kind == "final"]
    searches = {cell.search for cell in finals}
    assert [sum(c.search == each and c.kind == "trial" for c in cells) for each in searches] == [4] * len(searches)
    assert len(searches) == 2 + 2 + len(REGULARISERS)
    changed = [each.settings.changed().keys() - {"seed", "n_train", "n_val", "n_test"} for each in finals]
    assert {frozenset(each) for each in changed if len(each) == 1} == {
        frozenset({name}) for name in ("keep", "weight_decay", "backbone_dropout", "augment", "label_smoothing")
    }
    assert {cell.method for cell in finals if cell.settings.changed().keys() & {"augment", "weight_decay"}} == {"ft"}


def test_the_folders_of_committed_runs_are_still_those_of_the_suite():
    planned = {folder for folder, cell in SUITE.cells().items() if cell.kind == "final"}
    assert "photo-count/ft/n300-seed0-30f68af1" in planned
    there = {
        path.parent.relative_to(COMMITTED).as_posix()
        for method in ("ft", "vpt_deep")
        for path in COMMITTED.glob(f"*/{method}/n300-seed?-*/run.json")
    }
    assert there == planned
    plans, _ = PROTOCOLS["overfitting"].plans(("photo/count",), SUITE.arms, SUITE.backbone)
    assert {f for f in planned if f.startswith("photo-count/")} <= {f for plan in plans for f in plan.cells()}
    told = read_json(COMMITTED / "photo-count/ft/n300-seed0-30f68af1/run.json")["settings"]
    assert TrainSettings(**{name: value for name, value in told.items() if name != "key"}).changed().keys() == {
        "lr", "n_train", "n_val", "n_test",
    }  # fmt: skip
