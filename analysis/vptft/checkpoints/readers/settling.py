"""What readers settle alike: heads, the head's form, prompts, and refusals that name the tensors."""

from collections.abc import Iterable, Mapping

import torch

from vptft.checkpoints.found import Asked, Found
from vptft.errors import CheckpointError
from vptft.models.shape import VitShape

MAX_PROMPTS = 10_000
"""Prompts a layer; a projection makes the model's prompts of far smaller ones, so their number must have an end."""


def settle_heads(
    shape: VitShape,
    asked: Asked,
    base: Found | None,
    told: Mapping[str, int | None],
    sources: dict[str, str],
    notes: list[str],
) -> VitShape:
    """Set the number of attention heads from what is told, in the order given; it stays open where nothing does.

    Parameters
    ----------
    shape
        The backbone's sizes.
    asked
        What the user said: it may not contradict a file.
    base
        The pretrained weights, whose own number counts like any other.
    told
        What each place says: ``{"config.json": 12, ...}``.
    sources, notes
        Filled in.

    Raises
    ------
    CheckpointError
        Two places say different things.
    """
    of_base = base.shape.heads if base is not None and isinstance(base.shape, VitShape) else None
    places = (("--heads", asked.heads), *told.items(), ("the pretrained weights", of_base))
    said = {place: heads for place, heads in places if heads is not None}
    if len(set(said.values())) > 1:
        listing = ", ".join(f"{place}: {heads}" for place, heads in said.items())
        raise CheckpointError(f"The number of attention heads is contradictory: {listing}.", "Correct --heads.")
    if said:
        sources["heads"] = next(iter(said))
        return shape.with_heads(next(iter(said.values())))
    if shape.standard is not None:
        sources["heads"] = f"the standard ViT-{shape.standard[0]} of these sizes"
        return shape.with_heads(shape.standard[1])
    notes.append(
        f"The number of attention heads is not known: no tensor tells it, and width {shape.width} with {shape.depth} "
        "layers is no standard ViT. Pass --heads, or the pretrained .npz with --backbone."
    )
    return shape


def take_head(rest: dict[str, torch.Tensor], name: str, *, path: object) -> dict[str, torch.Tensor]:
    """Take a linear head ``NAME.weight``, ``NAME.bias`` out of what is left; nothing where there is none."""
    weight = rest.pop(f"{name}.weight", None)
    bias = rest.pop(f"{name}.bias", None)
    if weight is None and bias is None:
        return {}
    if (
        weight is None
        or weight.ndim != 2
        or 0 in weight.shape
        or (bias is not None and tuple(bias.shape) != tuple(weight.shape[:1]))
    ):
        raise CheckpointError(f"{path}: {name} is no linear head (weight and bias do not go together).")
    return {"weight": weight, "bias": torch.zeros(weight.shape[0], dtype=weight.dtype) if bias is None else bias}


def refuse_rest(rest: Iterable[str], *, path: object, producer: str, hint: str = "") -> None:
    """Refuse tensors no reader has a place for, by name.

    Raises
    ------
    CheckpointError
        There are some.
    """
    names = sorted(rest)
    if names:
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        raise CheckpointError(
            f"{path} looks like {producer}, but {len(names)} tensors have no place in it: {shown}.",
            hint or "Nothing is dropped silently: a model without them would not be the one that was trained.",
        )


def check_prompts(tokens: torch.Tensor, name: str, *, width: int, path: object) -> torch.Tensor:
    """Return prompts ``(n, P, d)``; another shape is refused."""
    if tokens.ndim != 3 or tokens.shape[-1] != width or 0 in tokens.shape or tokens.shape[1] > MAX_PROMPTS:
        raise CheckpointError(f"{path}: {name} has shape {tuple(tokens.shape)}; expected (layers, prompts, {width}).")
    return tokens
