"""Many distances at a time are the distances one by one, in the order asked for."""

import numpy as np
import pandas as pd
import pytest

from vptft.errors import DataError
from vptft.features.extraction import Features
from vptft.features.spaces import FeatureSpace
from vptft.features.statistics import Statistics
from vptft.report.assembly.distances import distance, distances
from vptft.when.distribution.distance import DistanceSettings

SPACE = FeatureSpace(extractor="e", weights="ab" * 32, resize="8 px", dtype="float32")


def made(name, seed, n=24, value=0.0):
    values = np.float32(np.random.default_rng(seed).normal(size=(n, 5)) + seed + value)
    ids = tuple(f"{name} {i}" for i in range(n))
    return Statistics.of(
        Features(name=name, distance_name="FD (e)", space=SPACE, values=values, ids=ids, groups=ids, labels=None)
    )


def test_many_at_a_time_are_the_same_as_one_by_one(tmp_path):
    reference, others = made("r", 0), [made(f"s{i}", i) for i in range(1, 6)]
    told = []
    pairs = [(reference, other, tmp_path / other.name) for other in others]
    found = distances(pairs, options=DistanceSettings(), on_done=lambda done, total: told.append((done, total)))
    alone = [distance(made("r", 0), other, options=DistanceSettings()) for other in others]
    assert [result.second for result in found] == [f"s{i}" for i in range(1, 6)]
    for ours, theirs in zip(found, alone, strict=True):
        pd.testing.assert_frame_equal(ours.frame(), theirs.frame(), check_exact=True)
    assert told == [(i, 5) for i in range(1, 6)]
    assert all((tmp_path / other.name / "result.json").is_file() for other in others)


def test_an_error_of_one_is_the_error_of_all():
    sets = [made("r", 0), made("s", 1), made("broken", 2, value=np.nan)]
    with pytest.raises(DataError, match="broken has features that are NaN"):
        distances([(sets[0], each, None) for each in sets[1:]], options=DistanceSettings())
