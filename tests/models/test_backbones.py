import io
import pickle

import numpy as np
import pytest
import timm
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file

from vptft.errors import UnknownNameError, WeightsError
from vptft.models import backbones
from vptft.models.backbones import load_backbone
from vptft.models.fingerprint import state_hash

NAME = "vit_tiny_patch16_224"


@pytest.fixture
def state():
    torch.manual_seed(0)
    return timm.create_model(NAME, num_classes=7).state_dict()


def test_local_safetensors_and_wrapped_pth_load_the_same_weights(state, tmp_path):
    save_file(state, tmp_path / "w.safetensors")
    torch.save({"model": {f"module.{name}": value for name, value in state.items()}}, tmp_path / "w.pth")
    one, two = (load_backbone(f"{NAME}@{tmp_path / f'w.{end}'}", 64) for end in ("safetensors", "pth"))
    assert one.sha256 == two.sha256
    torch.testing.assert_close(one.module.blocks[3].mlp.fc1.weight, state["blocks.3.mlp.fc1.weight"], rtol=0, atol=0)
    assert one.module.pos_embed.shape == (1, 17, 192)
    assert one.mean == (0.5, 0.5, 0.5)


def test_missing_left_over_and_misshapen_keys_are_named(state, tmp_path):
    del state["norm.bias"]
    state["blocks.99.x"] = torch.zeros(1)
    state["cls_token"] = torch.zeros(1, 1, 5)
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"1 missing \(norm.bias\); 1 left over \(blocks.99.x\); .*cls_token"):
        load_backbone(f"{NAME}@{tmp_path / 'w.safetensors'}", 64)


@pytest.mark.parametrize("name", ["convnext_atto", "efficientnet_b0", "resnet18", "deit_tiny_distilled_patch16_224"])
@pytest.mark.parametrize("classes", [0, 7])
def test_files_of_any_architecture_load_with_a_classifier_or_without(name, classes, tmp_path):
    saved = timm.create_model(name, num_classes=classes).state_dict()
    save_file(saved, tmp_path / "w.safetensors")
    module = load_backbone(f"{name}@{tmp_path / 'w.safetensors'}", 224).module
    kept = module.state_dict()
    assert len(saved) - len(kept) == (0 if not classes else 4 if "distilled" in name else 2)
    torch.testing.assert_close(kept, {key: saved[key] for key in kept}, rtol=0, atol=0)


def test_weights_that_are_not_numbers_are_refused(state, tmp_path):
    state["norm.bias"][0] = float("nan")
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"NaN or infinite values in norm\.bias"):
        load_backbone(f"{NAME}@{tmp_path / 'w.safetensors'}", 64)


class Hostile:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return open, (self.target, "w")


@pytest.mark.parametrize("content", ["pickle", "truncated", "noise"])
def test_hostile_and_damaged_files_are_refused_and_nothing_runs(content, state, tmp_path):
    path = tmp_path / "w.pth"
    buffer = io.BytesIO()
    torch.save(state, buffer)
    path.write_bytes(
        {
            "pickle": pickle.dumps({"model": Hostile(str(tmp_path / "ran"))}, protocol=2),
            "truncated": buffer.getvalue()[:5000],
            "noise": np.random.default_rng(0).bytes(5000),
        }[content]
    )
    said = {
        "pickle": "pickled object of _?io.open: to load it would run",
        "truncated": "is damaged",
        "noise": "no weights",
    }
    with pytest.raises(WeightsError, match=said[content]):
        load_backbone(f"{NAME}@{path}", 64)
    assert not (tmp_path / "ran").exists()


def test_a_missing_file_is_said(tmp_path):
    with pytest.raises(WeightsError, match="does not exist"):
        load_backbone(f"{NAME}@{tmp_path / 'nothing.npz'}", 64)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("dinov2-x", "Did you mean dinov2-s"),
        ("vit_base_patch16_224", "written timm/vit_base_patch16_224"),
        ("timm/vit_bose_patch16_224", "no timm architecture named 'vit_bose_patch16_224'"),
    ],
)
def test_unknown_names_list_the_nearest(name, message):
    with pytest.raises(UnknownNameError, match=message):
        load_backbone(name, 64)


def test_a_hub_that_cannot_be_reached_names_the_alternatives(monkeypatch):
    def refuse(*_, **__):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(backbones.timm, "create_model", refuse)
    with pytest.raises(WeightsError, match=r"(?s)could not be had from the hub.*dinov2-s.*vit_base_patch16_224@PATH"):
        load_backbone("timm/vit_base_patch16_224.orig_in21k", 224)


def test_a_size_that_cuts_patches_is_refused():
    with pytest.raises(WeightsError, match=r"(?s)patches of 8 px.*multiple of 8, such as 40"):
        load_backbone("tiny", 36)


def test_tiny_is_the_same_everywhere_and_leaves_the_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    one = load_backbone("tiny", 32)
    assert torch.rand(1) == expected
    assert one.sha256 == load_backbone("tiny", 64).sha256


def test_the_hash_sees_names_shapes_and_values():
    base = {"a": torch.zeros(2, 2), "b": torch.ones(3)}
    same = dict(reversed(base.items()))
    assert state_hash(base) == state_hash(same)
    variants = [{"a": torch.zeros(4), "b": torch.ones(3)}, {"a": torch.zeros(2, 2), "c": torch.ones(3)}]
    variants.append({"a": torch.zeros(2, 2), "b": torch.tensor([1.0, 1.0, 1.0000001])})
    assert len({state_hash(value) for value in [base, *variants]}) == 4


@pytest.mark.parametrize(
    ("name", "objective"),
    [
        ("timm/vit_base_patch16_224.orig_in21k", "supervised"),
        ("timm/vit_base_patch16_224.mae", "masked"),
        ("timm/vit_base_patch14_dinov2.lvd142m", "self-distilled"),
        ("timm/vit_base_patch32_clip_224.openai", "contrastive"),
        ("vit_base_patch16_224@x.npz", "unknown"),
    ],
)
def test_pretraining_objectives_are_read_from_tags(name, objective):
    assert backbones.pretraining_of(name) == objective
