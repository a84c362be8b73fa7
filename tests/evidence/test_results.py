from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pandas as pd
import pytest

from vptft.errors import StorageError
from vptft.evidence.results import Result


@dataclass(frozen=True, kw_only=True)
class Sample(Result):
    """A result with one field of every kind."""

    analysis: ClassVar[str] = "sample"
    table: pd.DataFrame
    numbers: np.ndarray
    value: float
    words: list[str]


@dataclass(frozen=True, kw_only=True)
class Other(Sample):
    """The same fields under another name."""

    analysis: ClassVar[str] = "other"


@dataclass(frozen=True, kw_only=True)
class Bare(Result):
    """Settings alone."""

    analysis: ClassVar[str] = "bare"


TABLES = {
    "numbers": {"x": [1 / 3, 5e-324, -0.0, 1e300], "i": [1, 2, 3, 2**62]},
    "not numbers": {"x": [np.nan, np.inf, -np.inf, 1.0]},
    "all missing": {"x": [np.nan, np.nan]},
    "short floats": {"x": np.array([0.1, 1 / 3], dtype=np.float32)},
    "bools": {"far": [True, False, True]},
    "strings that look like numbers": {"id": ["001", "1e5", "12"]},
    "strings that look like nothing": {"id": ["NA", "null", "None", "nan", "", "True"]},
    "strings with everything": {"id": ["a,b", 'say "x"', "two\nlines", "<script>", "\u732b", " blank "]},
    "no rows": {"name": [], "x": []},
    "nothing": {},
}


def sample(kind=Sample, **fields):
    return kind(
        **{
            "settings": {"seed": 3, "key": "k"},
            "table": pd.DataFrame({"x": [1.0]}),
            "numbers": np.arange(3),
            "value": 1 / 3,
            "words": ["a"],
            **fields,
        }
    )


@pytest.mark.parametrize("columns", TABLES.values(), ids=TABLES)
def test_a_table_comes_back_with_its_values_and_types(tmp_path, columns):
    table = pd.DataFrame(columns)
    sample(table=table).save(tmp_path)
    pd.testing.assert_frame_equal(Sample.load(tmp_path).table, table, check_exact=True)


def test_a_table_without_rows_keeps_its_columns(tmp_path):
    table = pd.DataFrame([], columns=["hypothesis", "effect_points"])
    sample(table=table).save(tmp_path)
    assert list(Sample.load(tmp_path).table.columns) == ["hypothesis", "effect_points"]


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan"), 0.1, 5e-324])
def test_a_float_comes_back_even_where_json_has_no_number_for_it(tmp_path, value):
    sample(value=value).save(tmp_path)
    found = Sample.load(tmp_path).value
    assert found == value or (np.isnan(found) and np.isnan(value))


@pytest.mark.parametrize(
    "array", [np.zeros((0, 2)), np.array([[1.5]], dtype=np.float32), np.array(["a", "\u732b"]), np.array([True])]
)
def test_an_array_comes_back_with_its_type(tmp_path, array):
    sample(numbers=array).save(tmp_path)
    found = Sample.load(tmp_path).numbers
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_saving_the_same_twice_gives_the_same_bytes(tmp_path):
    for folder in ("a", "b"):
        sample().save(tmp_path / folder)
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert names == ["arrays.npz", "result.json", "table.csv"]
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_another_analysis_is_refused(tmp_path):
    sample(Other).save(tmp_path)
    with pytest.raises(StorageError, match="holds the analysis 'other', not 'sample'"):
        Sample.load(tmp_path)


@pytest.mark.parametrize("name", ["result.json", "table.csv", "arrays.npz"])
def test_a_missing_or_empty_file_is_refused(tmp_path, name):
    sample().save(tmp_path)
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(StorageError, match=f"{name} could not be read"):
        Sample.load(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(StorageError, match=rf"{name} could not be read|missing \['numbers'\]"):
        Sample.load(tmp_path)


def test_fields_of_another_version_are_named(tmp_path):
    Bare(settings={}).save(tmp_path)
    text = (tmp_path / "result.json").read_text()
    (tmp_path / "result.json").write_text(text.replace('"settings"', '"recipe"'))
    with pytest.raises(StorageError, match=r"missing \['settings'\], unknown \['recipe'\]"):
        Bare.load(tmp_path)


def test_a_save_that_stops_midway_leaves_no_result_that_loads(tmp_path, monkeypatch):
    sample(value=1.0).save(tmp_path)
    second = sample(value=2.0, table=pd.DataFrame({"x": [9.0]}))

    def stopped(*arguments, **arrays):
        raise KeyboardInterrupt("midway")

    with monkeypatch.context() as patch:
        patch.setattr(np, "savez_compressed", stopped)
        with pytest.raises(KeyboardInterrupt, match="midway"):
            second.save(tmp_path)
    with pytest.raises(StorageError, match=r"result\.json could not be read"):
        Sample.load(tmp_path)
    second.save(tmp_path)
    assert Sample.load(tmp_path).table["x"].tolist() == [9.0]


def test_a_result_says_that_it_has_no_table_and_no_findings():
    with pytest.raises(TypeError, match="Bare has no table"):
        Bare(settings={}).frame()
    assert Bare(settings={}).findings() == ()


def test_a_file_takes_no_result(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(StorageError, match="file cannot take a result: Not a directory"):
        sample().save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"
