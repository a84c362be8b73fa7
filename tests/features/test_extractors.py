from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_fid import inception
from torchvision.transforms.functional import to_tensor

from vptft.data.transforms import normalise, to_square
from vptft.errors import UnknownNameError, WeightsError
from vptft.features import extractors
from vptft.features.extractors import EXTRACTORS, INCEPTION_FILE, load_extractor
from vptft.models.backbones import load_backbone


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (299, 299), (350, 310), (64, 64)]
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """pytorch-fid's network with random weights, resizing inside, and the file of those weights."""
    path = tmp_path_factory.mktemp("weights") / "random.pth"
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        start = bare_inception()
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: start.state_dict())
        torch.save(start.state_dict(), path)
        network = inception.InceptionV3([3], resize_input=True).eval()
    return network, path


def bare_inception():
    """What pytorch-fid loads its weights into, with random weights that keep the signal's size through all layers."""
    built = {}

    def keep(self, state, *_, **__):
        built["network"] = self

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inception, "load_state_dict_from_url", lambda *_, **__: None)
        patch.setattr(torch.nn.Module, "load_state_dict", keep)
        inception.fid_inception_v3()
    for module in built["network"].modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    return built["network"]


@pytest.fixture
def no_network(tmp_path, monkeypatch):
    """A hub folder of this test's own, and no way out."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))

    def refuse(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", refuse)
    return tmp_path / "hub" / "checkpoints" / INCEPTION_FILE


def embedded(extractor, images):
    with torch.inference_mode():
        return torch.cat([extractor.embed(extractor.prepare(image).unsqueeze(0)) for image in images])


def test_inception_features_are_pytorch_fids_own(reference, images):
    network, path = reference
    extractor = load_extractor("inception", weights=path)
    found = embedded(extractor, images)
    with torch.inference_mode():
        expected = torch.cat([network(to_tensor(image).unsqueeze(0))[0].flatten(1) for image in images])
    assert found.shape == (4, 2048)
    assert expected.std(dim=0).max() > 1e-3
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.abs().max()))


def test_only_the_official_weights_make_a_distance_an_fid(reference, monkeypatch):
    _, path = reference
    extractor = load_extractor("inception", weights=path)
    digest = extractor.identity.split()[1]
    assert extractor.distance_name == f"FD (Inception with weights {digest[:8]}, not FID's)"
    monkeypatch.setattr(extractors, "INCEPTION_HASH_PREFIX", digest[:8])
    assert load_extractor("inception", weights=path).distance_name == "FID"


def test_weights_in_the_hubs_cache_are_found_there(reference, no_network):
    _, path = reference
    no_network.parent.mkdir(parents=True)
    no_network.symlink_to(path)
    assert load_extractor("inception").identity == load_extractor("inception", weights=path).identity
    assert inception.load_state_dict_from_url.__module__ != extractors.__name__


def test_without_weights_and_network_the_alternatives_are_named(no_network):
    match = (
        r"could not be fetched: .*no route to host.*\nFetch that file .*--weights.* put it at .*--extractor dinov2-s"
    )
    with pytest.raises(WeightsError, match=match) as caught:
        load_extractor("inception")
    assert inception.FID_WEIGHTS_URL in caught.value.problem
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
        load_extractor("inception", weights=tmp_path / "hostile.pth")
    assert not (tmp_path / "touched").exists()
    assert inception.load_state_dict_from_url.__module__ != extractors.__name__


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 half a file"])
def test_a_file_that_is_missing_or_damaged_is_named(tmp_path, content):
    path = tmp_path / "weights.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"weights\.pth could not be read as Inception weights"):
        load_extractor("inception", weights=path)


@pytest.mark.parametrize("state", [{"weight": torch.zeros(2)}, torch.zeros(2), []], ids=["keys", "tensor", "list"])
def test_weights_of_another_network_are_refused_and_pytorch_fid_is_left_as_it_was(tmp_path, state):
    torch.save(state, tmp_path / "other.pth")
    before = inception.load_state_dict_from_url
    with pytest.raises(WeightsError, match=r"other\.pth does not hold pytorch-fid's Inception weights"):
        load_extractor("inception", weights=tmp_path / "other.pth")
    assert inception.load_state_dict_from_url is before


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("inceptoin", r"no extractor named 'inceptoin'\. Did you mean inception\?\nKnown: dinov2-s, inception, tiny"),
        ("dinov2", r"Did you mean dinov2-s\?[\s\S]*timm/NAME\[:SIZE\] or ARCHITECTURE@FILE"),
        ("", r"no extractor named ''"),
        ("tiny:big", r"no extractor named 'tiny:big'[\s\S]*A size is written dinov2-s:98"),
        ("tiny:0", r"A size is written"),
        ("tiny:-8", r"A size is written"),
        ("tiny:\u00b2", r"A size is written"),
    ],
)
def test_an_unknown_name_lists_the_known_and_the_nearest(name, match):
    with pytest.raises(UnknownNameError, match=match):
        load_extractor(name)


def test_a_size_the_network_cannot_take_is_refused():
    with pytest.raises(WeightsError, match=r"patches of 8 px, so 98 px would lose a border"):
        load_extractor("tiny")


def test_a_backbone_as_extractor_is_the_backbone(images):
    extractor = load_extractor("tiny:40")
    backbone = load_backbone("tiny", 40)
    with torch.inference_mode():
        batch = torch.stack([to_square(image, 40) for image in images])
        expected = backbone.module(normalise(batch, backbone.mean, backbone.std))
    torch.testing.assert_close(embedded(extractor, images), expected, rtol=1e-4, atol=1e-5)
    assert (extractor.name, extractor.distance_name) == ("tiny:40", "FD (tiny, 40 px)")
    assert backbone.sha256 in extractor.identity


def test_what_is_comparable_shares_an_identity_and_nothing_else_does():
    identities = [load_extractor(name).identity for name in ("tiny:32", "tiny:32", "tiny:40")]
    assert identities[0] == identities[1]
    assert identities[0] != identities[2]


def test_every_extractor_of_the_table_says_what_it_is():
    assert next(iter(EXTRACTORS)) == "inception"
    assert {"dinov2-s", "tiny"} <= set(EXTRACTORS)
    assert all(EXTRACTORS.values())
