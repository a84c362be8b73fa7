"""Arrays in pickles come back as they were, and states that numpy never wrote are refused before numpy sees them."""

import warnings

import numpy as np
import pytest
import torch

from vptft.errors import WeightsError
from vptft.models.pickled_arrays import ARRAYS_ALLOWED, PickledType, unpacked
from vptft.models.tensorfiles import load_pickled

ARRAYS = {
    "floats": np.linspace(0, 1, 6, dtype=np.float32).reshape(1, 2, 3),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "big end first": np.arange(3, dtype=">i4"),
    "half": np.ones((2, 4), np.float16),
    "bytes": np.arange(3, dtype=np.uint8),
}


def loaded(path):
    return unpacked(load_pickled(path, ARRAYS_ALLOWED))


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_and_numbers_come_back(name, tmp_path):
    array = ARRAYS[name]
    torch.save({"a": [array, (array, 3)], "n": np.int64(7)}, tmp_path / "x.pth")
    found = loaded(tmp_path / "x.pth")
    for each in (found["a"][0], found["a"][1][0]):
        np.testing.assert_array_equal(each, array)
        assert each.dtype == array.dtype
    assert (found["a"][1][1], found["n"]) == (3, 7)


class Stated:
    """Pickles as numpy's function called with ``arguments``, with a state of the tester's choosing."""

    def __init__(self, function, arguments, state):
        self.reduced = function, arguments, state

    def __reduce__(self):
        return self.reduced


def of_type(state):
    return Stated(np.dtype, ("f4", False, True), state)


def of_array(*state):
    return Stated(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), state)


PLAIN = np.dtype("f4")
RAW = b"\0" * 8


@pytest.mark.parametrize(
    "hostile",
    [
        of_type((3, "<", None, -1, -1, 0)),  # what crashed numpy: its own reads the size from the wrong place
        of_type((3, "<", None, None, None, 1 << 40, 1, 0)),
        of_type(("<",)),
        of_array(1, (2,), of_type((3, "<", None, -1, -1, 0)), False, RAW),
        of_array(1, (1 << 40,), PLAIN, False, RAW),
        of_array(1, (-2,), PLAIN, False, RAW),
        of_array(1, (2.0,), PLAIN, False, RAW),
        of_array(1, (2,), "f4", False, RAW),
        of_array(1, (1,) * 40, PLAIN, False, RAW[:4]),
        of_array(1, (2,), PLAIN, False, [1, 2]),
        of_array(1, (2,), np.dtype("O"), False, [1, 2]),
        of_array(1, (2,)),
        Stated(np._core.multiarray._reconstruct, (np.ndarray, (0,), b"b"), None),
        Stated(np._core.multiarray.scalar, (PLAIN, RAW), None),
        np.zeros(2, dtype=[("a", "f4")]),
        np.array(["text"]),
        np.array([None]),
    ],
)
def test_a_state_that_numpy_never_wrote_is_refused(hostile, tmp_path):
    torch.save({"a": hostile}, tmp_path / "x.pth")
    with warnings.catch_warnings(), pytest.raises((WeightsError, ValueError)):
        loaded(tmp_path / "x.pth")


def test_what_stands_for_a_type_reads_only_plain_numbers():
    with pytest.raises(ValueError, match="no plain numbers"):
        PickledType("O8")
    with pytest.raises(ValueError, match="no plain numbers"):
        PickledType(3)
