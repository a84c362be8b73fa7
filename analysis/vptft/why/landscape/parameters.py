"""Parameter spaces by name, and the promise that a model which was moved comes back as it was.

A landscape is one of a network *and* of the parameters that may move: prompts, backbone and all of them are three
different landscapes of the same function, and a number of one says nothing about another.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import nn

from vptft.errors import NotApplicable, UnknownNameError

Parameters = Mapping[str, nn.Parameter]
"""Parameters by their name in the model."""
Vector = dict[str, torch.Tensor]
"""A point or a direction: one tensor a parameter, of its shape."""

ALL, BACKBONE, PROMPTS, HEAD, TUNED = "all", "backbone", "prompts", "head", "prompts and head"
_BLOCK = re.compile(r"backbone\.blocks\.(\d+)\.")


def spaces(model: nn.Module) -> dict[str, dict[str, nn.Parameter]]:
    """Give every parameter space that this model has, by name; each maps names to the model's own parameters.

    Returns
    -------
    dict
        ``all``, ``backbone``, ``head``, with prompts ``prompts`` and ``prompts and head`` (what prompt tuning moves),
        and for a plain vision transformer ``block 0``, ``block 1`` and so on. Prompts belong to no block. Spaces
        without a parameter are left out. A parameter that two modules share is named once.

    Notes
    -----
    Whether a parameter required a gradient in training plays no part: a space is where one looks, not what was tuned.
    """
    named = dict(model.named_parameters())
    found: dict[str, dict[str, nn.Parameter]] = {
        ALL: named,
        BACKBONE: _starting(named, "backbone."),
        HEAD: _starting(named, "head."),
        PROMPTS: _starting(named, "prompts."),
    }
    if found[PROMPTS]:
        found[TUNED] = found[PROMPTS] | found[HEAD]
    blocks: dict[int, dict[str, nn.Parameter]] = {}
    for name, parameter in named.items():
        if (match := _BLOCK.match(name)) is not None:
            blocks.setdefault(int(match[1]), {})[name] = parameter
    found |= {f"block {number}": blocks[number] for number in sorted(blocks)}
    return {name: parameters for name, parameters in found.items() if parameters}


def space(model: nn.Module, name: str) -> dict[str, nn.Parameter]:
    """Give the parameters of one space.

    Raises
    ------
    NotApplicable
        The model has no prompts and they are asked for.
    UnknownNameError
        Any other name that is not among :func:`spaces`.
    """
    known = spaces(model)
    if name not in known and name in (PROMPTS, TUNED):
        raise NotApplicable("This model has no prompts, so there is no landscape of them.")
    if name not in known:
        raise UnknownNameError("parameter space", name, known)
    return known[name]


@contextmanager
def moved(model: nn.Module, parameters: Parameters) -> Iterator[Vector]:
    """Let the block move ``parameters`` and do as it likes with gradients and flags; then put everything back.

    Gives copies of the weights as they were. Inside, no parameter has a gradient. Afterwards (also after an error or
    an interrupt) the weights of ``parameters``, and every buffer, ``.grad``, ``requires_grad`` and training flag of
    the model are what they were, bit for bit; a ``.grad`` is the same tensor object.
    """
    start = {name: parameter.detach().clone() for name, parameter in parameters.items()}
    buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
    everything = dict.fromkeys([*model.parameters(), *parameters.values()])
    flags = [(parameter, parameter.grad, parameter.requires_grad) for parameter in everything]
    modes = [(module, module.training) for module in model.modules()]
    try:
        for parameter in everything:
            parameter.grad = None
        yield start
    finally:
        with torch.no_grad():
            for name, parameter in parameters.items():
                parameter.copy_(start[name])
            for buffer, value in buffers:
                buffer.copy_(value)
        for parameter, gradient, required in flags:
            parameter.grad = gradient
            parameter.requires_grad_(required)
        for module, training in modes:
            module.training = training  # `train` would set the children's too


@torch.no_grad()
def put(
    parameters: Parameters, start: Mapping[str, torch.Tensor], *steps: tuple[float, Mapping[str, torch.Tensor]]
) -> None:
    """Set the weights to ``start`` plus each direction times its coordinate."""
    for name, parameter in parameters.items():
        parameter.copy_(start[name])
        for coordinate, direction in steps:
            if coordinate:
                parameter.add_(direction[name], alpha=coordinate)


def _starting(named: Mapping[str, nn.Parameter], prefix: str) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in named.items() if name.startswith(prefix)}
