import pytest

from vptft import errors
from vptft.errors import MissingExtraError, SettingsError, UnknownNameError, VptftError


def test_an_error_says_what_came_and_what_to_do():
    error = VptftError("3 came.", "Give 4.")
    assert (error.problem, error.hint, str(error)) == ("3 came.", "Give 4.", "3 came.\nGive 4.")
    assert str(VptftError("3 came.")) == "3 came."


@pytest.mark.parametrize(
    ("name", "near"), [("vpt_dep", "Did you mean vpt_deep"), ("FT", ""), ("linaer", "Did you mean linear?")]
)
def test_an_unknown_name_lists_the_known_and_the_nearest(name, near):
    error = UnknownNameError("method", name, ["vpt_deep", "linear", "ft"], hint="Or write one.")
    assert error.problem.startswith(f"There is no method named {name!r}.")
    assert near in error.problem
    assert ("Did you mean" in error.problem) == bool(near)
    assert error.hint == "Known: ft, linear, vpt_deep. Or write one."


def test_an_empty_registry_says_so():
    assert UnknownNameError("task", "x", []).hint == "No task is registered yet."


def test_every_error_is_one_the_command_line_can_print():
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]
    assert len(kinds) >= 10
    assert all(issubclass(kind, VptftError) for kind in kinds)


def test_a_bad_setting_is_also_a_value_error():
    assert issubclass(SettingsError, ValueError)


def test_a_missing_extra_gives_its_install_line():
    error = MissingExtraError("onnx", "demo", "Reading the weights")
    assert str(error) == (
        "Reading the weights needs the package onnx, which is not installed.\npip install 'vptft-analyze[demo]'"
    )
