"""The one camera of all scenes: it looks down on a table, and nearer things are lower and larger."""

import numpy as np

ELEVATION = np.deg2rad(57.0)
"""Angle of the line of sight with the table."""
RANGE = 2.6
"""Distance of the camera from the origin of the table; half the width seen at the origin is 1."""

_SIN, _COS = float(np.sin(ELEVATION)), float(np.cos(ELEVATION))
POSITION = np.array([0.0, -RANGE * _COS, RANGE * _SIN])
FORWARD = np.array([0.0, _COS, -_SIN])
RIGHT = np.array([1.0, 0.0, 0.0])
UP = np.array([0.0, _SIN, _COS])


def project(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """World points ``(..., 3)`` -> picture coordinates ``(u, v)``.

    The picture is ``[-1, 1] x [-1, 1]``, ``u`` to the right and ``v`` upwards. The table is ``z = 0``, ``x`` to
    the right and ``y`` away from the camera.
    """
    offset = points - POSITION
    depth = offset @ FORWARD
    return RANGE * (offset @ RIGHT) / depth, RANGE * (offset @ UP) / depth


def rays(size: int) -> np.ndarray:
    """Directions through the pixel centres, ``(size, size, 3)``, row 0 on top, not normalised."""
    steps = (np.arange(size) + 0.5) * (2 / size) - 1
    u, v = np.meshgrid(steps, -steps)
    return RANGE * FORWARD + u[..., None] * RIGHT + v[..., None] * UP


def x_at(u: float, y: float, z: float) -> float:
    """World ``x`` of what is seen in picture column ``u``, at distance ``y`` and height ``z``."""
    depth = (np.array([0.0, y, z]) - POSITION) @ FORWARD
    return float(u * depth / RANGE)


def on_table(u: float, v: float) -> tuple[float, float]:
    """Where on the table ``(x, y)`` the picture point ``(u, v)`` lies."""
    direction = RANGE * FORWARD + u * RIGHT + v * UP
    reach = -POSITION[2] / direction[2]
    return float(POSITION[0] + reach * direction[0]), float(POSITION[1] + reach * direction[1])
