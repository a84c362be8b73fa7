"""Which share of the parameters VPT tunes, by the printed percentages and by the printed prompt lengths.

ViT-B/16, VPT-deep: P prompts of width 768 before each of 12 layers, and a linear head.
"""

import pandas as pd

from vptft.data import vtab
from vptft.published.tables import DECIMALS, Tables

LAYERS, WIDTH = 12, 768
BACKBONE = 85_798_656
"""Parameters of ViT-B/16 at 224 pixels without a head; a test counts them."""
SHARES = ("of_all_with_head", "of_all", "of_backbone_with_head", "of_backbone")
"""Readings of "Tuned/Total": the head counted or not, over all parameters or over the backbone's."""


def tuned_percents(tables: Tables) -> pd.DataFrame:
    """Give the printed percentage of each task beside what its printed prompt length gives.

    Returns
    -------
    DataFrame
        ``table``, ``task``, ``prompt_length``, ``printed``, a column for each of :data:`SHARES` (percent), and
        ``implied_length``: the one printed length with which ``of_all_with_head`` rounds to the printed percentage,
        NaN where none does or several do. Percentages are taken as printed to 0.01: of "0.1" and "0.2" the last digit
        is lost, and if they were printed to 0.1 more lengths would fit.
    """
    frame = tables.tuned_percents.merge(tables.prompt_lengths[["task", "prompt_length"]], on="task", validate="1:1")
    lengths = sorted(set(tables.prompt_lengths["prompt_length"]))
    rows = []
    for row in frame.to_dict("records"):
        classes = vtab.find(row["task"]).classes
        fits = [each for each in lengths if rounds_to(percent(each, classes), row["tuned_percent"])]
        rows.append({
            "table": row["table"], "task": row["task"], "prompt_length": row["prompt_length"],
            "printed": row["tuned_percent"],
            **{name: percent(row["prompt_length"], classes, share=name) for name in SHARES},
            "implied_length": float(fits[0]) if len(fits) == 1 else float("nan"),
        })  # fmt: skip
    return pd.DataFrame(rows)


def readings(frame: pd.DataFrame) -> pd.Series:
    """Count the tasks whose printed percentage each reading of "Tuned/Total" gives with the printed prompt length."""
    return pd.Series(
        {name: sum(map(rounds_to, frame[name], frame["printed"])) for name in SHARES}, name="tasks that agree"
    )


def percent(length: int, classes: int, *, share: str = SHARES[0]) -> float:
    """Percentage of parameters tuned by VPT-deep with ``length`` prompts a layer and a head for ``classes``."""
    prompts = LAYERS * length * WIDTH
    head = (WIDTH + 1) * classes if share.endswith("with_head") else 0
    return 100 * (prompts + head) / (BACKBONE + (prompts + head if share.startswith("of_all") else 0))


def rounds_to(value: float, printed: float) -> bool:
    """Whether ``value`` is printed as ``printed``."""
    return abs(round(value, DECIMALS) - printed) < 1e-9
