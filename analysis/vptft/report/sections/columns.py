"""From the columns of a result to a table of text: what is shown, under which name, and how."""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vptft.report.sections.parts import Table
from vptft.tuning.methods import called


class Column(NamedTuple):
    """A column of a table.

    Attributes
    ----------
    heading
        As it stands in the table.
    value
        Name of the frame's column.
    form
        Format of a number; ``""`` is text.
    ends
        Names of the ends of its interval, put in brackets behind it.
    scale
        What a number is multiplied with.
    says
        What readers are told in place of a text.
    """

    heading: str
    value: str
    form: str = ""
    ends: tuple[str, str] | None = None
    scale: float = 1.0
    says: Callable[[str], str] = str


METHOD = Column("method", "method", says=called)


def table(frame: pd.DataFrame, caption: str, columns: Sequence[Column], *, of_task: str = "task") -> Table:
    """Return the rows of a frame as text; a number that is missing is empty, a column without any is left out."""
    cells = [[_cell(row, column) for column in columns] for row in frame.to_dict("records")]
    told = [i for i in range(len(columns)) if any(row[i] for row in cells)]
    return Table(
        caption=caption,
        columns=[columns[i].heading for i in told],
        rows=[[row[i] for i in told] for row in cells],
        numbers=frozenset(place for place, i in enumerate(told) if columns[i].form),
        of_task=of_task,
        values=_values(frame, [columns[i] for i in told]),
    )


def _values(frame: pd.DataFrame, columns: Sequence[Column]) -> pd.DataFrame:
    """The numbers behind the cells: ends of an interval in columns of their own."""
    out: dict[str, Any] = {}
    for column in columns:
        scaled = frame[column.value] * column.scale if column.form and column.scale != 1 else frame[column.value]
        out[column.heading] = scaled
        for end, name in zip(("low", "high"), column.ends or (), strict=False):
            out[f"{column.heading} {end}"] = frame[name] * column.scale
    return pd.DataFrame(out)


def training_images(frame: pd.DataFrame, name: str = "n_train") -> list[Column]:
    """The column that says how many training images a row is of; none where all are of as many."""
    return [Column("training images", name, ",d")] if frame[name].nunique() > 1 else []


def _cell(row: dict[Any, Any], column: Column) -> str:
    value = row[column.value]
    if not column.form:
        return "" if value is None or value != value else column.says(str(value))  # a NaN differs from itself
    if value is None or not np.isfinite(value):
        return ""
    said = _number(value, column)
    if column.ends is None:
        return said
    ends = [row[name] for name in column.ends]
    if any(end is None or not np.isfinite(end) for end in ends):
        return said
    return f"{said} [{', '.join(_number(end, column) for end in ends)}]"


def _number(value: float, column: Column) -> str:
    scaled = round(value) if column.form.endswith("d") else column.scale * value
    said = f"{scaled:{column.form}}"
    return said.replace("-", "−") if re.search("[1-9]", said) else said.lstrip("+-")  # zero has no sign
