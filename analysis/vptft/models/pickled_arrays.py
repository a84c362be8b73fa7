"""Numpy's arrays in pickles, made anew from their bytes: numpy's own ``__setstate__`` is not safe on strangers' files.

A state that numpy never wrote, such as a dtype of some other number of parts, is taken as it is there, and ends in
reads outside the array's memory. Here each part is looked at, and an array is made of plain numbers alone.
"""

import math
from typing import Any, Literal

import numpy as np

CODES = frozenset(("f2", "f4", "f8", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))))
MAX_DIMENSIONS = 8


class PickledType:
    """Stands in for ``numpy.dtype``: of plain numbers, in either order of bytes.

    Attributes
    ----------
    dtype
        What it stands for.
    """

    def __init__(self, code: object, *_: object) -> None:
        if not isinstance(code, str) or code not in CODES:
            raise ValueError(f"an array of {str(code)[:40]!r}, which are no plain numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: object) -> None:
        order = state[1] if isinstance(state, tuple) and len(state) > 1 else None
        if order not in ("<", ">", "=", "|") or state[2:] != (None, None, None, -1, -1, 0):  # type: ignore[index]
            raise ValueError("an array whose type is not one that numpy writes")
        self.dtype = self.dtype.newbyteorder(order)


class PickledArray:
    """Stands in for ``numpy.ndarray``.

    Attributes
    ----------
    value
        The array, once its state is there.
    """

    def __init__(self) -> None:
        self.value: np.ndarray | None = None

    def __setstate__(self, state: object) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError("an array whose state is not one that numpy writes")
        _, shape, kind, columns_first, raw = state
        plain = isinstance(shape, tuple) and len(shape) <= MAX_DIMENSIONS and all(type(n) is int for n in shape)
        if not plain or min(shape, default=0) < 0 or not isinstance(kind, PickledType) or not isinstance(raw, bytes):
            raise ValueError("an array whose state is not one that numpy writes")
        if len(raw) != math.prod(shape) * kind.dtype.itemsize:
            raise ValueError(f"an array of shape {shape} in {len(raw)} bytes of {kind.dtype}")
        order: Literal["C", "F"] = "F" if columns_first else "C"
        self.value = np.frombuffer(raw, kind.dtype).reshape(shape, order=order)


def _reconstruct(*_: object) -> PickledArray:
    """Stand in for numpy's function of that name, which makes an array whose state comes after."""
    return PickledArray()


def _scalar(kind: object, raw: object) -> Any:
    """Stand in for numpy's function of that name."""
    if not isinstance(kind, PickledType) or not isinstance(raw, bytes) or len(raw) != kind.dtype.itemsize:
        raise ValueError("a number that is not as numpy writes it")
    return np.frombuffer(raw, kind.dtype)[0]


ARRAYS_ALLOWED = (
    *((function, f"{module}.{name}")
      for module in ("numpy._core.multiarray", "numpy.core.multiarray")
      for name, function in (("_reconstruct", _reconstruct), ("scalar", _scalar))),
    (PickledArray, "numpy.ndarray"),
    (PickledType, "numpy.dtype"),
)  # fmt: skip
"""What arrays need, under the names of numpy 1 and 2, as :func:`.tensorfiles.load_pickled` takes it."""


def unpacked(content: Any) -> Any:
    """Put arrays in the place of what stands for them, in dictionaries, lists and tuples.

    Raises
    ------
    ValueError
        An array without its state.
    """
    if isinstance(content, PickledArray):
        if content.value is None:
            raise ValueError("an array without its numbers")
        return content.value
    if isinstance(content, dict):
        return {key: unpacked(value) for key, value in content.items()}
    if type(content) in (list, tuple):
        return type(content)(unpacked(value) for value in content)
    return content
