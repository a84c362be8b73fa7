"""Tables over many runs: means over seeds, the VTAB mean, and what a search chose, as the peers report them."""

import math
from collections.abc import Hashable, Iterable, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, Any

from vptft.checkpoints.histories.frame import TEST, VAL
from vptft.checkpoints.listed import ListedRun
from vptft.data import vtab

if TYPE_CHECKING:
    import pandas as pd

GROUPS = ("natural", "specialized", "structured")
COLUMNS = (
    "task", "group", "method", "stage", "seed", "lr", "base_lr", "wd", "accuracy", "accuracy_split", "epochs",
    "complete", "producer", "backbone", "experiment", "superseded",
)  # fmt: skip
"""Of the list of runs; then ``problems`` in one text, and ``folder``."""
MEAN_COLUMNS = (
    "producer", "method", "backbone", "experiment", "task", "group", "n", "mean", "std", "seeds", "cells", "left_out",
)  # fmt: skip
VTAB_COLUMNS = (
    "producer", "method", "backbone", "experiment", *GROUPS, *(f"n_{group}" for group in GROUPS), "mean", "incomplete",
)  # fmt: skip
CHOSEN_COLUMNS = (
    "producer", "method", "backbone", "experiment", "task", "searched", "without_accuracy", "lr", "wd", "tied_wd",
    "val_accuracy", "final_lr", "final_wd", "used",
)  # fmt: skip


def table(runs: Iterable[ListedRun]) -> "pd.DataFrame":
    """One row a run, in ``COLUMNS``, then ``problems`` and ``folder``."""
    import pandas as pd

    rows = [
        {name: getattr(run, name) for name in COLUMNS}
        | {"problems": "; ".join(_printable(problem) for problem in run.problems), "folder": _printable(run.folder)}
        for run in runs
    ]
    return pd.DataFrame(rows, columns=[*COLUMNS, "problems", "folder"])


def summaries(runs: Iterable[ListedRun]) -> "pd.DataFrame":
    """Mean and standard deviation (ddof 0, as the peers) of the test accuracy over the runs of a task and method.

    Searches are not in it. Runs that stopped early, were replaced or have no test accuracy are counted in
    ``left_out``. ``cells`` counts pairs of learning rate and weight decay: where it is above 1, the deviation is not
    that of seeds alone.
    """
    import pandas as pd

    rows = []
    for key, cell in _grouped(
        (run for run in runs if run.stage != "search"),
        lambda run: (run.producer, run.method, run.backbone, run.experiment, run.task, run.group),
    ):
        used = [run for run in cell if _usable(run)]
        scores = [run.accuracy for run in used if run.accuracy is not None]
        mean = sum(scores) / len(scores) if scores else math.nan
        variance = sum((score - mean) ** 2 for score in scores) / len(scores) if scores else math.nan
        rows.append((
            *key, len(scores), mean, math.sqrt(variance),
            ", ".join(str(run.seed) for run in used if run.seed is not None),
            len({(run.lr, run.wd) for run in used}), len(cell) - len(used),
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(MEAN_COLUMNS))


def vtab_means(runs: Iterable[ListedRun]) -> "pd.DataFrame":
    """VTAB means: the mean of the three group means, not of the 19 tasks.

    One row for each producer, method and backbone; for each experiment too where the experiments share a task, since
    tasks of different experiments may complement each other but not replace each other. The mean is NaN unless every
    group has a task; ``incomplete`` says what is missing of the 19.
    """
    import pandas as pd

    means = summaries(runs)
    means = means[means["group"].notna() & (means["n"] > 0)]
    rows = []
    for key, cell in _grouped(means.to_dict("records"), lambda row: (row["producer"], row["method"], row["backbone"])):
        shared = len({row["task"] for row in cell}) < len(cell)
        for (experiment,), part in _grouped(cell, lambda row, shared=shared: (row["experiment"] if shared else "",)):
            rows.append((*key, experiment, *_vtab_mean(part)))
    return pd.DataFrame(rows, columns=list(VTAB_COLUMNS))


def selections(runs: Iterable[ListedRun]) -> "pd.DataFrame":
    """What each search chose: the cell with the best validation accuracy of the last epoch; of equals the smaller lr.

    Their program leaves a tie between weight decays to the order of the file system: ``tied_wd`` has them all, and
    each counts as chosen. ``used`` says whether all final runs used what was chosen; None without final runs.
    """
    import pandas as pd

    rows = []
    for key, cell in _grouped(
        (run for run in runs if not run.superseded and run.stage != "run"),
        lambda run: (run.producer, run.backbone, run.experiment, run.task),
    ):
        searched = [run for run in cell if run.stage == "search"]
        if not searched:
            continue
        producer, backbone, experiment, task = key
        method = next((run.method for run in cell if run.method is not None), None)
        found = [
            run for run in searched if run.accuracy_split == VAL and run.accuracy is not None and run.lr is not None
        ]
        finals = [run for run in cell if run.stage == "final"]
        rows.append((
            producer, method, backbone, experiment, task, len(searched), len(searched) - len(found),
            *_chosen(found, finals),
        ))  # fmt: skip
    return pd.DataFrame(rows, columns=list(CHOSEN_COLUMNS)).astype({"used": object})


def _chosen(found: Sequence[ListedRun], finals: Sequence[ListedRun]) -> tuple[Any, ...]:
    final = tuple(_only({getattr(run, name) for run in finals}) for name in ("lr", "wd"))
    if not found:
        return None, None, "", None, *final, None
    best = max(run.accuracy or 0.0 for run in found)
    lr = min(run.lr or 0.0 for run in found if run.accuracy == best)
    wds = sorted({run.wd for run in found if run.accuracy == best and run.lr == lr and run.wd is not None})
    used = all(_same(run.lr, lr) and any(_same(run.wd, wd) for wd in wds) for run in finals) if finals else None
    tied = ", ".join(f"{wd:g}" for wd in wds) if len(wds) > 1 else ""
    return lr, wds[0] if wds else None, tied, best, *final, used


def _vtab_mean(rows: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
    by_group = {group: [row["mean"] for row in rows if row["group"] == group] for group in GROUPS}
    means = [sum(scores) / len(scores) if scores else math.nan for scores in by_group.values()]
    done = {row["task"] for row in rows}
    missing = [task.name for task in vtab.TASKS if task.name not in done]
    lacks = f"lacks {len(missing)} of {len(vtab.TASKS)} tasks: {', '.join(missing)}" if missing else ""
    return *means, *map(len, by_group.values()), sum(means) / len(means), lacks


def _usable(run: ListedRun) -> bool:
    return run.accuracy_split == TEST and run.accuracy is not None and run.complete is not False and not run.superseded


def _grouped(items: Iterable[Any], key: Any) -> list[tuple[tuple[Hashable, ...], list[Any]]]:
    """Items with an equal key, in the order of the keys; what is None comes first."""

    def order(item: Any) -> list[tuple[bool, str]]:
        return [(part is not None, str(part)) for part in key(item)]

    return [(key(cell[0]), cell) for cell in (list(group) for _, group in groupby(sorted(items, key=order), key=order))]


def _only(values: set[Any]) -> Any:
    return next(iter(values)) if len(values) == 1 else None


def _same(first: float | None, second: float | None) -> bool:
    return first is not None and second is not None and math.isclose(first, second, rel_tol=1e-6, abs_tol=0.0)


def _printable(value: object) -> str:
    """Text that any stream takes; names of files may hold bytes that are no text."""
    return str(value).encode("utf-8", "surrogateescape").decode("utf-8", "replace")
