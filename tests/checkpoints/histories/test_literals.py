import math

import pytest

from vptft.checkpoints.histories.literals import MAX_DEPTH, MAX_LENGTH, read_literal


@pytest.mark.parametrize(
    "value",
    [1, -2, 1.5, -1e-05, 1e300, "a", 'it\'s "quoted"', "back\\slash\n", "", True, False, None, [], [1], (), (1,),
     (1, 2), {}, {"a": [1, {"b": (None, "c")}]}, {1: 2, None: 3, 0.5: 4}, "ünï\u2028", [[[["deep"]]]]],
    ids=repr,
)  # fmt: skip
def test_what_python_prints_is_read_back(value):
    assert read_literal(repr(value)) == value


def test_settings_nodes_are_dicts_and_strings_may_be_broken():
    assert read_literal("CfgNode({'A': CfgNode({'B': 'x'\n 'y'}), 'C': CfgNode({}),})") == {"A": {"B": "xy"}, "C": {}}
    assert read_literal("(1)") == 1
    assert read_literal("inf") == math.inf
    assert math.isnan(read_literal("nan"))
    assert read_literal(r"'\d'") == r"\d"


def test_half_a_surrogate_becomes_something_that_can_be_printed():
    assert read_literal(r"'a\ud800b'").encode() == b"a?b"


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "unexpected 'end'"), ("1 2", "unexpected '2'"), ("1 + 1", "unexpected '\\+'"), ("1+1", "'1\\+1' is no value"),
     ("3+4j", "no value"), ("f(1)", "'f' is no value"), ("a.b", "no value"), ("[1", "unexpected 'end'"),
     ("[1}", "unexpected '}'"), ("{1}", "a dict needs plain keys"), ("{[]: 1}", "a dict needs plain keys"),
     ("CfgNode(1)", "holds one dict"), ("b'x'", "no value"), ("[1][0]", "unexpected '\\['"), ("lambda: 1", "no value"),
     ("'open", "unexpected"), ("{1:", "unexpected 'end'"), ("{1", "the text ends too early"),
     ("[" * (MAX_DEPTH + 2), "nested too deeply"), (" " * (MAX_LENGTH + 1), "more than settings have")],
    ids=lambda text: text[:12],
)  # fmt: skip
def test_anything_else_is_refused(text, said):
    with pytest.raises(ValueError, match=said):
        read_literal(text)
