import numpy as np
import pytest

from vptft.errors import DataError
from vptft.models.backbones import Pretraining
from vptft.when.objective.task import LEAST_GROUPS, MEANING_OF_FAR, class_means
from when.objective.builders import blobs, make_task, simplex


def test_far_is_said_for_every_pretraining_objective():
    assert set(MEANING_OF_FAR) == set(Pretraining.__args__)


def test_means_are_of_each_class_in_the_order_of_the_labels():
    x, labels = blobs(simplex(3), n=30)
    expected = [x[labels == k].mean(axis=0) for k in range(3)]
    np.testing.assert_allclose(class_means(x, np.array([10, 20, 30])[labels]), expected)


def test_images_are_held_out_by_group_where_every_class_has_several():
    assert make_task(n=30).grouped
    few = make_task(n=30, groups=np.arange(30) % LEAST_GROUPS // 2)
    assert not few.grouped
    np.testing.assert_array_equal(few.held_out, np.arange(30))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: {"labels": t.labels[:-1]}, "one row, label and group an image"),
        (lambda t: {"values": np.where(t.values > 3, np.nan, t.values)}, "features that are NaN or infinite"),
        (lambda t: {"labels": np.zeros_like(t.labels)}, "1 class among 30 images; an objective needs two"),
    ],
)
def test_what_cannot_be_measured_is_refused(change, said):
    task = make_task(n=30)
    fields = {name: getattr(task, name) for name in task.__dataclass_fields__}
    with pytest.raises(DataError, match=said):
        type(task)(**{**fields, **change(task)})
