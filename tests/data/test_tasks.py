"""A task whose training labels are in random order."""

import numpy as np
import pytest

from vptft.data import registry
from vptft.errors import UnknownNameError


def test_permuted_labels_are_those_of_training_in_another_order_for_each_draw_and_the_tests_stay():
    plain, noise = registry.task("photo/count"), registry.task("photo/count+permuted")
    assert (noise.name, noise.classes, noise.few_groups) == ("photo/count+permuted", plain.classes, True)
    for split in ("train", "val"):
        own, other = (task.load(split, n=60, seed=3) for task in (plain, noise))
        assert own.ids == other.ids
        assert own.fingerprint() == other.fingerprint()
        assert sorted(own.labels) == sorted(other.labels)
        assert (own.labels != other.labels).mean() > 0.5
    again, draw = (noise.load("train", n=60, seed=seed).labels for seed in (3, 4))
    np.testing.assert_array_equal(again, noise.load("train", n=60, seed=3).labels)
    assert (again != draw).any()
    np.testing.assert_array_equal(plain.load("test", n=20).labels, noise.load("test", n=20).labels)
    with pytest.raises(UnknownNameError):
        registry.task("nothing+permuted")
