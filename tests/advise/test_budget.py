import pandas as pd
import pytest

from vptft.advise.budget import Budget
from vptft.errors import SettingsError


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [("storage=5MB", "storage", 5e6), ("memory=1.5GiB", "memory", 1.5 * 2**30), ("parameters=2M", "parameters", 2e6),
     ("step=0.2s", "step", 200), ("forward=7ms", "forward", 7), ("parameters=300", "parameters", 300)],
)  # fmt: skip
def test_limits_are_read_in_their_units(text, name, value):
    assert Budget.parse([text]).limits == {name: pytest.approx(value)}


def test_limits_come_by_commas_and_by_repetition():
    assert set(Budget.parse(["storage=5MB, step=9ms", "memory=1GB"]).limits) == {"storage", "step", "memory"}


@pytest.mark.parametrize(
    ("text", "said"),
    [("storage", "'storage' is no limit"), ("colour=5", "'colour=5' is no limit"),
     ("storage=5ms", "not measured in 'ms'"),
     ("step=5", "step needs a unit"), ("storage=-5MB", "'storage=-5MB' is no limit")],
)  # fmt: skip
def test_what_is_no_limit_is_refused(text, said):
    with pytest.raises(SettingsError, match=said):
        Budget.parse([text])


def test_what_exceeds_a_limit_is_named_and_what_is_not_known_exceeds_none():
    costs = pd.DataFrame({"method": ["a", "b"], "stored_bytes": [6e6, 5e6], "peak_bytes": [2.0, float("nan")]})
    found = Budget.parse(["storage=5MB", "memory=1B"]).apply(costs)
    assert found["over_budget"].tolist() == ["storage, memory", ""]


def test_small_numbers_are_read_and_of_two_limits_the_stricter_counts():
    assert Budget.parse(["storage=1e-3MB"]).limits == {"storage": pytest.approx(1000)}
    assert Budget.parse(["storage=5mb,storage=1gb"]).limits == {"storage": pytest.approx(5e6)}
    with pytest.raises(SettingsError, match="memory needs a unit"):
        Budget.parse(["memory=1.5e9"])
