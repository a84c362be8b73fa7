"""Low-rank updates of attention's projections (Hu et al. 2022, *LoRA*): trained by peft, kept and merged here.

``W + (alpha / r) B A`` with B = 0 at first. A finished run needs no peft: its factors are merged into the weights, so
every block is plain again and every analysis sees an ordinary network.
"""

from collections.abc import Mapping

import torch
from timm.models.vision_transformer import VisionTransformer

from vptft.errors import MissingExtraError, WeightsError

TARGET = r"blocks\.\d+\.attn\.qkv"
"""The fused projection of queries, keys and values of every block."""

_A, _B = ".lora_A.default.weight", ".lora_B.default.weight"


def inject(vit: VisionTransformer, *, rank: int, alpha: int, seed: int) -> None:
    """Put trainable low-rank updates beside every attention's projection, in place; all else is frozen.

    Raises
    ------
    MissingExtraError
        peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingExtraError("peft", "peft", "Training with LoRA") from error
    with torch.random.fork_rng(devices=[]):  # peft draws A from torch's own generator
        torch.manual_seed(seed)
        inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=alpha, target_modules=TARGET, bias="none"), vit)


def merge(vit: VisionTransformer, state: Mapping[str, torch.Tensor], *, scale: float) -> None:
    """Add the updates whose factors ``blocks.I.attn.qkv.lora_{A,B}.default.weight`` are in ``state`` to the weights.

    Raises
    ------
    WeightsError
        A factor has no partner, or does not fit.
    """
    weights = dict(vit.named_parameters())
    factors = {name for name in state if ".lora_" in name}
    for module in sorted({name.partition(".lora_")[0] for name in factors}):
        a, b = state.get(module + _A), state.get(module + _B)
        weight = weights.get(f"{module}.weight")
        if a is None or b is None or weight is None or (b.shape[0], a.shape[1]) != tuple(weight.shape):
            raise WeightsError(f"The low-rank factors of {module} do not fit the backbone.")
        with torch.no_grad():
            weight += scale * (b @ a)
        factors -= {module + _A, module + _B}
    if factors:
        raise WeightsError(f"Low-rank factors are left over: {sorted(factors)[:4]}.")
