"""Agreement with what the paper prints about overfitting: two counts, and no names of tasks."""

import pandas as pd

from vptft.evidence.verdicts import SEEDS_FOR_A_VERDICT

PRINTED = {"structured": (8, 8), "natural and specialized": (1, 11)}
"""Tasks on which "both methods overfit", and tasks of the group (Han et al. 2024, section 5.1 and appendix).

The text says "8 out of 9 Structured tasks", of which VTAB has 8; its appendix counts 9 of all 19, which leaves one of
the others. Which one is not printed, so only counts can agree.
"""
VTAB_GROUPS = {"natural": "natural and specialized", "specialized": "natural and specialized"}
COLUMNS = {
    "group": "str", "printed": "int64", "printed_of": "int64", "both_overfit": "int64", "neither_or_one": "int64",
    "cannot_tell": "int64", "says": "str",
}  # fmt: skip


def agreement(cells: pd.DataFrame, *, vpt: str = "vpt_deep", ft: str = "ft") -> pd.DataFrame:
    """Count the VTAB tasks on which both methods overfit, beside the printed counts.

    Parameters
    ----------
    cells
        Of :class:`~vptft.why.overfitting.curves.OverfittingCurves`, with the task groups of VTAB.
    vpt, ft
        The two methods.

    Returns
    -------
    DataFrame
        A row a printed group that has tasks of both methods here; columns :data:`COLUMNS`. ``says`` is ``agrees``
        where all tasks of the group are there and judged and the count is the printed one, ``differs`` where no
        outcome of what is missing could make it so, else ``cannot tell``.
    """
    rows = []
    wide = cells[cells["method"].isin([vpt, ft]) & (cells["n_seeds"] >= SEEDS_FOR_A_VERDICT)]
    groups = wide["task_group"].replace(VTAB_GROUPS)
    for group, (printed, of) in PRINTED.items():
        of_group = wide[groups == group].groupby("task")
        # One cell of each method, or it is not known which to set beside which.
        paired = of_group["method"].agg(lambda methods: sorted(methods) == sorted([vpt, ft]))
        verdicts = of_group["verdict"].agg(list)[paired]
        if verdicts.empty:
            continue
        both = int(verdicts.map(lambda found: found == ["overfits"] * 2).sum())
        no = int(verdicts.map(lambda found: "does not" in found).sum())
        possible = range(both, of - no + 1)
        says = "differs" if printed not in possible else "agrees" if len(possible) == 1 else "cannot tell"
        rows.append((group, printed, of, both, no, len(verdicts) - both - no, says))
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)
