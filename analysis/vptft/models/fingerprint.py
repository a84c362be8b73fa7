"""Identity of weights: equal exactly when names, shapes, types and bytes are."""

import hashlib
from collections.abc import Mapping

import torch


def state_hash(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of tensors by sorted name, with shape and dtype: equal exactly when the weights are."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]  # an array is a buffer
    return digest.hexdigest()
