import numpy as np
import pytest

from vptft.errors import NotApplicable
from vptft.when.objective.own_classes import own_agreement, own_classes
from when.objective.builders import blobs, simplex


def test_clusters_are_the_classes_where_these_stand_apart():
    x, labels = blobs(simplex(4), spread=0.1)
    assert own_agreement(x, labels) == pytest.approx(1)
    assert own_agreement(x, np.array([2, 3, 0, 1])[labels]) == pytest.approx(1)
    assert len(np.unique(own_classes(x, 4))) == 4


def test_labels_of_something_else_agree_by_chance_only():
    x, labels = blobs(simplex(4), n=400, spread=0.1)
    other = np.random.default_rng(0).integers(0, 4, len(labels))
    assert abs(own_agreement(x, other)) < 0.05


def test_images_without_any_difference_have_no_clusters():
    with pytest.raises(NotApplicable, match="single cluster"):
        own_agreement(np.ones((12, 3)), np.arange(12) % 2)
