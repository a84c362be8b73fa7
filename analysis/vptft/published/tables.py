"""The numbers that Han et al. (ICLR 2024, arXiv 2401.12902) print, as tidy tables.

The files lie beside this module, with their source in ``data/README.md``. Nothing is filled in: a cell that the paper
prints as "-" has no row.
"""

from dataclasses import dataclass
from importlib.resources import files
from io import StringIO

import numpy as np
import pandas as pd

from vptft.errors import SettingsError

BLOCK = ("setting", "backbone", "pretraining", "n_train")
"""What two methods must share to be compared."""
GROUPS = ("natural", "specialized", "structured", "fgvc")
"""In the paper's order."""
VIT, SWIN = "vit_b16", "swin_b"
SUPERVISED, MAE, MOCO = "imagenet21k_supervised", "mae", "moco_v3"
DECIMALS = 2
"""To which means and percentages are printed."""
GAP_COLUMNS = (
    "table", *BLOCK, "images", "group", "task", "method", "against", "accuracy", "accuracy_against", "gap_points",
    "winner", "repeats",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Tables:
    """All tables, typed.

    Attributes
    ----------
    accuracies
        ``table``, ``backbone``, ``pretraining``, ``method``, ``n_train`` (as printed), ``setting``, ``group``,
        ``task``, ``accuracy`` (percent), ``decimals`` (to which the cell is printed), ``images`` (``n_train`` as a
        number, NaN where it is none) and ``repeats``: the cell stands in another table already.
    means
        ``published_mean`` (percent) and ``published_wins`` (NaN where none is printed) of each method and group.
    fids, prompt_lengths, tuned_percents
        By ``task``: ``fid``, ``prompt_length``, ``tuned_percent``.
    """

    accuracies: pd.DataFrame
    means: pd.DataFrame
    fids: pd.DataFrame
    prompt_lengths: pd.DataFrame
    tuned_percents: pd.DataFrame


def load() -> Tables:
    """Read the tables that ship with the package."""
    cells = _read("accuracies")
    cells["decimals"] = [len(text.partition(".")[2]) for text in cells["accuracy"]]
    cells["accuracy"] = cells["accuracy"].astype(float)
    cells["images"] = pd.to_numeric(cells["n_train"], errors="coerce").astype(float)
    cells["repeats"] = (cells["setting"] == "data_scale") & (cells["n_train"] == "800")
    means = _read("published_means")
    for column in ("published_mean", "published_wins"):
        means[column] = pd.to_numeric(means[column]).astype(float)
    return Tables(
        accuracies=cells,
        means=means,
        fids=_read("fid_fgvc").astype({"fid": float}),
        prompt_lengths=_read("prompt_lengths").astype({"prompt_length": int}),
        tuned_percents=_read("tuned_percent").astype({"tuned_percent": float}),
    )


def gaps(cells: pd.DataFrame, *, method: str = "vpt", against: str = "ft") -> pd.DataFrame:
    """Give one row for each task on which both methods are printed under the same conditions.

    Parameters
    ----------
    cells
        The accuracies of :class:`Tables`.
    method, against
        Names of methods; the gap is ``method`` minus ``against``, in points.

    Returns
    -------
    DataFrame
        ``GAP_COLUMNS``. ``winner`` is one of both names, or ``tie`` where the printed accuracies are equal: then
        neither has won. Gaps are differences of rounded numbers, so each can be off by 0.1.

    Raises
    ------
    SettingsError
        A method that is not in the tables.
    """
    known = sorted(set(cells["method"]))
    for name in (method, against):
        if name not in known:
            raise SettingsError(f"The tables hold the methods {', '.join(known)}, not {name!r}.")
    on = [*BLOCK, "group", "task"]
    theirs = cells.loc[cells["method"] == against, [*on, "accuracy"]]
    ours = cells[cells["method"] == method].drop(columns="decimals")
    frame = ours.merge(theirs, on=on, suffixes=("", "_against"), validate="one_to_one")
    frame["against"] = against
    frame["gap_points"] = (frame["accuracy"] - frame["accuracy_against"]).round(DECIMALS)
    frame["winner"] = np.select([frame["gap_points"] > 0, frame["gap_points"] < 0], [method, against], "tie")
    return frame[list(GAP_COLUMNS)]


def chosen(frame: pd.DataFrame, **values: str | float) -> pd.DataFrame:
    """Give the rows whose columns have these values; a selection that is empty is refused.

    Raises
    ------
    SettingsError
        When no row is left, so that a misspelt name never passes for a table without rows.
    """
    for column, value in values.items():
        kept = frame[frame[column] == value]
        if kept.empty:
            there = ", ".join(sorted({str(each) for each in frame[column]}))
            raise SettingsError(f"No printed number has {column} = {value!r}; there are {there}.")
        frame = kept
    return frame.reset_index(drop=True)


def _read(name: str) -> pd.DataFrame:
    """Read a table as the text it is; what is missing stays missing."""
    text = (files("vptft.published") / "data" / f"{name}.csv").read_text(encoding="utf-8")
    return pd.read_csv(StringIO(text), dtype=str)
