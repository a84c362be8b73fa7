"""Files that the producers' own programs wrote, against what those programs computed."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from vptft.checkpoints.building import build_model
from vptft.checkpoints.conversion import convert
from vptft.checkpoints.found import NORMALISATIONS, Asked
from vptft.checkpoints.inspection import inspect
from vptft.checkpoints.native import load_run
from vptft.checkpoints.readers import read_checkpoint

NPZ = "kmnp/imagenet21k_ViT-tiny8.npz"
CASES = {
    "kmnp/deep": (NPZ, "vpt_deep"),
    "kmnp/ft": (NPZ, "ft"),
    "kmnp/linear": (NPZ, "linear"),
    "hf/vit": (None, None),
    "hf/lora": ("hf/vit", "lora"),
}


@pytest.fixture(params=CASES)
def case(request, peers):
    base, method = CASES[request.param]
    folder = peers / request.param
    reading = read_checkpoint(folder, Asked(base=base and peers / base))
    return folder, reading, method, np.load(folder / "oracle.npz")


def difference(ours, theirs):
    return float(np.abs(ours.numpy() - theirs).max())


def test_logits_features_attention_and_hidden_states_are_theirs(case):
    _, reading, method, oracle = case
    assert reading.found.method == method
    assert reading.found.tried
    model = build_model(reading.found)
    x = torch.from_numpy(oracle["x"])
    with torch.no_grad():
        assert difference(model(x), oracle["logits"]) < 1e-5
        if "attn" not in oracle:
            return
        assert difference(model.features(x), oracle["features"]) < 1e-5
        layers = [layer.probabilities for layer in model.attention(x)]
        model.prefix_form = False  # all rows, and the prompts' own outputs
        whole = [layer.probabilities for layer in model.attention(x)]
        hidden = model.tokens(x)
    assert len(whole) == len(oracle["attn"])
    kept = model.layout.kept
    for index, theirs in enumerate(oracle["attn"]):
        assert difference(whole[index], theirs) < 1e-5
        rows = theirs if layers[index].shape == theirs.shape else theirs[:, :, kept]
        assert difference(layers[index], rows) < 1e-5
        assert difference(hidden[index], oracle["hidden_out"][index]) < 1e-5


def test_a_converted_run_gives_the_same_logits_bit_for_bit(case, tmp_path):
    _, reading, method, oracle = case
    if method is None:
        reading = replace(reading, found=replace(reading.found, methods=("ft",)))
    run = convert(reading, tmp_path / "run", normalisation=NORMALISATIONS["imagenet"])
    x = torch.from_numpy(oracle["x"])
    with torch.no_grad():
        assert torch.equal(build_model(reading.found)(x), load_run(run.folder).model()(x))


@pytest.mark.parametrize(
    ("name", "tuned", "total"), [("deep", 549, 32997), ("linear", 165, 32613), ("ft", 32613, 32613)]
)
def test_parameters_are_counted_as_their_log_does(name, tuned, total, peers):
    logged = (peers / "kmnp" / name / "logs.txt").read_text()
    assert f"Total Parameters: {total}\t Gradient Parameters: {tuned}" in logged
    found = inspect(peers / "kmnp" / name, Asked(base=peers / NPZ))
    assert (found.about["parameters"], found.about["tuned"]) == (total, tuned)
    assert f"tuned percent:{found.about['tuned/total %']:.3f}" in logged


def test_the_backbone_is_the_pretrained_one_layer_by_layer(peers):
    frozen = inspect(peers / "kmnp/deep", Asked(base=peers / NPZ))
    assert frozen.about["fingerprint"] == inspect(peers / NPZ).about["fingerprint"]
    assert [row["layer"] for row in frozen.layers] == ["embeddings", "blocks.0", "blocks.1", "blocks.2", "norm"]
    assert all(row["equal to pretrained"] == row["tensors"] and row["relative change"] == 0 for row in frozen.layers)
    moved = inspect(peers / "kmnp/ft", Asked(base=peers / NPZ))
    assert all(row["equal to pretrained"] == 0 and 0 < row["relative change"] < 0.1 for row in moved.layers)


def test_a_converted_run_has_their_history_and_predictions(peers, tmp_path):
    run = convert(read_checkpoint(peers / "kmnp/deep", Asked(heads=4)), tmp_path / "run")
    history = run.history()
    assert history["epoch"].max() == 4
    assert set(history["split"]) == {"train", "val_in_train", "test"}
    accuracies = history[history["split"] == "test"]["accuracy"].tolist()
    assert accuracies == pytest.approx([0.2167, 0.3167, 0.2333, 0.2833])
    assert run.predictions().accuracy == pytest.approx(17 / 60)
    assert run.info.test_accuracy == pytest.approx(17 / 60)
    assert (run.info.seed, run.info.n_train, run.info.settings["epochs"]) == (42, 100, 4)
    assert run.backbone().sha256 == run.info.backbone_sha256
