"""Features and statistics of made-up sets."""

import numpy as np

from vptft.features.extraction import Features
from vptft.features.spaces import FeatureSpace
from vptft.features.statistics import Statistics

SPACE = FeatureSpace(extractor="made", weights="ab12cd34ef", resize="32 px", dtype="float32")


def make_features(values, *, name="a", ids=None, groups=None, space=SPACE, **fields):
    """Features of rows; each image a group of its own unless told otherwise."""
    values = np.asarray(values, dtype=np.float32)
    ids = tuple(ids) if ids is not None else tuple(f"{name}/{i}.png" for i in range(len(values)))
    return Features(**{
        "name": name, "distance_name": "FD (made)", "space": space, "values": values, "ids": ids,
        "groups": tuple(groups) if groups is not None else ids, "labels": None, **fields,
    })  # fmt: skip


def make_statistics(values, **fields):
    return Statistics.of(make_features(values, **fields))
