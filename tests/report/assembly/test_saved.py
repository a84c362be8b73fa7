"""What is saved is loaded while it can be read and is of the same inputs; otherwise it is made again."""

import pytest

from report.builders import make_slice
from vptft.report.assembly.saved import saved_or
from vptft.storage import read_json, write_json
from vptft.why.landscape.slices import LossSlice


@pytest.fixture
def made():
    """What was made, one entry each time."""
    return []


@pytest.fixture
def ask(tmp_path, made):
    def go(**inputs):
        def make(settings):
            made.append(inputs)
            found = make_slice("a", "ft")
            return type(found)(**{**vars(found), "settings": settings})

        return saved_or(LossSlice, tmp_path / "slice", inputs, make)

    return go


def test_the_same_question_is_answered_once_and_another_again(ask, made):
    first, again = ask(seed=0), ask(seed=0)
    assert first.settings == again.settings
    ask(seed=1)
    assert made == [{"seed": 0}, {"seed": 1}]


@pytest.mark.parametrize("damage", ["cut off", "of an older version", "a table that is gone"])
def test_what_cannot_be_read_is_made_again(ask, made, tmp_path, damage):
    ask(seed=0)
    path = tmp_path / "slice" / "result.json"
    if damage == "cut off":
        path.write_text(path.read_text(encoding="utf-8")[:50], encoding="utf-8")
    elif damage == "of an older version":
        write_json(path, {name: value for name, value in read_json(path).items() if name != "method"})
    else:
        (path.parent / "arrays.npz").unlink(missing_ok=True)
        for table in path.parent.glob("*.csv"):
            table.unlink()
    found = ask(seed=0)
    assert made == [{"seed": 0}] * 2
    assert LossSlice.load(path.parent).settings == found.settings
