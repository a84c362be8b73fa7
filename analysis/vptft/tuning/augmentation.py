"""Augmentation of training images that keeps every label: colours change, nothing moves.

Flips and crops change location and orientation, crops and erasing change counts, and scaling changes distance. Where
colour itself is the label, as in soil or stain, even this is wrong, and it is off by default.
"""

import torch

STRENGTH = 0.4
"""Factors are drawn from 1 - 0.4 to 1 + 0.4, as in SimCLR at half its strength (Chen et al. 2020)."""
GREY = (0.2989, 0.587, 0.114)
"""Weights of ITU-R 601-2 luma, which torchvision takes too."""


def colour_jitter(pixels: torch.Tensor, generator: torch.Generator, *, strength: float = STRENGTH) -> torch.Tensor:
    """Change brightness, then contrast, then saturation of each image by a factor of its own.

    Parameters
    ----------
    pixels
        ``(n, 3, h, w)`` uint8.
    generator
        Of the factors, drawn uniformly from ``[1 - strength, 1 + strength]``.

    Returns
    -------
    Tensor
        ``(n, 3, h, w)`` uint8.
    """
    factors = 1 + strength * (2 * torch.rand(3, len(pixels), 1, 1, 1, generator=generator) - 1)
    return jittered(pixels, *factors)


def jittered(
    pixels: torch.Tensor, brightness: torch.Tensor, contrast: torch.Tensor, saturation: torch.Tensor
) -> torch.Tensor:
    """Apply factors ``(n, 1, 1, 1)`` to images ``(n, 3, h, w)`` uint8, in this order, with values kept in [0, 255]."""
    values = (pixels.float() * brightness).clamp_(0, 255)
    mean = _grey(values).mean(dim=(1, 2, 3), keepdim=True)
    values = (contrast * values + (1 - contrast) * mean).clamp_(0, 255)
    values = (saturation * values + (1 - saturation) * _grey(values)).clamp_(0, 255)
    return values.round_().to(torch.uint8)


def _grey(values: torch.Tensor) -> torch.Tensor:
    return (values * torch.tensor(GREY).view(1, 3, 1, 1)).sum(dim=1, keepdim=True)
