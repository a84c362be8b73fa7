"""Coverage of every interval of a mean gap, and false positives of every test, over simulated studies.

python tests/simulations/coverage.py COVERAGE.csv [STUDIES]; a cell that is there is not made again. With `--table` the
file is printed as Markdown.

A study has tasks, each with a true gap, 3 or 5 training draws, and 200 test images that are their own group or five a
group. Gaps are in points: tasks spread by 4 (normal, or a shifted exponential), draws by 2 (by 6 where they dominate),
images so that their mean has 1.5, and what is left of image x draw 1. Two targets: the mean of the population of tasks,
and of these tasks.
"""

import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from vptft.evidence.statistics.components import nested_interval
from vptft.evidence.statistics.paired import mean_interval, sign_flip, sign_test, signed_rank
from vptft.evidence.statistics.resampling import PairedDraw, bca, hierarchical_bootstrap
from vptft.storage import write_text

STUDIES = 2000
OF_TASK, OF_DRAW, OF_IMAGE, OF_REST = 4.0, 2.0, 1.5, 1.0
N_IMAGES, A_GROUP = 200, 5
DOMINANT = "normal, draws dominate"
CELLS = [
    *product(("normal", "skewed"), (1, 5, 10, 19), (3, 5), (1, A_GROUP)),
    *product((DOMINANT,), (1, 5, 10, 19), (3, 5), (1,)),
]
POPULATION = ("Student t", "BCa", "Hodges-Lehmann")
THESE = ("variance components", "hierarchical bootstrap")


def study(rng: np.random.Generator, effects: str, tasks: int, draws: int, a_group: int):
    """True gaps of the tasks around 0, and their draws."""
    spread = rng.exponential(size=tasks) - 1 if effects == "skewed" else rng.normal(size=tasks)
    of_draw = 3 * OF_DRAW if effects == DOMINANT else OF_DRAW
    true = OF_TASK * spread
    n_groups = N_IMAGES // a_group
    groups = np.repeat(np.arange(n_groups), a_group)
    out = []
    for gap in true:
        image = rng.normal(0, OF_IMAGE * np.sqrt(n_groups), n_groups)
        image = np.repeat(image, a_group)
        out.append([
            PairedDraw(
                differences=gap + rng.normal(0, of_draw) + image + rng.normal(0, OF_REST * np.sqrt(N_IMAGES), N_IMAGES),
                groups=groups,
            )
            for _ in range(draws)
        ])  # fmt: skip
    return true, out


def intervals(tasks, seed: int) -> Iterator[tuple[str, str, float, float]]:
    """(target, method, low, high) of each interval."""
    equal = np.full(len(tasks), 1 / len(tasks))
    nested = nested_interval(tasks, equal)
    yield "these tasks", THESE[0], nested.low, nested.high
    drawn = hierarchical_bootstrap(tasks, lambda means: means.mean(axis=-1), seed=seed, draws=400)
    yield "these tasks", THESE[1], drawn.low, drawn.high
    if len(tasks) > 1:
        gaps = np.array([np.mean([draw.differences.mean() for draw in task]) for task in tasks])
        for method, found in zip(
            POPULATION, (mean_interval(gaps), bca(gaps, seed=seed, draws=999, least=2), signed_rank(gaps)), strict=True
        ):
            yield "tasks like these", method, found.low, found.high


def tests_of(tasks) -> Iterator[tuple[str, float]]:
    """(test, p) of no mean gap over tasks."""
    gaps = np.array([np.mean([draw.differences.mean() for draw in task]) for task in tasks])
    yield "sign flips", sign_flip(gaps).p
    yield "signed ranks", signed_rank(gaps).p
    yield "win count", sign_test(int((gaps > 0).sum()), int((gaps < 0).sum())).p


def cell(effects: str, tasks: int, draws: int, a_group: int, studies: int) -> list[dict[str, object]]:
    """Coverage and false positives of one design."""
    rng = np.random.default_rng([tasks, draws, a_group, ["normal", "skewed", DOMINANT].index(effects)])
    covered: dict[tuple[str, str], list[bool]] = {}
    widths: dict[tuple[str, str], list[float]] = {}
    for i in range(studies):
        true, made = study(rng, effects, tasks, draws, a_group)
        for target, method, low, high in intervals(made, i):
            truth = true.mean() if target == "these tasks" else 0.0
            covered.setdefault((target, method), []).append(low <= truth <= high)
            widths.setdefault((target, method), []).append(high - low)
        for test, p in tests_of(made) if tasks > 1 else ():
            covered.setdefault(("no gap", test), []).append(p < 0.05)
    about = {"effects": effects, "tasks": tasks, "draws": draws, "images_a_group": a_group}
    return [
        {**about, "target": target, "method": method, "percent": 100 * np.mean(hits), "studies": len(hits),
         "median_width": np.median(widths[target, method]) if (target, method) in widths else np.nan}
        for (target, method), hits in covered.items()
    ]  # fmt: skip


def main(target: Path, studies: int) -> None:
    done = (
        pd.read_csv(target)
        if target.is_file()
        else pd.DataFrame(columns=["effects", "tasks", "draws", "images_a_group"])
    )
    there = set(done[["effects", "tasks", "draws", "images_a_group"]].itertuples(index=False, name=None))
    for design in CELLS:
        if design in there:
            continue
        done = pd.concat([done, pd.DataFrame(cell(*design, studies))], ignore_index=True)
        write_text(target, done.to_csv(index=False, float_format="%.4g", lineterminator="\n"))
        sys.stderr.write(f"{design} done\n")


def to_markdown(rows: pd.DataFrame) -> str:
    """A table a target: coverage of each interval, or false positives of each test, in percent."""
    keys = ["effects", "tasks", "draws", "images_a_group"]
    lines = []
    for target, group in rows.groupby("target", sort=False):
        wide = group.pivot(index=keys, columns="method", values="percent")[list(dict.fromkeys(group["method"]))]
        wide = wide.reset_index().rename(columns={"images_a_group": "images a group", "effects": "task effects"})
        lines += [
            f"**{target}**",
            "",
            "| " + " | ".join(map(str, wide.columns)) + " |",
            "|" + " ---: |" * wide.shape[1],
        ]
        for row in wide.to_dict("records"):
            cells = (f"{value:.1f}" if isinstance(value, float) else str(value) for value in row.values())
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    if "--table" in sys.argv:
        sys.stdout.write(to_markdown(pd.read_csv(Path(sys.argv[1]))))
    else:
        main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else STUDIES)
