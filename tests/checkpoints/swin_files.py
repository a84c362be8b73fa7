"""Files of Swins as their authors and KMnP/vpt write them, built after their description from a timm Swin's weights."""

import torch

from oracles.swin import WINDOW


def authors(swin, *, head=None):
    """Official names: merging ends a stage, and what is computed from the sizes is stored."""
    state = {}
    for name, value in swin.state_dict().items():
        parts = name.split(".")
        if "downsample" in parts:
            parts[1] = str(int(parts[1]) - 1)
        state[".".join(parts)] = value.float()
    for stage, layer in enumerate(swin.layers):
        for i, block in enumerate(layer.blocks):
            prefix = f"layers.{stage}.blocks.{i}."
            state[f"{prefix}attn.relative_position_index"] = torch.zeros(WINDOW**2, WINDOW**2, dtype=torch.int64)
            if block.attn_mask is not None:
                state[f"{prefix}attn_mask"] = block.attn_mask.float()
    if head is not None:
        state |= {"head.weight": head[0].float(), "head.bias": head[1].float()}
    return state


def kmnp_swin(swin, head, *, first=None, deep=None):
    """Names of KMnP/vpt: the network ``enc``, prompts of the first block and of all others by stage."""
    state = {f"enc.{name}": value for name, value in authors(swin).items()}
    state |= {"head.last_layer.weight": head[0].float(), "head.last_layer.bias": head[1].float()}
    if first is not None:
        state["enc.prompt_embeddings"] = first
    for stage, own in enumerate(deep or ()):
        state[f"enc.deep_prompt_embeddings_{stage}"] = own
    return state
