"""Does the paper's arithmetic agree with itself? Every printed mean, count and percentage, recomputed.

A discrepancy is data, not an accusation: it says which printed number cannot be used together with which other.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Literal

import pandas as pd

from vptft.data import vtab
from vptft.evidence.results import Result
from vptft.published.sentences import sentences
from vptft.published.tables import BLOCK, DECIMALS, Tables, gaps
from vptft.published.tuned import tuned_percents

Kind = Literal["group mean", "win count", "repeated cell", "same experiment", "tuned percent", "sentence"]
Outcome = Literal["agrees", "rounding", "differs"]
EXACT = 0.5 * 10**-DECIMALS
"""As far as a number and the same number printed can be apart."""
SLACK = 1e-9


@dataclass(frozen=True, kw_only=True)
class Check:
    """One printed number and the same number recomputed.

    Attributes
    ----------
    kind, table, cell
        What was checked, in which table, and which cell.
    printed, recomputed
        Both numbers.
    exact
        Difference up to which both are the same number as printed.
    rounding
        Difference up to which rounding of what went into it can explain.
    note
        What else is known of the difference.
    """

    kind: Kind
    table: str
    cell: str
    printed: float
    recomputed: float
    exact: float = 0.0
    rounding: float = 0.0
    note: str = ""

    @property
    def outcome(self) -> Outcome:
        """Agrees as printed, or can by rounding, or differs."""
        apart = abs(self.printed - self.recomputed)
        if apart <= self.exact + SLACK:
            return "agrees"
        return "rounding" if apart <= self.rounding + SLACK else "differs"


@dataclass(frozen=True, kw_only=True)
class Audit(Result):
    """All checks, one row each.

    Columns: those of :class:`Check`, ``outcome``, ``off`` (printed minus recomputed) and ``rounding`` (as far apart as
    rounding alone can put them).
    """

    analysis: ClassVar[str] = "published audit"
    table: pd.DataFrame

    def frame(self) -> pd.DataFrame:
        """Return every check, in the order of the kinds."""
        return self.table

    def discrepancies(self) -> pd.DataFrame:
        """Return the checks that do not agree as printed."""
        return self.table[self.table["outcome"] != "agrees"].reset_index(drop=True)

    def counts(self) -> pd.DataFrame:
        """Return how many checks of each kind agree, can by rounding, and differ."""
        found = pd.crosstab(self.table["kind"], self.table["outcome"], dropna=False)
        order = list(dict.fromkeys(self.table["kind"]))
        return found.reindex(index=order, columns=["agrees", "rounding", "differs"], fill_value=0).reset_index()


def measure(tables: Tables, *, settings: Mapping[str, Any] | None = None) -> Audit:
    """Recompute every printed number that other printed numbers determine."""
    checks = [
        *_means(tables),
        *_wins(tables),
        *_repeats(tables),
        *_same(tables),
        *_percents(tables),
        *_sentences(tables),
    ]
    rows = [
        {
            **{name: value for name, value in asdict(check).items() if name not in ("exact", "note")},
            "off": round(check.printed - check.recomputed, 6),
            "outcome": check.outcome,
            "note": check.note,
        }
        for check in checks
    ]
    columns = ["kind", "table", "cell", "printed", "recomputed", "off", "rounding", "outcome", "note"]
    rule = (
        "A mean of cells printed to 0.1 can be off by 0.05 and is itself printed to 0.01, 0.005 more; percentages are "
        "printed to 0.01; counts are whole, and a tie is no win"
    )
    return Audit(settings={"rule": rule, "seed": 0, **(settings or {})}, table=pd.DataFrame(rows)[columns])


def _means(tables: Tables) -> Iterator[Check]:
    for row, cells in _printed(tables):
        half_units = 0.5 * 10.0 ** -cells["decimals"]
        mean = float(cells["accuracy"].mean())
        yield Check(
            kind="group mean", table=row["table"], cell=_cell(row), printed=row["published_mean"], recomputed=mean,
            exact=EXACT, rounding=float(half_units.mean()) + EXACT,
            note=_other_count(row["published_mean"], float(cells["accuracy"].sum()), len(cells)),
        )  # fmt: skip


def _wins(tables: Tables) -> Iterator[Check]:
    for row, cells in _printed(tables):
        if pd.isna(row["published_wins"]):
            continue
        won = gaps(tables.accuracies, method=row["method"]).merge(cells[[*BLOCK, "task"]], on=[*BLOCK, "task"])
        count, ties = int((won["winner"] == row["method"]).sum()), list(won.loc[won["winner"] == "tie", "task"])
        yield Check(
            kind="win count", table=row["table"], cell=_cell(row), printed=row["published_wins"], recomputed=count,
            note=f"a tie counted as a win: {', '.join(ties)}" if count + len(ties) == row["published_wins"] else "",
        )  # fmt: skip


def _repeats(tables: Tables) -> Iterator[Check]:
    """Compare the cells at n = 800 with those of the main tables that they repeat."""
    cells = tables.accuracies
    on = ["backbone", "pretraining", "method", "task"]
    main = cells.loc[cells["setting"] == "vtab1k", [*on, "accuracy"]]
    both = cells[cells["repeats"]].merge(main, on=on, suffixes=("", "_main"), validate="one_to_one")
    for row in both.to_dict("records"):
        yield Check(
            kind="repeated cell", table=row["table"], cell=f"{row['method']} on {row['task']}, n = 800",
            printed=row["accuracy"], recomputed=row["accuracy_main"],
            note="recomputed: the same cell in the main table",
        )  # fmt: skip


def _same(tables: Tables) -> Iterator[Check]:
    """Compare FT on CIFAR-100 in the LoRA table with FT on it at the same size in the table of sizes."""
    cells = tables.accuracies[tables.accuracies["method"] == "ft"]
    sizes = cells.loc[cells["setting"] == "data_scale", ["task", "n_train", "accuracy"]]
    both = cells[cells["setting"] == "lora"].merge(sizes, on=["task", "n_train"], suffixes=("", "_sizes"))
    for row in both.to_dict("records"):
        yield Check(
            kind="same experiment", table=row["table"], cell=f"ft on {row['task']}, n = {row['n_train']}",
            printed=row["accuracy"], recomputed=row["accuracy_sizes"],
            note="recomputed: Table 5, FT on the same task and size; the LoRA table is one experiment",
        )  # fmt: skip


def _percents(tables: Tables) -> Iterator[Check]:
    """Compare Tuned/Total with what the printed prompt lengths give."""
    for row in tuned_percents(tables).to_dict("records"):
        length, implied = row["prompt_length"], row["implied_length"]
        fits = "fits no printed length alone" if pd.isna(implied) else f"fits prompt length {implied:.0f}"
        yield Check(
            kind="tuned percent", table=row["table"], cell=f"{row['task']}, prompt length {length}",
            printed=row["printed"], recomputed=row["of_all_with_head"], exact=EXACT, rounding=EXACT,
            note="" if implied == length else fits,
        )  # fmt: skip


def _sentences(tables: Tables) -> Iterator[Check]:
    """Compare counts in the text with the tables."""
    groups = {
        group: sum(task.group == group for task in vtab.TASKS) for group in ("natural", "specialized", "structured")
    }
    for said in sentences(tables, groups):
        yield Check(
            kind="sentence", table="text", cell=said.text, printed=said.printed, recomputed=said.recomputed,
            note=said.note,
        )  # fmt: skip


def _printed(tables: Tables) -> Iterator[tuple[dict[str, Any], pd.DataFrame]]:
    """Each printed mean with the cells it is the mean of."""
    on = [*BLOCK, "method", "group"]
    cells = dict(iter(tables.accuracies.groupby(on, sort=False)))
    for row in tables.means.to_dict("records"):
        yield {str(name): value for name, value in row.items()}, cells[tuple(row[name] for name in on)]


def _cell(row: Mapping[str, Any]) -> str:
    n = {"1000": "", "1 per class": "one-shot", "full": ""}.get(row["n_train"], f"n = {row['n_train']}")
    block = [row["method"], row["group"], n, "" if row["backbone"] == "vit_b16" else row["backbone"]]
    pretraining = "" if row["pretraining"] == "imagenet21k_supervised" else row["pretraining"]
    return ", ".join(filter(None, [*block, pretraining]))


def _other_count(printed: float, total: float, n: int) -> str:
    """Say when the printed mean is the same sum over another number of tasks."""
    for divisor in (n - 1, n + 1):
        if abs(total / divisor - printed) <= EXACT + SLACK:
            return f"is the sum of the {n} printed cells over {divisor}"
    return ""
