"""A feature extractor: a histogram of each colour channel, blind to every shape."""

from functools import partial

import torch

from vptft.data.transforms import to_square
from vptft.features.spaces import Extractor, FeatureSpace

BINS = 8
SIDE = 64


def load_colours(*, device: str = "cpu") -> Extractor:
    """Build the extractor: 3 x 8 shares of pixels, which sum to 1 in each channel."""

    def embed(batch: torch.Tensor) -> torch.Tensor:
        bins = (batch.to(device).long() * BINS // 256).flatten(2)
        return torch.nn.functional.one_hot(bins, BINS).float().mean(dim=2).flatten(1)

    return Extractor(
        name="colours",
        distance_name="FD (colours)",
        space=FeatureSpace(
            extractor=f"colours:{BINS}", weights="", resize=f"{SIDE} px centre crop, bicubic antialiased",
            dtype="float32",
        ),
        prepare=partial(to_square, size=SIDE),
        embed=embed,
    )  # fmt: skip
