import doctest
from dataclasses import FrozenInstanceError, replace

import pytest

from vptft.features import spaces
from vptft.features.spaces import FeatureSpace

SPACE = FeatureSpace(extractor="tiny:32", weights="ab12cd34ef", resize="32 px", dtype="float32")


def test_equal_spaces_do_not_differ():
    assert SPACE.difference(replace(SPACE)) == ""
    assert replace(SPACE) == SPACE
    assert hash(replace(SPACE)) == hash(SPACE)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"extractor": "tiny:40"}, "extractor (tiny:32 and tiny:40)"),
        ({"weights": "cd3456ab78"}, "weights (ab12cd34.. and cd3456ab..)"),
        ({"weights": ""}, "weights (ab12cd34.. and none)"),
        ({"resize": "40 px"}, "resize (32 px and 40 px)"),
        ({"dtype": "float16"}, "dtype (float32 and float16)"),
        ({"dtype": "float16", "weights": ""}, "weights (ab12cd34.. and none) and dtype (float32 and float16)"),
    ],
)
def test_only_what_differs_is_named(changed, said):
    other = replace(SPACE, **changed)
    assert other != SPACE
    assert SPACE.difference(other) == said


def test_a_space_cannot_be_changed():
    with pytest.raises(FrozenInstanceError, match=r"cannot assign to field 'weights'"):
        SPACE.weights = "other"


def test_the_examples_run():
    found = doctest.testmod(spaces)
    assert found.attempted == 2
    assert found.failed == 0
