"""Identity of weights: equal exactly when names, shapes, types and bytes are."""

import hashlib
from collections.abc import Mapping

import torch


def state_hash(state: Mapping[str, torch.Tensor]) -> str:
    """SHA-256 of tensors by sorted name, with shape and dtype: equal exactly when the weights are."""
    digest = hashlib.sha256()
    for name in sorted(state):
        add_tensor(digest, name, state[name])
    return digest.hexdigest()


def add_tensor(digest: "hashlib._Hash", name: str, tensor: torch.Tensor) -> None:
    """Take one tensor into a digest; by sorted name, one after the other, they make :func:`state_hash`."""
    tensor = tensor.detach().cpu().contiguous()
    digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
    digest.update(tensor.reshape(-1).view(torch.uint8).numpy())  # type: ignore[arg-type]  # an array is a buffer
