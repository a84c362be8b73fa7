"""The quadrant claim as an interaction: FT ahead only where the objective is near and the data are far.

On a factorial suite it is a contrast that the design gives; on observed tasks a regression over tasks, with no more
terms than so many tasks bear.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vptft.errors import SettingsError

TASKS_A_TERM = 5
"""Tasks that each task-level term needs: below that, single tasks decide its sign."""
TERMS = ("distance", "disparity", "distance:disparity")


def interaction_weights(
    objective_is_far: Sequence[bool] | np.ndarray, data_is_far: Sequence[bool] | np.ndarray
) -> np.ndarray:
    """Weights ``(n_tasks,)`` of the designed contrast: how much more far data change the gap under a near objective.

    (near objective, far data) - (near, near) - [(far objective, far data) - (far, near)], each a mean over its tasks:
    negative if FT gains from far data where the objective is near only. Use with
    :func:`.components.nested_interval`.

    Raises
    ------
    SettingsError
        When a quadrant has no task: then nothing tells an interaction from two main effects.
    """
    objective, data = np.asarray(objective_is_far, dtype=bool), np.asarray(data_is_far, dtype=bool)
    weights = np.zeros(len(objective))
    for of_objective in (False, True):
        for of_data in (False, True):
            cell = (objective == of_objective) & (data == of_data)
            if not cell.any():
                words = f"{'far' if of_objective else 'near'} objective and {'far' if of_data else 'near'} data"
                raise SettingsError(f"No task has a {words}, so the interaction cannot be told.")
            weights[cell] = (1 if of_data != of_objective else -1) / cell.sum()
    return weights


def terms_for(n_tasks: int) -> tuple[str, ...]:
    """Give the task-level terms that so many tasks bear, in the order of :data:`TERMS`; none below five."""
    return TERMS[: n_tasks // TASKS_A_TERM]


def interaction(table: pd.DataFrame) -> pd.DataFrame:
    """Regress the gap on distance, disparity and their product over tasks, and on log n within them.

    Parameters
    ----------
    table
        A row a task and training size: task, gap_points, distance, disparity (any scale), n_train. One pretraining
        objective.

    Returns
    -------
    DataFrame
        A row a term: term (``mean`` at average covariates, those of :func:`terms_for`, ``log2 n`` where tasks have
        several sizes), estimate, low, high, p (two-sided, t), df, n_tasks. In points for one standard deviation over
        tasks, for two standard deviations' product, and for one doubling of n.

    Notes
    -----
    Two stages: a level and a slope for each task, then tasks are the sample. In balanced data that is nearly the mixed
    model with random level and slope (1 + log n | task), with t instead of z: tasks are few, and the mixed model's z
    intervals are too narrow for them. A term that tasks are too few for is left out, and then the others hold its
    part; observed tasks differ in more than these terms say.
    """
    of_task = _stage_one(table)
    terms = terms_for(len(of_task))
    if not terms:
        raise SettingsError(
            f"{len(of_task)} tasks bear no task-level term; one needs {TASKS_A_TERM}.", "Add tasks of one pretraining."
        )
    scaled = (of_task[["distance", "disparity"]] - of_task[["distance", "disparity"]].mean()) / of_task[
        ["distance", "disparity"]
    ].std(ddof=1)
    scaled["distance:disparity"] = scaled["distance"] * scaled["disparity"]
    rows = _ols(of_task["level"], scaled[list(terms)], "mean")
    if of_task["slope"].notna().all():
        rows += _ols(of_task["slope"], scaled[[]], "log2 n")
    return pd.DataFrame(rows).assign(n_tasks=len(of_task))


def _stage_one(table: pd.DataFrame) -> pd.DataFrame:
    """Per task the gap at the average log2 n, its slope (NaN with one size), and the covariates."""
    rows = []
    centre = float(np.log2(table["n_train"].astype(float)).mean())
    for task, group in table.groupby("task", sort=True):
        x = np.log2(group["n_train"].to_numpy(dtype=float)) - centre
        y = group["gap_points"].to_numpy(dtype=float)
        several = np.ptp(x) > 0
        slope, level = np.polyfit(x, y, 1) if several else (float("nan"), float(y.mean()))
        first = group.iloc[0]
        rows.append({
            "task": task, "level": level, "slope": slope, "distance": first["distance"],
            "disparity": first["disparity"],
        })  # fmt: skip
    return pd.DataFrame(rows)


def _ols(response: pd.Series, terms: pd.DataFrame, constant: str) -> list[dict[str, object]]:
    from statsmodels.regression.linear_model import OLS  # a second to import, and only regressions need it

    design = terms.assign(**{constant: 1.0})
    fit = OLS(response.to_numpy(dtype=float), design.to_numpy(dtype=float)).fit()
    intervals = fit.conf_int(0.05)
    return [
        {
            "term": name, "estimate": float(fit.params[i]), "low": float(intervals[i, 0]),
            "high": float(intervals[i, 1]), "p": float(fit.pvalues[i]), "df": float(fit.df_resid),
        }
        for i, name in enumerate(design.columns)
    ]  # fmt: skip
