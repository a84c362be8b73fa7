"""Y3 on planted studies: what goes with preservation is found, and what does not is not."""

from dataclasses import replace

import numpy as np
import pytest

from vptft.errors import NotApplicable
from vptft.why.features.explanation import BEATS_LINEAR, EXCESS, PRESERVES, measure
from why.features.studies import ladder, preserved


def term(result, term="linear", predictor="cka", methods="all"):
    found = result.terms.query("term == @term and predictor == @predictor and methods == @methods")
    return found.iloc[0]


def verdicts(result):
    """Of the four claims: preserves more, goes with accuracy, above its preservation, an optimum in between."""
    words = ("preserves more", "goes with accuracy", "Not trivially", "optimum")
    return [next(f for f in result.findings() if word in f.statement).verdict for word in words]


def test_a_planted_slope_is_found_and_supported():
    result = measure(ladder(lambda x: 20 * x, tasks=9))
    found = term(result)
    assert found["low"] < 2.0 < found["high"]
    assert found["high"] - found["low"] < 0.6
    assert (found["n_tasks"], found["n_methods"], found["n_seeds"]) == (9, 5, 3)
    assert verdicts(result) == ["supported", "supported", "refuted", "inconclusive"]


def test_a_planted_optimum_is_found_where_it_is():
    result = measure(ladder(lambda x: -200 * (x - 0.65) ** 2))
    found = term(result, "quadratic")
    assert found["low"] < -2.0 < found["high"] < 0
    assert found["turning"] == pytest.approx(0.65, abs=0.03)
    assert found["inside"]
    assert verdicts(result)[3] == "supported"


def test_what_does_not_go_with_preservation_is_not_found():
    result = measure(ladder(lambda x: 0.0))
    assert term(result)["low"] < 0 < term(result)["high"]
    assert verdicts(result)[1] == "inconclusive"


def test_vpt_above_the_line_of_the_others_is_not_trivial():
    result = measure(ladder(lambda x: 10 * x + (8 if 0.6 < x < 0.75 else 0), spread=0.01, tasks=9))
    row = result.contrasts.set_index("contrast").loc[EXCESS]
    assert row["low"] < 8 < row["high"]
    assert verdicts(result)[2] == "supported"
    assert row["extrapolated"] == 0


def test_the_gap_is_to_ft_of_the_same_seed():
    frame = measure(ladder(lambda x: 20 * x)).frame()
    ft = frame[frame["method"] == "ft"].set_index(["task", "seed"])["accuracy_points"]
    for row in frame.to_dict("records"):
        assert row["gap_points"] == pytest.approx(row["accuracy_points"] - ft[row["task"], row["seed"]])


def test_contrasts_are_means_over_tasks_of_means_over_seeds():
    runs = ladder(lambda x: 20 * x)
    result = measure(runs).contrasts.set_index("contrast")
    for name, second, value in ((PRESERVES, "ft", lambda r: r.scalar("cka")),
                                (BEATS_LINEAR, "linear", lambda r: 100 * r.accuracy)):  # fmt: skip
        means = [
            [np.mean([value(r) for r in runs if r.task == f"task {i}" and r.method == method]) for i in range(6)]
            for method in ("vpt_deep", second)
        ]
        assert result.loc[name, "value"] == pytest.approx(np.mean(np.subtract(*means)))


def test_probes_of_frozen_features_are_controls():
    result = measure(ladder(lambda x: 20 * x - (30 if x == 1.0 else 0)))
    assert term(result)["slope"] < 0 < term(result, methods="features moved")["slope"]
    statement = next(f.statement for f in result.findings() if "goes with accuracy" in f.statement)
    assert "CKA 1 by construction" in statement


@pytest.mark.parametrize(("fields", "claim", "reason"), [
    ({"seeds": 2}, "goes with accuracy", "2 seeds: no verdict"),
    ({"tasks": 2}, "goes with accuracy", "the 95% interval is not defined"),
    ({"tasks": 4}, "preserves more", "p = 0.38 after correction"),
])  # fmt: skip
def test_few_seeds_and_few_tasks_give_no_verdict(fields, claim, reason):
    found = next(f for f in measure(ladder(lambda x: 20 * x, **fields)).findings() if claim in f.statement)
    assert (found.verdict, found.reason) == ("inconclusive", reason)


def test_without_ft_what_needs_it_is_not_applicable():
    result = measure(ladder(lambda x: 20 * x, methods={"vpt_deep": 0.7, "linear": 1.0}))
    assert result.frame()["gap_points"].isna().all()
    refused = [f for f in result.findings() if f.verdict == "not applicable"]
    assert next(f.reason for f in refused) == "no task has runs of VPT and FT"


def test_pretraining_objectives_and_few_groups_are_not_pooled():
    own = ladder(lambda x: 20 * x, tasks=3)
    other = ladder(lambda x: -20 * x, tasks=3, pretraining="masked")
    crops = ladder(lambda x: 90 * x, tasks=1, few_groups=True, rng=9)
    result = measure([*own, *other, *crops])
    slopes = result.terms.query("predictor == 'cka' and methods == 'all' and term == 'linear'")
    assert dict(zip(slopes["pretraining"], np.sign(slopes["slope"]), strict=True)) == {
        "self-distilled": 1, "masked": -1,
    }  # fmt: skip
    assert len(result.findings()) == 8


def test_one_method_explains_nothing():
    with pytest.raises(NotApplicable, match="runs of two methods"):
        measure([preserved("ft", 0.5, 50, seed=seed) for seed in range(3)])


def test_a_probe_and_one_method_beside_it_are_a_contrast_and_no_dose():
    both = ladder(lambda x: 20 * x)
    pairs = ladder(lambda x: -90 * x, methods={"vpt_deep": 0.7, "linear": 1.0}, rng=1)
    alone, mixed = measure(both), measure([*both, *(replace(run, task=f"other {run.task}") for run in pairs)])
    assert term(mixed)["slope"] == term(alone)["slope"]
    assert mixed.contrasts.set_index("contrast").loc[BEATS_LINEAR, "n_tasks"] == 12
