import inspect
import json
import math
import re
from dataclasses import fields

import pandas as pd
import pytest
import typer

from vptft.cli import runs
from vptft.cli.options import guarded, progress, records, write_table
from vptft.errors import VptftError
from vptft.tuning.settings import TrainSettings


def test_json_keeps_numbers_and_has_a_null_for_what_is_none(capsys):
    frame = pd.DataFrame(
        {"x": [1 / 3, math.nan, math.inf], "n": [1, 2, 3], "far": [True, False, True], "id": ["a", "ü", "<"]}
    )
    write_table(frame, as_json=True)
    out = json.loads(capsys.readouterr().out)
    assert out == records(frame)
    assert out[0] == {"x": pytest.approx(1 / 3, abs=1e-15), "n": 1, "far": True, "id": "a"}
    assert [row["x"] for row in out[1:]] == [None, None]
    assert out[1]["id"] == "ü"


def test_a_table_shows_every_cell_as_it_is_and_no_markup(capsys):
    write_table(
        pd.DataFrame({"[red]name": ["[bold]x", "two words"], "value": [0.123456, 12.0]}), as_json=False, title="T"
    )
    shown = capsys.readouterr()
    assert shown.err == ""
    for word in ("T", "[red]name", "[bold]x", "two words", "0.1235", "12"):
        assert word in shown.out


def test_a_long_name_is_folded_and_not_cut(capsys):
    name = "x" * 300
    write_table(pd.DataFrame({"folder": [name]}), as_json=False)
    assert capsys.readouterr().out.count("x") == 300


def test_a_guarded_command_returns_and_keeps_its_name():
    @guarded
    def command(n: int) -> int:
        """Doubles."""
        return 2 * n

    assert command(3) == 6
    assert (command.__name__, command.__doc__) == ("command", "Doubles.")
    assert list(inspect.signature(command).parameters) == ["n"]


def test_a_guarded_command_lets_mistakes_of_ours_through():
    @guarded
    def broken():
        raise ZeroDivisionError("ours")

    with pytest.raises(ZeroDivisionError, match="ours"):
        broken()

    @guarded
    def failing():
        raise VptftError("theirs")

    with pytest.raises(typer.Exit, match="1"):
        failing()


def test_progress_goes_to_stderr_and_leaves_stdout_alone(capsys):
    with progress() as start:
        first, second = start("[both]", 2), start("one")
        first(1, 2)
        second(3, 3)
        first(2, 2)
    shown = capsys.readouterr()
    assert shown.out == ""


def test_the_help_of_train_tells_the_settings_defaults():
    """A recipe changes what is not given, so the options themselves have no default."""
    told = {}
    for name, parameter in inspect.signature(runs.train, eval_str=True).parameters.items():
        (option,) = getattr(parameter.annotation, "__metadata__", (None,)) or (None,)
        said = re.search(r"\[default: ([\d.]+)[,\]]", getattr(option, "help", None) or "")
        if said and name in {field.name for field in fields(TrainSettings)}:
            told[name] = float(said[1])
    assert told.keys() >= {"epochs", "batch_size", "weight_decay", "prompt_length", "image_size", "snapshots"}
    assert told == {name: getattr(TrainSettings(), name) for name in told}
