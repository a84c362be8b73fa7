"""What a run is trained and judged on, in memory: pixels, or features where the network before the head never moves."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from vptft.data.images import ImageSet
from vptft.data.tasks import Split, Task
from vptft.data.transforms import normalise, to_square
from vptft.errors import DataError
from vptft.features.extraction import extract
from vptft.features.spaces import Extractor, FeatureSpace
from vptft.models.backbones import Backbone
from vptft.models.tuned import TunedModel
from vptft.tuning.settings import TrainSettings
from vptft.tuning.sizes import draw


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """A split in memory.

    Attributes
    ----------
    values
        Pixels ``(n, 3, h, w)`` uint8; or what the head reads, ``(n, d)`` float32.
    labels
        ``(n,)`` int64.
    ids, groups
        Who the images are, and which depend on each other.
    """

    values: torch.Tensor
    labels: torch.Tensor
    ids: tuple[str, ...]
    groups: tuple[str, ...]


def images_of(task: Task, split: Split, settings: TrainSettings) -> ImageSet:
    """Return the labelled images of a split, as many as the settings ask for.

    Raises
    ------
    DataError
        No labels, or fewer than two images; fewer than are asked for.
    """
    images = draw(task, split, settings)
    if images.labels is None or len(images) < 2:
        found = "no labels" if images.labels is None else f"{len(images)} images"
        raise DataError(f"{images.name} has {found}; training needs at least two labelled images.")
    return images


def pixels_of(images: ImageSet, size: int) -> Inputs:
    """Read a split's pixels."""
    return _inputs(images, images.pixels(size))


def features_of(images: ImageSet, model: TunedModel, backbone: Backbone) -> Inputs:
    """Give what the head reads of a split, from the cache where backbone, layers and images are the same.

    The network must be frozen, without prompts and additions. Features differ from those of another batch size by
    rounding alone.
    """
    size, device = backbone.image_size, next(model.parameters()).device
    read = "".join(f" layer {layer}" for layer in model.probe_layers)
    name = f"{backbone.name.partition('@')[0]}:{size}, head's input{read}"
    extractor = Extractor(
        name=name,
        distance_name=f"FD ({name})",
        space=FeatureSpace(
            extractor=name,
            weights=backbone.sha256,
            resize=f"{size} px centre crop, bicubic antialiased",
            dtype="float32",
        ),
        prepare=partial(to_square, size=size),
        embed=lambda batch: model.features(normalise(batch.to(device), backbone.mean, backbone.std)),
    )
    model.eval()
    features = extract(images, extractor)
    if features.skipped:
        images.pixels(size)  # says which, as for every other method
    return _inputs(images, torch.from_numpy(features.values))


def _inputs(images: ImageSet, values: torch.Tensor) -> Inputs:
    labels = torch.from_numpy(np.asarray(images.labels, dtype=np.int64))
    return Inputs(values=values, labels=labels, ids=images.ids, groups=images.groups)
