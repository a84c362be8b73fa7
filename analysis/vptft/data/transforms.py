"""From a PIL image to the tensor a network takes. One resize, everywhere: bicubic, antialiased, in float."""

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F


def to_tensor(image: Image.Image) -> torch.Tensor:
    """RGB image as ``(3, h, w)`` uint8."""
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1)


def resize(image: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Antialiased bicubic resize in float32, ``(3, h, w)`` -> ``(3, height, width)``, values kept in [0, 255].

    Equals clean-fid's PIL-float bicubic to 0.005 grey levels (Parmar et al. 2022, *On Aliased Resizing*).
    """
    pixels = image.unsqueeze(0).to(torch.float32)
    if image.shape[-2:] != (height, width):
        pixels = F.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True, align_corners=False)
    return pixels.clamp_(0, 255).squeeze(0)


LONGEST = 8
"""Times the shorter side that are kept of a longer one before it is resized to be cropped."""


def to_square(image: Image.Image, size: int) -> torch.Tensor:
    """Shorter side to ``size``, centre crop: ``(3, size, size)`` uint8, rounded."""
    pixels = to_tensor(_without_far_ends(image))
    height, width = pixels.shape[-2:]
    scale = size / min(height, width)
    pixels = resize(pixels, max(size, round(height * scale)), max(size, round(width * scale)))
    top, left = (pixels.shape[-2] - size) // 2, (pixels.shape[-1] - size) // 2
    return pixels[:, top : top + size, left : left + size].round_().to(torch.uint8)


def normalise(pixels: torch.Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> torch.Tensor:
    """``(n, 3, h, w)`` uint8 -> float32, ``(x / 255 - mean) / std`` a channel."""
    centre = torch.tensor(mean, device=pixels.device).view(1, -1, 1, 1)
    scale = torch.tensor(std, device=pixels.device).view(1, -1, 1, 1)
    return (pixels.to(torch.float32) / 255 - centre) / scale


def _without_far_ends(image: Image.Image) -> Image.Image:
    """Cut a strip to its middle, so that resizing it takes no more memory than the crop is worth.

    Of a strip of s x L pixels the crop shows the middle s. The cut leaves at least 3.5 s on each side of it; the
    bicubic filter looks no further than 2 max(1, s / size) pixels. Its middle stays the image's middle.
    """
    short, long = sorted(image.size)
    if long <= LONGEST * short:
        return image
    start = (long - LONGEST * short) // 2
    stop = long - start
    return image.crop((start, 0, stop, short) if image.width == long else (0, start, short, stop))
