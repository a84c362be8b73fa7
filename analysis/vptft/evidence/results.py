"""Result: what every analysis returns. Its table, its findings, and one way to save and load it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import pandas as pd

from vptft.errors import StorageError
from vptft.evidence.findings import Finding
from vptft.storage import atomic_path, read_json, write_json, write_text


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
        plain: dict[str, Any] = {"analysis": self.analysis}
        arrays: dict[str, np.ndarray] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, pd.DataFrame):
                write_text(folder / f"{field.name}.csv", value.to_csv(index=False, lineterminator="\n"))
            elif isinstance(value, np.ndarray):
                arrays[field.name] = value
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
        values: dict[str, Any] = dict(plain)
        if (folder / "arrays.npz").is_file():
            with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
                values |= {name: arrays[name] for name in arrays.files}
        for field in fields(cls):
            if (path := folder / f"{field.name}.csv").is_file():
                values[field.name] = pd.read_csv(path, keep_default_na=True)
        missing = sorted({field.name for field in fields(cls)} - values.keys())
        if missing:
            raise StorageError(f"{folder} is incomplete: {', '.join(missing)} missing.", "Make the result again.")
        return cls(**values)
