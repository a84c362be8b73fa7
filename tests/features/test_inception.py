"""Inception against pytorch-fid's own network, and its resize against Pillow's float resize, as clean-fid does it."""

from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid import inception as peer
from pytorch_fid.inception import FIDInceptionA, FIDInceptionC, FIDInceptionE_1
from torch.fx.passes.shape_prop import ShapeProp
from torch.nn import functional as F
from torchvision.models.inception import BasicConv2d
from torchvision.transforms.functional import to_tensor

from vptft.errors import WeightsError
from vptft.features import inception
from vptft.features.inception import DEPTHS, INCEPTION_FILE, fold, load_inception, pool_last

FEATURES = tuple(DEPTHS)


def draw_images():
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (350, 310), (299, 299)]
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


@pytest.fixture
def images():
    return draw_images()


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """pytorch-fid with random weights: the file of them, its features at every depth, and its classifier's classes."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        start = bare_network()
        torch.save(start.state_dict(), path)
        patch.setattr(peer, "load_state_dict_from_url", lambda *_, **__: start.state_dict())
        network = peer.InceptionV3(list(range(4)), resize_input=True).eval()
        maps = [network(to_tensor(image).unsqueeze(0)) for image in draw_images()]
        blocks = [torch.cat(each).mean(dim=(2, 3)) for each in zip(*maps, strict=True)]
        classes = start.fc(blocks[-1]).argmax(1)
    return SimpleNamespace(path=path, features={each.shape[1]: each for each in blocks}, classes=classes)


def bare_network():
    """What pytorch-fid loads its weights into; random, but every layer keeps the signal's size and shifts it."""
    built = {}

    def keep(self, state, *_, **__):
        built["network"] = self

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(peer, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(torch.nn.Module, "load_state_dict", keep)
        peer.fid_inception_v3()
    for module in built["network"].modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            shift_norm(module)
    return built["network"]


def shift_norm(norm):
    torch.nn.init.normal_(norm.running_mean, std=0.2)
    torch.nn.init.normal_(norm.bias, std=0.2)
    torch.nn.init.uniform_(norm.running_var, 0.5, 1.5)
    torch.nn.init.uniform_(norm.weight, 0.5, 1.5)


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """A hub folder of this test's own, and no way out."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "hub" / "checkpoints" / INCEPTION_FILE


@pytest.fixture
def shallow(monkeypatch):
    """``shallow(digest)``: stand-ins for file and network, for what depends on neither."""

    def use(digest):
        state = {"fc.weight": torch.ones(2, 2048), "fc.bias": torch.ones(2)}
        monkeypatch.setattr(inception, "_inception_file", lambda: None)
        monkeypatch.setattr(inception, "_read", lambda path: (digest, state))
        monkeypatch.setattr(inception, "_network", lambda *_: torch.nn.Identity())

    return use


def embedded(extractor, images):
    with torch.inference_mode():
        return torch.cat([extractor.embed(extractor.prepare(image).unsqueeze(0)) for image in images])


@pytest.mark.parametrize("features", FEATURES)
def test_features_are_pytorch_fids_own(reference, images, features):
    extractor = load_inception(features, weights=reference.path, legacy_resize=True)
    found, expected = embedded(extractor, images), reference.features[features]
    assert found.shape == (3, features)
    assert found.dtype == torch.float32
    assert expected.std(dim=0).max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_the_classes_are_those_of_the_networks_own_classifier(reference):
    extractor = load_inception(weights=reference.path)
    found = extractor.top_1(reference.features[2048].numpy())
    assert found.dtype == np.int64
    assert found.tolist() == reference.classes.tolist()
    assert load_inception(768, weights=reference.path).top_1 is None


@pytest.mark.parametrize(("features", "expected"), [(64, 3), (192, 5)])
def test_nothing_is_computed_beyond_the_block_that_is_needed(reference, images, monkeypatch, features, expected):
    extractor, calls, forward = load_inception(features, weights=reference.path), [], torch.nn.Conv2d.forward
    monkeypatch.setattr(torch.nn.Conv2d, "forward", lambda self, x: calls.append(self) or forward(self, x))
    embedded(extractor, images[:1])
    assert len(calls) == expected


def test_folding_changes_no_value_and_leaves_no_normalisation():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = torch.nn.Sequential(BasicConv2d(3, 5, kernel_size=3), BasicConv2d(5, 4, kernel_size=1)).eval()
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                shift_norm(module)
        inputs = torch.randn(2, 3, 6, 6)
    with torch.inference_mode():
        expected, found = network(inputs), fold(network)(inputs)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)
    assert not any(isinstance(module, torch.nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize(
    ("block", "channels"),
    [(FIDInceptionA(20, pool_features=6), 20), (FIDInceptionC(200, channels_7x7=8), 200), (FIDInceptionE_1(200), 200)],
    ids=["A", "C", "E"],
)
def test_averages_over_neighbours_are_taken_of_what_the_convolution_leaves(block, channels):
    """To the last digits of float64, borders among them; the convolution has a bias."""
    block = fold(block.eval()).double()
    inputs = torch.randn(2, channels, 9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    convolution = block.branch_pool.conv
    torch.nn.init.normal_(convolution.bias)
    last = pool_last(block)
    with torch.inference_mode():
        torch.testing.assert_close(last(inputs), block(inputs), rtol=1e-10, atol=1e-12)
    ShapeProp(last).propagate(inputs)
    (pooling,) = last.graph.find_nodes(op="call_function", target=F.avg_pool2d)
    assert pooling.args[0].meta["tensor_meta"].shape[1] == convolution.out_channels < channels


def test_the_resize_is_clean_fids(shallow, images):
    """Clean-fid resizes each channel as a float image with Pillow; measured difference at most 0.005 grey levels."""
    shallow("6726825d")
    for image in images:
        channels = [Image.fromarray(np.asarray(image)[..., i].astype(np.float32)) for i in range(3)]
        resized = [np.asarray(each.resize((299, 299), Image.Resampling.BICUBIC)).clip(0, 255) for each in channels]
        found = load_inception().prepare(image)
        assert found.dtype == torch.float32
        np.testing.assert_allclose(found.numpy() * 255, np.stack(resized), atol=0.01)


@pytest.mark.parametrize("legacy_resize", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (20000, 1), (1, 20000)])
def test_any_shape_becomes_a_square(shallow, size, legacy_resize):
    shallow("6726825d")
    found = load_inception(legacy_resize=legacy_resize).prepare(Image.new("RGB", size, (255, 51, 0)))
    torch.testing.assert_close(found, torch.tensor([1.0, 0.2, 0.0]).view(3, 1, 1).expand(3, 299, 299))


@pytest.mark.parametrize(
    ("settings", "official", "other"),
    [
        ({}, "FID", "FD (Inception with weights 12345678, not FID's)"),
        (
            {"legacy_resize": True},
            "FID (pytorch-fid's resize)",
            "FD (Inception with weights 12345678, not FID's, pytorch-fid's resize)",
        ),
        ({"features": 64}, "FID (64 features)", "FD (Inception with weights 12345678, not FID's, 64 features)"),
        (
            {"features": 768, "legacy_resize": True},
            "FID (768 features, pytorch-fid's resize)",
            "FD (Inception with weights 12345678, not FID's, 768 features, pytorch-fid's resize)",
        ),
    ],
)
def test_only_the_official_weights_make_a_distance_an_fid(shallow, settings, official, other):
    shallow("6726825d" + "0" * 56)
    assert load_inception(**settings).distance_name == official
    shallow("1234567890" + "0" * 54)
    assert load_inception(**settings).distance_name == other


def test_spaces_differ_by_depth_and_resize(shallow):
    shallow("6726825d")
    default = load_inception()
    assert default.name == default.space.extractor == "inception:2048"
    assert default.space.difference(load_inception(legacy_resize=True).space) == (
        "resize (299 px, bicubic antialiased and 299 px, bilinear as pytorch-fid)"
    )
    assert default.space.difference(load_inception(64).space) == "extractor (inception:2048 and inception:64)"


def test_weights_in_the_hubs_cache_are_found_there(reference, no_network):
    no_network.parent.mkdir(parents=True)
    no_network.symlink_to(reference.path)
    before = torch.random.get_rng_state()
    assert load_inception(64).space == load_inception(64, weights=reference.path).space
    assert peer.load_state_dict_from_url.__module__ != inception.__name__
    assert torch.equal(torch.random.get_rng_state(), before)


def test_without_weights_and_network_the_alternatives_are_named(no_network):
    match = (
        r"could not be fetched: .*no route to host.*\nFetch that file .*--weights.* put it at .*--extractor dinov2-s"
    )
    with pytest.raises(WeightsError, match=match) as caught:
        load_inception()
    assert peer.FID_WEIGHTS_URL in caught.value.problem
    assert str(no_network) in caught.value.hint
    assert isinstance(caught.value.__cause__, URLError)
    assert not no_network.exists()


class Touch:
    """Unpickled, it would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return type(self.path).touch, (self.path,)


def test_a_hostile_file_is_not_executed(tmp_path):
    torch.save({"weight": Touch(tmp_path / "touched")}, tmp_path / "hostile.pth")
    with pytest.raises(WeightsError, match=r"hostile\.pth could not be read as Inception weights"):
        load_inception(weights=tmp_path / "hostile.pth")
    assert not (tmp_path / "touched").exists()
    assert peer.load_state_dict_from_url.__module__ != inception.__name__


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half a file"], ids=["missing", "empty", "truncated"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, content):
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.pth could not be read as Inception weights"):
        load_inception(weights=path)


@pytest.mark.parametrize("state", [{"weight": torch.zeros(2)}, torch.zeros(2), []], ids=["keys", "tensor", "list"])
def test_weights_of_another_network_are_refused_and_pytorch_fid_is_left_as_it_was(tmp_path, state):
    torch.save(state, tmp_path / "other.pth")
    before = peer.load_state_dict_from_url
    with pytest.raises(WeightsError, match=r"other\.pth does not hold pytorch-fid's Inception weights"):
        load_inception(weights=tmp_path / "other.pth")
    assert peer.load_state_dict_from_url is before


def test_weights_that_are_no_numbers_are_refused(reference, tmp_path):
    state = torch.load(reference.path, weights_only=True)
    state["Conv2d_1a_3x3.bn.running_mean"][0] = float("nan")
    torch.save(state, tmp_path / "broken.pth")
    with pytest.raises(WeightsError, match=r"broken\.pth holds NaN or infinite values"):
        load_inception(64, weights=tmp_path / "broken.pth")
