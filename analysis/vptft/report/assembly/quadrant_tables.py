"""Tasks for the quadrants that are no runs: a table of accuracies, or the paper's own."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from vptft.errors import DataError
from vptft.published import tables
from vptft.when.quadrants.pairs import UNKNOWN, TaskPair
from vptft.when.quadrants.plane import Kind, Quadrants, measure

NEEDED = ("task", "accuracy_vpt", "accuracy_ft", "distance", "objective_is_far")
DATA_IS_FAR = {"natural": False, "specialized": True}
"""The paper's grouping of VTAB-1k by hand (Han et al. 2024, section 4.2)."""
PRINTED_SEEDS = 5
TRUE, FALSE = ("true", "1", "yes", "far"), ("false", "0", "no", "near")


def plane_of_csv(path: Path, *, boundary: Kind | None, seed: int) -> Quadrants:
    """Quadrants of a table with a row a task, accuracies in percent; an empty distance is unknown.

    With a column ``seed`` there is a row a task and training, and gaps get intervals over trainings.

    Raises
    ------
    DataError
        When the file is no table, lacks a column, names a task (and seed) twice, says different things of one task, or
        holds what is no number.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{path} could not be read as a table: {error}") from error
    if missing := [name for name in NEEDED if name not in table]:
        raise DataError(f"{path} lacks the columns {missing}; it has {list(table)}.", f"Needed: {', '.join(NEEDED)}.")
    of_task = ["task", *(["pretraining"] if "pretraining" in table else [])]
    keys = table[[*of_task, *(["seed"] if "seed" in table else [])]]
    if keys.duplicated().any():
        twice = " ".join(f"{name} {value!r}" for name, value in keys[keys.duplicated()].iloc[0].items())
        raise DataError(f"{path} names {twice} twice.", "Trainings of one task are told apart by a column `seed`.")
    rows = [(row, f"{path}, row {i}") for i, row in enumerate(table.to_dict("records"), start=2)]
    if "seed" not in table:
        return measure([_pair(*row) for row in rows], boundary=boundary, seed=seed, settings={"source": path.name})
    trainings: dict[tuple[str, ...], list[tuple[dict[Any, Any], str]]] = {}
    for row in rows:
        trainings.setdefault(tuple(row[0][name] for name in of_task), []).append(row)
    pairs = [_of_trainings(each) for each in trainings.values()]
    return measure(pairs, boundary=boundary, seed=seed, settings={"source": path.name})


def published_planes(*, boundary: Kind | None, seed: int) -> dict[str, Quadrants]:
    """Quadrants of the paper's tables: FGVC with the printed FIDs, and VTAB-1k by its grouping, without distances.

    Of FGVC all five objectives are near. VTAB's FIDs are printed as a bar chart only (Figure 3): of near objectives the
    paper's grouping says which data are far (Specialized), of Structured nothing does. All are means of five trainings.
    """
    printed = tables.load()
    gaps = tables.gaps(printed.accuracies)
    fgvc = tables.chosen(gaps, setting="fgvc").merge(printed.fids[["task", "fid"]], on="task")
    vtab = tables.chosen(gaps, setting="vtab1k", backbone="vit_b16", pretraining="imagenet21k_supervised")
    planes = {"quadrants-fgvc": fgvc.assign(measure_name="FID, as printed"), "quadrants-vtab": vtab}
    settings = {"source": "Han et al., ICLR 2024, Tables 1, 2 and 19"}
    return {
        name: measure(
            [_printed(row) for row in frame.to_dict("records")], boundary=boundary, seed=seed, settings=settings
        )
        for name, frame in planes.items()
    }


def _printed(row: Mapping[Any, Any]) -> TaskPair:
    far = row["group"] == "structured"
    return TaskPair(
        task=row["task"], group=row["group"], objective="geometric" if far else "classification", objective_is_far=far,
        pretraining="supervised", data_is_far=DATA_IS_FAR.get(row["group"]), accuracy_vpt=row["accuracy"] / 100,
        accuracy_ft=row["accuracy_against"] / 100, distance=float(row.get("fid", UNKNOWN)),
        measure_name=row.get("measure_name", ""), n_seeds=PRINTED_SEEDS,
    )  # fmt: skip


def _pair(row: Mapping[Any, Any], where: str) -> TaskPair:
    far = _truth(row["objective_is_far"], where)
    return TaskPair(
        task=row["task"], group=row.get("group", ""), objective=row.get("objective") or ("far" if far else "near"),
        objective_is_far=far, pretraining=row.get("pretraining") or "unknown", data_is_far=None,
        accuracy_vpt=_percent(row["accuracy_vpt"], where), accuracy_ft=_percent(row["accuracy_ft"], where),
        distance=_number(row["distance"], where, UNKNOWN), measure_name=row.get("measure") or "distance",
        disparity=_number(row.get("disparity", ""), where, UNKNOWN), n_seeds=_seeds(row.get("n_seeds", ""), where),
    )  # fmt: skip


def _of_trainings(rows: Sequence[tuple[Mapping[Any, Any], str]]) -> TaskPair:
    """One task of several trainings: what is said of the task is the same in each row."""
    differing = {"seed", "accuracy_vpt", "accuracy_ft", "n_seeds"}
    first = rows[0][0]
    for row, where in rows:
        for name, value in row.items():
            if name not in differing and value != first[name]:
                raise DataError(f"{where}: {name} of {row['task']!r} is {value!r}, in another row {first[name]!r}.")
    pairs = [_pair(row, where) for row, where in rows]
    gaps = tuple(pair.gap_points for pair in pairs)
    vpt, ft = (sum(getattr(p, name) for p in pairs) / len(pairs) for name in ("accuracy_vpt", "accuracy_ft"))
    return replace(pairs[0], accuracy_vpt=vpt, accuracy_ft=ft, seed_gaps=gaps, n_seeds=len(gaps))


def _number(text: str, where: str, empty: float | None = None) -> float:
    if empty is not None and not text.strip():
        return empty
    try:
        return float(text)
    except ValueError as error:
        raise DataError(f"{where}: {text!r} is no number.") from error


def _percent(text: str, where: str) -> float:
    value = _number(text, where)
    if not 0 <= value <= 100:
        raise DataError(f"{where}: {text} is no accuracy in percent.")
    return value / 100


def _seeds(text: str, where: str) -> int:
    """Trainings behind a row's accuracies; one where it does not say."""
    value = _number(text, where, 1)
    if value < 1 or value != int(value):
        raise DataError(f"{where}: n_seeds is {text!r}; it must be a whole number from 1 on.")
    return int(value)


def _truth(text: str, where: str) -> bool:
    if text.strip().lower() not in (*TRUE, *FALSE):
        raise DataError(f"{where}: objective_is_far is {text!r}; it must be true or false.")
    return text.strip().lower() in TRUE
