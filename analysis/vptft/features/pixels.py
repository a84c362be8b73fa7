"""Raw pixels as features: the floor, how far apart two sets are to no network at all."""

from functools import partial

import torch

from vptft.data.transforms import to_square
from vptft.features.spaces import Extractor, FeatureSpace

COMPONENTS = 64
"""Principal components a distance is taken in: neighbouring pixels say nearly the same, so 64 directions hold 92% of
the variance of 400 photographs of 32 px (measured), while all 3072 would need more images than a downstream set has."""


def components_at(size: int) -> int:
    """Principal components a distance is taken in at ``size`` pixels a side: never more than there are values."""
    return min(COMPONENTS, 3 * size * size)


def load_pixels(size: int, device: str = "cpu") -> Extractor:
    """Build the extractor whose features are the RGB values in [0, 1] of the image at ``size`` pixels a side.

    A distance here sees colour, brightness and coarse layout only. Sets that are far apart in it differ in what needs
    no network; sets that are close in it may still show entirely different things.
    """

    def embed(batch: torch.Tensor) -> torch.Tensor:
        return batch.to(device).to(torch.float32).flatten(1) / 255

    return Extractor(
        name=f"pixels:{size}",
        distance_name=f"FD (pixels, {size} px)",
        space=FeatureSpace(
            extractor=f"pixels:{size}",
            weights="",
            resize=f"{size} px centre crop, bicubic antialiased",
            dtype="float32",
        ),
        prepare=partial(to_square, size=size),
        embed=embed,
        components=components_at(size),
    )
