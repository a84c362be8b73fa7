import sys

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.optimize import linear_sum_assignment

from vptft.errors import DataError, MissingExtraError, NotApplicable
from vptft.when.objective.transport import otdd, transport
from when.objective.builders import blobs, simplex

pot = pytest.importorskip("ot")


def gaussian_distance(a, b):
    """Squared 2-Wasserstein distance of the Gaussians of two samples, by matrix square roots."""
    first, second = np.cov(a.T), np.cov(b.T)
    root = sqrtm(first)
    cross = sqrtm(root @ second @ root)
    return np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(first + second - 2 * cross).real


def test_with_one_class_it_is_transport_plus_the_distance_of_the_gaussians():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(30, 3)), rng.normal(2, 1.5, size=(30, 3))
    costs = np.square(a[:, None] - b[None]).sum(axis=-1)
    rows, columns = linear_sum_assignment(costs)
    expected = np.sqrt(costs[rows, columns].mean() + gaussian_distance(a, b))
    assert otdd(a, np.zeros(30), b, np.zeros(30)) == pytest.approx(expected, rel=1e-6)


def test_with_several_classes_it_is_the_assignment_of_the_summed_costs():
    a, y = blobs(simplex(3), n=30, seed=1)
    b, z = blobs(simplex(3)[::-1] + 1, n=30, seed=2)
    between = np.array([[gaussian_distance(a[y == i], b[z == j]) for j in range(3)] for i in range(3)])
    costs = np.square(a[:, None] - b[None]).sum(axis=-1) + between[np.ix_(y, z)]
    rows, columns = linear_sum_assignment(costs)
    assert otdd(a, y, b, z) == pytest.approx(np.sqrt(costs[rows, columns].mean()), rel=1e-6)


def test_a_shift_of_everything_is_seen_twice():
    """Images move by s, and so do the Gaussians of their classes."""
    x, labels = blobs(simplex(3), n=60)
    shift = np.array([30.0, 0, 0])
    assert otdd(x, labels, x + shift, labels) == pytest.approx(np.sqrt(2) * 30, rel=1e-6)
    assert otdd(x, labels, x, labels) == pytest.approx(0, abs=1e-4)


def test_names_of_classes_do_not_matter_and_a_class_may_have_one_image():
    x, labels = blobs(simplex(3), n=20)
    labels = np.where(np.arange(20) == 0, 9, labels)
    other, z = blobs(simplex(3), n=20, seed=5)
    assert otdd(x, labels, other, z) == pytest.approx(otdd(x, labels, other, np.array([8, 5, 1])[z]), rel=1e-9)


def test_the_own_clusters_are_near_and_other_labels_are_not():
    x, labels = blobs(simplex(3), n=300, spread=0.1)
    assert transport(x, labels) == pytest.approx(0, abs=0.02)
    assert transport(x, np.random.default_rng(0).integers(0, 3, 300)) > 0.5


def test_too_few_images_are_refused():
    x, labels = blobs(simplex(3), n=20)
    with pytest.raises(NotApplicable, match="20 images are too few to halve into Gaussians of 3 classes"):
        transport(x, labels)
    with pytest.raises(DataError, match="a label an image, got 3 for 20"):
        otdd(x, labels[:3], x, labels)


def test_without_pot_the_install_line_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "ot", None)
    with pytest.raises(MissingExtraError, match=r"OTDD needs the package POT.*\n.*vptft-analyze\[transport\]"):
        otdd(np.ones((2, 2)), np.zeros(2), np.ones((2, 2)), np.zeros(2))
