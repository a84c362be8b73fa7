"""Where a fitted line crosses zero, with the confidence set of Fieller's theorem, and what that says of a range."""

import math
from dataclasses import dataclass
from typing import Literal

Kind = Literal["interval", "outside", "everywhere", "nowhere"]
Outcome = Literal["ft overtakes", "vpt overtakes", "ft ahead", "vpt ahead", "open"]


@dataclass(frozen=True, kw_only=True)
class Line:
    """A fitted gap, level + slope (x - centre) with x = log2 n, and how well it is known.

    Attributes
    ----------
    level, slope
        Points of accuracy at ``centre``, and points for one doubling of n.
    centre
        In log2 n.
    level_variance, covariance, slope_variance
        Of the estimates, squared points.
    t
        Student's 97.5% quantile for these variances; infinite where nothing tells them.
    """

    level: float
    slope: float
    centre: float
    level_variance: float
    covariance: float
    slope_variance: float
    t: float

    def at(self, x: float) -> float:
        """Points at log2 n = ``x``."""
        return self.level + self.slope * (x - self.centre)

    def half_width(self, x: float) -> float:
        """Half of the 95% interval at log2 n = ``x``, points; infinite where nothing tells it."""
        u = x - self.centre
        variance = self.level_variance + 2 * self.covariance * u + self.slope_variance * u**2
        return self.t * math.sqrt(max(variance, 0.0)) if math.isfinite(self.t) else math.inf


@dataclass(frozen=True, kw_only=True)
class Crossing:
    """The size n* at which a line is zero, and the sizes that the data cannot rule out as n*.

    Attributes
    ----------
    n
        -level / slope, as a number of images; NaN for a flat line.
    low, high
        Ends of the set, as numbers of images; 0 and infinity where it does not end.
    kind
        ``interval``: n* lies in [low, high], of which one end may be open. ``outside``: the slope may be zero, and n*
        lies anywhere but in (low, high), or there is none. ``everywhere``: nothing is ruled out. ``nowhere``:
        everything is (a flat line without noise).
    """

    n: float
    low: float
    high: float
    kind: Kind


def crossing_of(line: Line) -> Crossing:
    """Invert the t-test of "the line is zero at x" over all x.

    With u = x - centre, the set is {u: (level + slope u)^2 <= t^2 (v_a + 2 c u + v_b u^2)}: an interval exactly where
    the slope differs from zero at 5%; otherwise the complement of one, or everything.

    Notes
    -----
    Fieller 1954 (*Some problems in interval estimation*, JRSS B 16). An estimate with a standard error would look more
    precise and be wrong: n* is a ratio, and with a slope near zero it has no finite interval. The set is as good as the
    line: where the gap bends, n* is where the line crosses, not the gap.
    """
    n = _images(line.centre - line.level / line.slope) if line.slope else math.nan
    if math.isinf(line.t):
        return Crossing(n=n, low=0.0, high=math.inf, kind="everywhere")
    tt = line.t**2
    square = line.slope**2 - tt * line.slope_variance
    half = line.level * line.slope - tt * line.covariance
    constant = line.level**2 - tt * line.level_variance
    kind, low, high = _solved(square, half, constant)
    if kind == "interval" and line.slope_variance == line.level_variance == 0:
        low = high = -line.level / line.slope  # without noise the two roots differ by rounding
    return Crossing(n=n, low=_images(line.centre + low), high=_images(line.centre + high), kind=kind)


def _solved(square: float, half: float, constant: float) -> tuple[Kind, float, float]:
    """Solve square u^2 + 2 half u + constant <= 0."""
    if square == 0:
        if half == 0:
            return ("everywhere" if constant <= 0 else "nowhere"), -math.inf, math.inf
        edge = -constant / (2 * half)
        return "interval", *((-math.inf, edge) if half > 0 else (edge, math.inf))
    inside = half**2 - square * constant
    if square < 0 and inside <= 0:
        return "everywhere", -math.inf, math.inf
    root = math.sqrt(max(inside, 0.0))
    larger = -half - math.copysign(root, half)  # of the two, the one without cancellation
    roots = sorted((larger / square, constant / larger if larger else 0.0))
    return ("interval" if square > 0 else "outside"), roots[0], roots[1]


def _images(x: float) -> float:
    """2^x, 0 and infinity included."""
    return math.inf if x > 1000 else 2.0**x


def outcome_of(line: Line, crossing: Crossing, least: float, most: float) -> Outcome:
    """Who is ahead over the measured sizes ``least`` to ``most``, or who overtakes within them."""
    middle = line.at((math.log2(least) + math.log2(most)) / 2)
    if crossing.kind == "interval":
        apart = crossing.low > most or crossing.high < least
        if not apart and not least <= crossing.n <= most:
            return "open"
        if not apart:
            return "ft overtakes" if line.slope < 0 else "vpt overtakes"
    elif crossing.kind == "everywhere" or not (crossing.low <= least and most <= crossing.high):
        return "open"
    return "vpt ahead" if middle > 0 else "ft ahead"


def in_words(line: Line, crossing: Crossing, outcome: Outcome, least: float, most: float) -> str:
    """Say it as a person would: sizes beyond the measured ones are not given as numbers.

    Examples
    --------
    >>> line = Line(level=1, slope=-1, centre=11, level_variance=0.01, covariance=0, slope_variance=0.01, t=2.1)
    >>> crossing = crossing_of(line)
    >>> in_words(line, crossing, outcome_of(line, crossing, 400, 20_000), 400, 20_000)
    'FT overtakes at 4,100 images [3,400, 5,200]'
    """
    span = f"{least:,.0f} to {most:,.0f}" if least < most else f"{least:,.0f}"
    if outcome in ("ft overtakes", "vpt overtakes"):
        who = "FT" if outcome.startswith("ft") else "VPT"
        return f"{who} overtakes at {rounded(crossing.n)} images {_ends(crossing, least, most)}"
    if outcome in ("ft ahead", "vpt ahead"):
        first, second = ("FT", "VPT") if outcome.startswith("ft") else ("VPT", "FT")
        nearing = (line.slope < 0) == (first == "VPT")
        reach = f"; {second} not within reach: above {most:,.0f}" if nearing else ""
        return f"{first} ahead everywhere, {span} images{reach}"
    if math.isinf(line.t):
        return "cannot tell: nothing shows the noise"
    if crossing.kind == "interval":
        who, bound = ("FT" if line.slope < 0 else "VPT"), (most if crossing.n > most else least)
        side = "above" if crossing.n > most else "below"
        return f"cannot tell: {who} would overtake {side} {bound:,.0f} images, and may do so sooner or later"
    low, high = max(crossing.low, least), min(crossing.high, most)
    if crossing.kind == "outside" and low < high:
        first = "VPT" if line.at(math.log2(math.sqrt(low * high))) > 0 else "FT"
        return f"{first} ahead from {rounded(low)} to {rounded(high)} images; beyond, cannot tell"
    return "cannot tell: the gap may be zero at any size"


def _ends(crossing: Crossing, least: float, most: float) -> str:
    low = f"below {least:,.0f}" if crossing.low < least else rounded(crossing.low)
    high = f"above {most:,.0f}" if crossing.high > most else rounded(crossing.high)
    return f"[{low}, {high}]"


def rounded(n: float) -> str:
    """Two significant digits: n* is never known better."""
    return f"{float(f'{n:.2g}'):,.0f}"
