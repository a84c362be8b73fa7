"""``python -m vptft_plugin_example RUNS RESULTS``: measure class gaps and lay them where a page looks for them."""

import argparse
from itertools import groupby
from pathlib import Path

from vptft.checkpoints.native import find_runs
from vptft.checkpoints.pairs import RunPair, pair_runs
from vptft.storage import slug
from vptft_plugin_example.analysis import measure
from vptft_plugin_example.section import ANALYSIS


def main() -> None:
    """Parse, measure each task at each training size, save."""
    parser = argparse.ArgumentParser(prog="python -m vptft_plugin_example", description=measure.__doc__.splitlines()[0])
    parser.add_argument("runs", type=Path, help="a folder that holds runs of VPT and FT")
    parser.add_argument("results", type=Path, help="the results folder of a study")
    given = parser.parse_args()

    def cell(pair: RunPair) -> tuple[str, int]:
        return pair.vpt.info.task, pair.vpt.info.n_train or 0

    for (task, n), found in groupby(sorted(pair_runs(find_runs([given.runs])), key=cell), key=cell):
        pairs = list(found)
        predictions = [(pair.vpt.predictions(), pair.ft.predictions()) for pair in pairs]
        result = measure(predictions, task=f"{task}, n = {n}", classes=pairs[0].vpt.info.classes)
        result.save(given.results / ANALYSIS.key / f"{slug(task)}-{n}")


if __name__ == "__main__":
    main()
