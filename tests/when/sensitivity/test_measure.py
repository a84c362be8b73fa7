import numpy as np
import pytest

from vptft.errors import NotApplicable
from vptft.evidence.statistics.components import nested_interval
from vptft.when.sensitivity.measure import ALL, Conclusion, measure
from vptft.when.sensitivity.shares import DRAW
from vptft.when.sensitivity.specifications import specifications
from when.sensitivity.studies import factorial, trained

GAPS = {1: {"random": -20, "class_token": -18}, 10: {"random": 12, "class_token": 15}, 50: {"random": 20}}
PUBLISHED = {"t": Conclusion(winner="vpt", source="Table 1")}


@pytest.fixture(scope="module")
def result():
    return measure(factorial(GAPS, noise=0.5), reference={"prompt length": "10"}, conclusions=PUBLISHED)


def test_every_specification_has_its_gap_interval_and_winner(result):
    frame = result.frame()
    assert frame["winner"].tolist() == ["ft", "ft", "vpt", "vpt", "vpt"]
    assert frame["reference"].tolist() == [False, False, False, True, False]
    found = specifications(factorial(GAPS, noise=0.5))
    spec = next(s for s in found if s.levels == {"prompt length": "50", "prompt initialisation": "random"})
    expected = nested_interval([spec.images()], [1.0])
    assert frame.iloc[4][["gap_points", "low_points", "high_points"]].to_numpy(dtype=float) == pytest.approx(
        [expected.value, expected.low, expected.high]
    )


def test_choices_are_told_by_specification(result):
    told = result.choices.pivot(index="specification", columns="choice", values="level")
    assert told["prompt length"].tolist() == ["1", "1", "10", "10", "50"]
    assert told["prompt initialisation"].tolist() == ["class_token", "random", "class_token", "random", "random"]


def test_a_published_conclusion_flips_where_an_interval_lies_on_the_other_side(result):
    (row,) = result.verdicts.to_dict("records")
    assert (row["n_specifications"], row["n_opposite"], row["n_against"], row["n_agree"]) == (5, 2, 2, 3)
    assert (row["share_vpt"], row["share_ft"], row["share_uncertain"]) == (0.6, 0.4, 0.0)
    assert row["flips"]
    assert row["says"] == "VPT ahead (Table 1) flips in 2 of 5 specifications, holds in 3"


def test_without_one_the_reference_specification_is_the_conclusion():
    stable = {1: {"random": 18}, 10: {"random": 12}}
    said = measure(factorial(stable)).verdicts["says"].iloc[0]
    assert said == "VPT ahead (the reference specification) holds in all 2 specifications"
    unsure = measure(factorial({1: {"random": 18}, 10: {"random": 0}}), reference={"prompt length": "10"})
    assert unsure.verdicts["says"].iloc[0] == (
        "the reference specification is uncertain; VPT ahead in 1, FT in 0 of 2 specifications"
    )
    held = measure(factorial({1: {"random": 18}, 10: {"random": 0}}), conclusions=PUBLISHED)
    assert (
        held.verdicts["says"].iloc[0] == "VPT ahead (Table 1) holds in 1 of 2 specifications; the others are uncertain"
    )
    assert not held.verdicts["flips"].iloc[0]


def test_what_decides_the_gap_has_the_largest_share(result):
    table = result.shares.set_index("choice")
    assert table["share"].idxmax() == "prompt length"
    assert table.loc["prompt length", "share"] > 0.9
    assert table["share"].sum() == pytest.approx(1)


def test_the_spread_over_draws_is_pooled_over_specifications():
    runs = [trained("ft", 0.5, d) for d in range(3)]
    runs += [trained("vpt", 0.5 + 0.05 * d, d, choices={"x": x}) for d in range(3) for x in (1, 2)]
    assert measure(runs).verdicts["draw_sd_points"].iloc[0] == pytest.approx(5)
    assert np.isnan(measure([run for run in runs if run.draw == 0]).verdicts["draw_sd_points"].iloc[0])


def test_tasks_are_pooled_where_the_same_choices_vary_and_pretrainings_never():
    runs = [*factorial(GAPS, noise=1), *factorial(GAPS, noise=1, task="u", seed=1)]
    runs += factorial(GAPS, noise=1, task="u", seed=1, pretraining="masked")
    result = measure(runs)
    rows = result.shares[["pretraining", "task"]].drop_duplicates().to_numpy().tolist()
    assert rows == [["masked", "u"], ["supervised", "t"], ["supervised", "u"], ["supervised", ALL]]
    assert len(result.verdicts) == 3
    assert result.frame()["specification"].nunique() == 5


def test_runs_that_differ_in_nothing_say_so():
    result = measure(factorial({10: {"random": 10}}))
    assert result.reason == "not applicable: the runs of each task differ in no choice but the training draw and seed"
    assert len(result.frame()) == 1
    assert result.choices.empty
    assert result.shares.empty


def test_one_choice_and_one_draw_are_said():
    one = measure(factorial({1: {"random": 10}, 10: {"random": 5}}, noise=1))
    assert one.reason == "the runs vary in one choice only: prompt length"
    assert set(one.shares["choice"]) >= {"prompt length", DRAW}
    single = measure(factorial(GAPS, draws=1))
    assert single.reason.startswith("no variance shares: no task has two training draws")
    assert single.shares.empty
    assert len(single.frame()) == 5


def test_nothing_to_pair_is_refused():
    with pytest.raises(NotApplicable, match="agree in task, shared settings and training draw"):
        measure([trained("vpt", 0.5), trained("ft", 0.5, shared={"epochs": 100})])
