"""Feature spaces and the functions into them: what makes features, and statistics of features, comparable."""

from collections.abc import Callable
from dataclasses import dataclass, fields

import numpy as np
import torch
from PIL import Image


@dataclass(frozen=True, kw_only=True)
class FeatureSpace:
    """What makes features comparable: equal exactly when they are.

    Attributes
    ----------
    extractor
        Name, completed: ``"inception:2048"``, ``"dinov2-s:98"``. Never a path: the hash says which file it was.
    weights
        SHA-256 of the network's weights; ``""`` where there are none (pixels).
    resize
        How an image becomes the network's input: ``"299 px, bicubic antialiased"``,
        ``"98 px centre crop, bicubic antialiased"``.
    dtype
        In which the features were computed: ``"float32"``.
    """

    extractor: str
    weights: str
    resize: str
    dtype: str

    def difference(self, other: "FeatureSpace") -> str:
        """Name what differs, with both values; empty when the spaces are equal.

        Examples
        --------
        >>> ours = FeatureSpace(extractor="tiny:32", weights="ab12cd34ef", resize="32 px", dtype="float32")
        >>> ours.difference(FeatureSpace(extractor="tiny:32", weights="cd3456ab78", resize="40 px", dtype="float32"))
        'weights (ab12cd34.. and cd3456ab..) and resize (32 px and 40 px)'
        """
        pairs = {each.name: (getattr(self, each.name), getattr(other, each.name)) for each in fields(self)}
        return " and ".join(
            f"{name} ({_shown(name, mine)} and {_shown(name, theirs)})"
            for name, (mine, theirs) in pairs.items()
            if mine != theirs
        )


@dataclass(frozen=True, kw_only=True)
class Extractor:
    """A function from images to features, with everything that identifies it.

    Attributes
    ----------
    name
        As typed, completed: ``"inception:2048"``, ``"dinov2-s:98"``.
    distance_name
        What a Frechet distance in these features is called: FID for pytorch-fid's Inception with 2048 features, FD
        with the name of the extractor for anything else.
    space
        Name, weights' hash, resize and dtype: features are comparable exactly when this is equal.
    prepare
        An RGB image to one input ``(3, h, w)``, uint8 or float; the same shape for every image.
    embed
        A batch of inputs, on the CPU, to features ``(B, d)`` float32 on the extractor's device.
    components
        The number of principal components of the first set that a distance is taken in; None for all dimensions. Set
        where there are more dimensions than any set has images and none of them is a learned feature (pixels).
        Such a distance is a floor for the others: what it sees already, no network is needed to see.
    top_1
        Features ``(n, d)`` to the index ``(n,)`` int64 of the most probable class of the pretraining, where the
        network has a classifier on exactly these features.
    probabilities
        Features ``(n, d)`` to the probabilities ``(n, classes)`` float64 of that classifier.
    """

    name: str
    distance_name: str
    space: FeatureSpace
    prepare: Callable[[Image.Image], torch.Tensor]
    embed: Callable[[torch.Tensor], torch.Tensor]
    components: int | None = None
    top_1: Callable[[np.ndarray], np.ndarray] | None = None
    probabilities: Callable[[np.ndarray], np.ndarray] | None = None


def _shown(field: str, value: str) -> str:
    """Return a hash as its first eight digits, enough to tell two apart, and anything else as it is."""
    if field == "weights":
        return f"{value[:8]}.." if value else "none"
    return value
