"""Tables of the simulation: bias, standard error and coverage, by case and number of images.

python tests/simulations/summary.py SIMULATION.csv > TABLE.md
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

ESTIMATES = {"plain": "plug-in", "infinity": "FD-infinity", "delta": "delta method", "jackknife": "jackknife"}
HEADERS = ("N", "truth", *ESTIMATES.values(), "SE / sd", "coverage, SE alone", "coverage", "median width", "runs")


def summarise(rows: pd.DataFrame) -> pd.DataFrame:
    """One row a case and N: biases and width in % of the second set's variance, coverages in %."""
    out = []
    for (case, n), group in rows.groupby(["case", "n"], sort=False):
        scale, truth = 100 / group["variance"].mean(), group["truth"].iloc[0]
        spread = group["jackknife"].std(ddof=1)
        alone = (group["jackknife"] - truth).abs() <= 1.96 * group["se"]
        inside = (group["low"] <= truth) & (truth <= group["high"])
        out.append({
            "case": case, "n": n, "truth": scale * truth,
            **{name: scale * (group[name].mean() - truth) for name in ESTIMATES},
            "se_ratio": np.sqrt(np.square(group["se"]).mean()) / spread, "alone": 100 * alone.mean(),
            "coverage": 100 * inside.mean(), "width": scale * (group["high"] - group["low"]).median(),
            "runs": len(group),
        })  # fmt: skip
    return pd.DataFrame(out)


def to_markdown(table: pd.DataFrame) -> str:
    """One table a case."""
    lines = []
    for case, group in table.groupby("case", sort=False):
        lines += [f"**{case}**", "", "| " + " | ".join(HEADERS) + " |", "|" + " ---: |" * len(HEADERS)]
        for row in group.to_dict("records"):
            shown = [f"{row['n']:,}", f"{row['truth']:.1f}"]
            shown += [f"{row[name]:+.2f}".replace("-", "−") for name in ESTIMATES]
            shown += [f"{row['se_ratio']:.2f}", f"{row['alone']:.0f}", f"{row['coverage']:.0f}"]
            shown += [f"{row['width']:.2f}", str(row["runs"])]
            lines.append("| " + " | ".join(shown) + " |")
        lines.append("")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(to_markdown(summarise(pd.read_csv(Path(sys.argv[1])))))
