"""Coverage and false positives of what compares tasks of two kinds, or relates their gap to another number.

python tests/simulations/contrasts.py CONTRASTS.csv [STUDIES]; with `--table` the file is printed as Markdown.

A task's gap is normal, or skewed (a shifted exponential), with a spread of 1; *unequal* doubles the spread of the first
kind. A correlation is of normal pairs; a share is of wins that come with probability 0.7.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import pandas as pd

from vptft.evidence.statistics import paired
from vptft.evidence.statistics.interaction import interaction
from vptft.evidence.statistics.paired import mean_interval, relabelling, share_interval, welch_interval
from vptft.published.comparisons import rank_correlation
from vptft.storage import write_text

STUDIES = 2000
WINS = 0.7
RHO = {5: 0.6}
Outcome = dict[str, bool]


def gaps(rng: np.random.Generator, effects: str, n: int) -> np.ndarray:
    """Gaps around 0."""
    return rng.exponential(size=n) - 1 if effects == "skewed" else rng.normal(size=n)


def of_two_kinds(rng: np.random.Generator, effects: str, sizes: tuple[int, int]) -> Outcome:
    """W1 and W2 on observed tasks: Welch's interval, also where it is not offered, and labels exchanged."""
    first = gaps(rng, effects, sizes[0]) * (2 if effects == "unequal" else 1)
    second = gaps(rng, effects, sizes[1])
    with mock.patch.object(paired, "LEAST_A_SIDE", 2):
        interval = welch_interval(first, second)
    apart, exchanged = not interval.low <= 0 <= interval.high, relabelling(first, second).p < 0.05
    return {"Welch covers": not apart, "labels exchanged, p < .05": exchanged, "both say so": exchanged and apart}


def of_few(rng: np.random.Generator, effects: str, n: int) -> Outcome:
    """Student's t over a few tasks."""
    found = mean_interval(gaps(rng, effects, n))
    return {"Student t covers": found.low <= 0 <= found.high}


def of_rank(rng: np.random.Generator, effects: str, n: int) -> Outcome:
    """A rank correlation with a printed number: Fisher's z, and all permutations where nothing is related."""
    both = {}
    for related in (True, False):
        x = rng.normal(size=n)
        y = RHO[n] * x + np.sqrt(1 - RHO[n] ** 2) * rng.normal(size=n) if related else gaps(rng, effects, n)
        frame = pd.DataFrame({"task": range(n), "gap_points": y})
        both[related] = rank_correlation(frame, pd.DataFrame({"task": range(n), "x": x}), "x")
    truth = 6 / np.pi * np.arcsin(RHO[n] / 2)  # Spearman's rho of normal pairs
    effect = both[True].effect
    return {"Fisher z covers": effect.low <= truth <= effect.high, "permutations, p < .05": both[False].p < 0.05}


def of_share(rng: np.random.Generator, _: str, n: int) -> Outcome:
    """A share of tasks won."""
    found = share_interval(int(rng.binomial(n, WINS)), n)
    return {"Clopper-Pearson covers": found.low <= WINS <= found.high}


def of_product(rng: np.random.Generator, effects: str, n: int) -> Outcome:
    """W5 on observed tasks: the product's coefficient where the gap is unrelated to both."""
    table = pd.DataFrame({
        "task": range(n), "gap_points": gaps(rng, effects, n), "distance": rng.normal(size=n),
        "disparity": rng.uniform(size=n), "n_train": 1,
    })  # fmt: skip
    (row,) = interaction(table).query("term == 'distance:disparity'").to_dict("records")
    return {"regression covers": bool(row["low"] <= 0 <= row["high"])}


Simulation = Callable[[np.random.Generator, str, object], Outcome]
CELLS: list[tuple[str, Simulation, str, object]] = [
    *(("two kinds of tasks", of_two_kinds, effects, sizes)
      for sizes in ((2, 8), (3, 7), (3, 16), (4, 4), (4, 7), (4, 15), (5, 5), (6, 9))
      for effects in ("normal", "skewed", "unequal")),
    *(("a mean over few tasks", of_few, effects, n) for n in (2, 3, 4) for effects in ("normal", "skewed")),
    *(("a rank correlation", of_rank, effects, 5) for effects in ("normal", "skewed")),
    *(("a share", of_share, "", n) for n in (14, 19)),
    *(("distance times disparity", of_product, effects, n) for n in (15, 19) for effects in ("normal", "skewed")),
]  # fmt: skip


def cell(what: str, simulate: Simulation, effects: str, size: object, studies: int) -> list[dict[str, object]]:
    """Percent of studies in which each holds."""
    rng = np.random.default_rng(seed_of(what, effects, size))
    rows = pd.DataFrame([simulate(rng, effects, size) for _ in range(studies)])
    tasks = " + ".join(map(str, size)) if isinstance(size, tuple) else str(size)
    return [
        {"what": what, "effects": effects, "tasks": tasks, "method": name, "percent": 100 * rows[name].mean(),
         "studies": studies}
        for name in rows
    ]  # fmt: skip


def seed_of(*words: object) -> int:
    """The same for the same design, whatever else is simulated."""
    return sum(ord(letter) * 31**i for i, letter in enumerate(str(words))) % 2**32


def main(target: Path, studies: int) -> None:
    rows: list[dict[str, object]] = []
    for design in CELLS:
        rows += cell(*design, studies)
        write_text(target, pd.DataFrame(rows).to_csv(index=False, float_format="%.4g", lineterminator="\n"))
        sys.stderr.write(f"{design[0]} {design[2]} {design[3]} done\n")


def to_markdown(rows: pd.DataFrame) -> str:
    """A line a design."""
    lines = ["| what | task effects | tasks | | percent |", "| --- | --- | ---: | --- | ---: |"]
    lines += [
        f"| {row.what} | {row.effects if isinstance(row.effects, str) else ''} | {row.tasks} | {row.method} | "
        f"{row.percent:.1f} |"
        for row in rows.itertuples()
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    if "--table" in sys.argv:
        sys.stdout.write(to_markdown(pd.read_csv(Path(sys.argv[1]))))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else STUDIES)
