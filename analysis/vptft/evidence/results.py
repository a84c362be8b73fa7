"""Result: what every analysis returns. Its table, its findings, and one way to save and load it."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from vptft.errors import StorageError
from vptft.evidence.findings import Finding
from vptft.storage import atomic_path, read_arrays, read_json, write_json, write_text


@dataclass(frozen=True, kw_only=True)
class Result:
    """Base of all results: frozen fields that are tables, arrays or plain values.

    Attributes
    ----------
    settings
        The settings the analysis ran with, as resolved.
    """

    analysis: ClassVar[str]
    settings: Mapping[str, Any]

    def frame(self) -> pd.DataFrame:
        """Long-form table that every figure of this result is drawn from."""
        raise TypeError(f"{type(self).__name__} has no table.")

    def findings(self) -> tuple[Finding, ...]:
        """What this result says about the hypotheses; empty where it is a picture rather than evidence."""
        return ()

    def save(self, folder: Path) -> None:
        """Write ``result.json``, one CSV a table, and ``arrays.npz``; the JSON last, so it marks completeness."""
        try:
            (folder / "result.json").unlink(missing_ok=True)
        except OSError as error:
            raise StorageError(f"{folder} cannot take a result: {error.strerror}.", "Give a folder.") from error
        tables: dict[str, dict[str, str]] = {}
        plain: dict[str, Any] = {"analysis": self.analysis, "tables": tables}
        arrays: dict[str, np.ndarray] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, pd.DataFrame):
                tables[field.name] = {str(column): str(dtype) for column, dtype in value.dtypes.items()}
                write_text(folder / f"{field.name}.csv", value.to_csv(index=False, lineterminator="\n"))
            elif isinstance(value, np.ndarray):
                arrays[field.name] = value
            elif isinstance(value, float) and not math.isfinite(value):
                plain[field.name] = str(value)
            else:
                plain[field.name] = value
        if arrays:
            with atomic_path(folder / "arrays.npz") as path:
                np.savez_compressed(path, **arrays)  # type: ignore[arg-type]  # numpy's stub wants no str keys
        write_json(folder / "result.json", json.loads(json.dumps(plain, allow_nan=False)))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read what :meth:`save` wrote; another analysis' folder is refused."""
        plain = read_json(folder / "result.json")
        found = plain.pop("analysis", None)
        if found != cls.analysis:
            raise StorageError(f"{folder} holds the analysis {found!r}, not {cls.analysis!r}.")
        tables = plain.pop("tables", {})
        values: dict[str, Any] = dict(plain)
        if (folder / "arrays.npz").is_file():
            values |= read_arrays(folder / "arrays.npz")
        values |= {name: _read_table(folder / f"{name}.csv", dtypes) for name, dtypes in tables.items()}
        names = {field.name for field in fields(cls)}
        missing, unknown = sorted(names - values.keys()), sorted(values.keys() - names)
        if missing or unknown:
            raise StorageError(
                f"{folder} does not hold this result: missing {missing}, unknown {unknown}.", "Make the result again."
            )
        for field in fields(cls):
            if field.type is float:  # an infinity is a word in the file: JSON has no number for it
                values[field.name] = float(values[field.name])
        return cls(**values)


def _read_table(path: Path, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Read a table with the columns it was written with; an empty cell is NaN in a column of numbers only."""
    if not dtypes:
        return pd.DataFrame()
    try:
        text = pd.read_csv(path, dtype=str, keep_default_na=False)
        return pd.DataFrame({name: _column(text[name], dtype) for name, dtype in dtypes.items()})
    except (OSError, ValueError, KeyError) as error:
        raise StorageError(f"{path} could not be read as a table: {error}", "Make the result again.") from error


def _column(text: pd.Series, dtype: str) -> pd.Series:
    """Cells as written to the values they were written from; Python reads a float back exactly."""
    kind = pd.api.types.pandas_dtype(dtype)
    if kind.kind == "f":
        return pd.Series([float(cell or "nan") for cell in text], dtype=dtype)
    return text == "True" if kind.kind == "b" else text.astype(kind)
