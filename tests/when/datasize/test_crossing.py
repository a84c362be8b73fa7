"""Fieller's closed form against inverting the t-test size by size, and what is said of it."""

import math

import numpy as np
import pytest

from vptft.when.datasize.crossing import Line, crossing_of, in_words, outcome_of


def line(level, slope, variances=(1.0, 0.0, 0.25), t=2.0, centre=11.0):
    a, c, b = variances
    return Line(
        level=level, slope=slope, centre=centre, level_variance=a, covariance=c, slope_variance=b, t=t
    )  # fmt: skip


def not_rejected(each, x):
    """Whether the t-test of "the line is zero at x" does not reject, worked out at each x on its own."""
    gradient = np.stack([np.ones_like(x), x - each.centre])
    covariance = [[each.level_variance, each.covariance], [each.covariance, each.slope_variance]]
    variance = np.einsum("ix,ij,jx->x", gradient, np.array(covariance), gradient)
    return np.abs(each.level + each.slope * (x - each.centre)) <= each.t * np.sqrt(variance)


def inside(crossing, n):
    return {
        "interval": (crossing.low <= n) & (n <= crossing.high),
        "outside": (n <= crossing.low) | (n >= crossing.high),
        "everywhere": np.ones(n.shape, dtype=bool),
        "nowhere": np.zeros(n.shape, dtype=bool),
    }[crossing.kind]


def random_lines(count):
    rng = np.random.default_rng(0)
    for _ in range(count):
        root = rng.normal(size=(2, 2)) * rng.uniform(0.01, 1.5)
        covariance = root @ root.T
        yield line(
            rng.normal(0, 3), rng.normal(0, 1.5), (covariance[0, 0], covariance[0, 1], covariance[1, 1]),
            t=rng.uniform(1.9, 6),
        )  # fmt: skip


def test_the_set_is_what_inverting_the_test_on_a_grid_gives():
    x = np.linspace(-30, 50, 4001)
    kinds = set()
    for each in random_lines(300):
        crossing = crossing_of(each)
        kinds.add(crossing.kind)
        expected, found = not_rejected(each, x), inside(crossing, 2.0**x)
        differs = expected != found
        ends = np.log2([max(crossing.low, 1e-300), min(crossing.high, 1e300)])
        assert all(np.abs(ends - position).min() < 1e-6 for position in x[differs])
    assert kinds == {"interval", "outside", "everywhere"}


def test_without_noise_the_set_is_the_crossing_itself():
    crossing = crossing_of(line(1.0, -1.0, (0.0, 0.0, 0.0)))
    assert (crossing.n, crossing.low, crossing.high) == pytest.approx((4096, 4096, 4096))


@pytest.mark.parametrize(
    ("each", "kind", "low", "high"),
    [
        (line(0.0, 0.0, (0.0, 0.0, 0.0)), "everywhere", 0.0, math.inf),
        (line(3.0, 0.0, (0.0, 0.0, 0.0)), "nowhere", 0.0, math.inf),
        (line(3.0, -2.0, t=math.inf), "everywhere", 0.0, math.inf),
        (line(4.0, -1.0, (1.0, 0.0, 0.25)), "interval", 2 ** (11 + 1.5), math.inf),  # slope = t se: a half-line
    ],
)
def test_the_borders_between_kinds(each, kind, low, high):
    crossing = crossing_of(each)
    assert (crossing.kind, crossing.low, crossing.high) == (kind, low, high)


@pytest.mark.parametrize(
    ("each", "outcome", "words"),
    [
        (line(1.0, -1.0, (0.01, 0, 0.01)), "ft overtakes", "FT overtakes at 4,100 images [3,400, 5,200]"),
        (line(1.0, 1.0, (0.01, 0, 0.01)), "vpt overtakes", "VPT overtakes at 1,000 images [810, 1,200]"),
        (line(1.0, -1.0, (2.0, 0, 0.01)), "ft overtakes", "FT overtakes at 4,100 images [570, above 20,000]"),
        (
            line(9.0, -1.0, (0.01, 0, 0.001)),
            "vpt ahead",
            "VPT ahead everywhere, 400 to 20,000 images; FT not within reach: above 20,000",
        ),
        (line(9.0, 1.0, (0.01, 0, 0.001)), "vpt ahead", "VPT ahead everywhere, 400 to 20,000 images"),
        (
            line(-9.0, 1.0, (0.01, 0, 0.001)),
            "ft ahead",
            "FT ahead everywhere, 400 to 20,000 images; VPT not within reach: above 20,000",
        ),
        (line(-9.0, -1.0, (0.01, 0, 0.001)), "ft ahead", "FT ahead everywhere, 400 to 20,000 images"),
        (line(9.0, 0.01, (0.01, 0, 0.1)), "vpt ahead", "VPT ahead everywhere, 400 to 20,000 images"),
        (line(9.0, 0.0, (0.01, 0, 0.1)), "vpt ahead", "VPT ahead everywhere, 400 to 20,000 images"),
        (
            line(9.0, -0.004, (0.01, 0, 0.1)),
            "vpt ahead",
            "VPT ahead everywhere, 400 to 20,000 images; FT not within reach: above 20,000",
        ),
        (line(0.1, -0.1), "open", "cannot tell: the gap may be zero at any size"),
        (line(1.0, -1.0, t=math.inf), "open", "cannot tell: nothing shows the noise"),
        (
            line(4.5, -1.0, (1.0, 0, 0.01)),
            "open",
            "cannot tell: FT would overtake above 20,000 images, and may do so sooner or later",
        ),
    ],
)
def test_outcomes_and_their_words(each, outcome, words):
    crossing = crossing_of(each)
    assert outcome_of(each, crossing, 400, 20_000) == outcome
    assert in_words(each, crossing, outcome, 400, 20_000) == words


def test_a_part_of_the_range_that_is_sure_is_named():
    each = line(6.0, -0.5, (0.5, 0.0, 0.3))
    crossing = crossing_of(each)
    assert (crossing.kind, crossing.low > 400) == ("outside", False)
    said = in_words(each, crossing, outcome_of(each, crossing, 400, 100_000), 400, 100_000)
    assert said.startswith("VPT ahead from 400 to ")
    assert said.endswith("images; beyond, cannot tell")


def test_a_flat_line_crosses_nowhere_that_could_be_named():
    crossing = crossing_of(line(0.1, 0.0))
    assert math.isnan(crossing.n)
    assert outcome_of(line(0.1, 0.0), crossing, 400, 800) == "open"
