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
    assert (found["n_tasks"], found["n_methods"], found["n_seeds"]) == (9, 7, 3)
    assert term(result, methods="features moved")["n_methods"] == 6
    assert verdicts(result) == ["supported", "supported", "refuted", "inconclusive"]


def test_a_planted_optimum_is_found_where_it_is():
    result = measure(ladder(lambda x: -200 * (x - 0.65) ** 2))
    found = term(result, "quadratic")
    assert found["low"] < -2.0 < found["high"] < 0
    assert found["turning"] == pytest.approx(0.65, abs=0.03)
    assert found["inside"]
    assert verdicts(result)[3] == "supported"


@pytest.mark.parametrize("answer", [lambda x: 30 * np.sqrt(x), lambda x: 20 * x - 10 * x**2])
def test_a_bend_that_turns_beyond_the_runs_is_no_optimum(answer):
    result = measure(ladder(answer, tasks=8, noise=0.05))
    found = term(result, "quadratic", methods="features moved")
    assert found["high"] < 0
    assert not found["inside"]
    (claim,) = (f for f in result.findings() if "optimum" in f.statement)
    assert (claim.verdict, claim.reason) == (
        "inconclusive", "it bends, but turns beyond the runs: no optimum is among them",
    )  # fmt: skip


def test_frozen_features_decide_no_verdict():
    """Flat among the methods that move features; the probe, at CKA 1 by construction, lies far below."""
    flat = measure(ladder(lambda x: -15.0 if x == 1.0 else 0.0, tasks=8, noise=0.05))
    assert term(flat, "quadratic")["slope"] < 0
    assert verdicts(flat)[3] != "supported"
    rising = measure(ladder(lambda x: 10 * x - (20 if x == 1.0 else 0), tasks=8, noise=0.05))
    assert term(rising)["slope"] < 0
    assert verdicts(rising)[1] == "supported"


def test_a_preservation_that_is_not_known_is_left_out():
    runs = ladder(lambda x: 20 * x)
    lost = [replace(r, table=r.table.assign(value=np.nan)) if (r.method, r.task) == ("bias", "task 1") else r
            for r in runs]  # fmt: skip
    result = measure(lost)
    assert result.contrasts.set_index("contrast").loc[EXCESS, "n_tasks"] == 5  # there VPT is beyond what is left
    assert term(result, methods="features moved")["n_cells"] == 35


def test_few_groups_alone_give_no_verdict():
    crops = ladder(lambda x: 90 * x, tasks=2, few_groups=True, pretraining="masked", backbone="other")
    (alone,) = measure(crops).findings()
    assert (alone.verdict, alone.hypothesis) == ("not applicable", "Y3")
    assert len(measure([*ladder(lambda x: 20 * x), *crops]).findings()) == 5


def test_a_task_on_which_vpt_lies_beyond_the_others_line_is_left_out():
    beyond = {"ft": 0.5, "partial_k": 0.6, "vpt_deep": 0.2, "linear": 1.0}
    mixed = [*ladder(lambda x: 10 * x), *ladder(lambda x: 10 * x, tasks=2, methods=beyond, rng=5)]
    mixed = [replace(run, task=f"{run.task}, {i >= 90}") for i, run in enumerate(mixed)]
    row = measure(mixed).contrasts.set_index("contrast").loc[EXCESS]
    assert (row["n_tasks"], row["extrapolated"]) == (6, 2)
    only = measure(ladder(lambda x: 10 * x, methods=beyond))
    assert only.contrasts.set_index("contrast").loc[EXCESS, "n_tasks"] == 0
    (claim,) = (f for f in only.findings() if "Not trivially" in f.statement)
    assert claim.verdict == "not applicable"
    assert claim.reason == "on all 6 tasks VPT's preservation lies beyond that of the others"


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
    ({"tasks": 4}, "preserves more", "p = 0.38 after correction"),
])  # fmt: skip
def test_few_seeds_and_few_tasks_give_no_verdict(fields, claim, reason):
    found = next(f for f in measure(ladder(lambda x: 20 * x, **fields)).findings() if claim in f.statement)
    assert (found.verdict, found.reason) == ("inconclusive", reason)


@pytest.mark.parametrize(("fields", "reason"), [
    ({"tasks": 2}, "too few methods moved features (6, on 2 tasks): with fewer than 5"),
    ({"methods": {"ft": 0.3, "partial_k": 0.5, "vpt_deep": 0.7, "bias": 0.8, "linear": 1.0}},
     "too few methods moved features (4, on 6 tasks): with fewer than 5"),
])  # fmt: skip
def test_a_line_over_few_methods_or_tasks_is_none(fields, reason):
    result = measure(ladder(lambda x: 20 * x, **fields))
    for said in ("goes with accuracy", "optimum"):
        found = next(f for f in result.findings() if said in f.statement)
        assert found.verdict == "not applicable"
        assert found.reason.startswith(reason)
    assert np.isfinite(term(result)["slope"])


def test_frozen_probes_are_not_on_the_line_that_vpt_is_held_against():
    flat = measure(ladder(lambda x: -15.0 if x == 1.0 else 0.0, tasks=8))
    row = flat.contrasts.set_index("contrast").loc[EXCESS]
    assert abs(row["value"]) < 0.5
    assert row["low"] < 0 < row["high"]


def test_two_runs_that_pass_for_one_seed_are_refused():
    runs = ladder(lambda x: 20 * x)
    with pytest.raises(NotApplicable, match=r"two runs of vpt_deep on task 2, 300, tiny, 32 px with seed 1"):
        measure([*runs, *(r for r in runs if (r.method, r.task, r.seed) == ("vpt_deep", "task 2", 1))])


def test_methods_and_turning_points_are_of_what_was_fitted():
    """Single cells of further methods on further tasks enter no fit, and neither its count nor its range."""
    own = ladder(lambda x: 20 * x)
    more = ladder(lambda x: 20 * x, tasks=1, methods={"mixed": 0.05, "linear": 1.0}, n_train=50)
    found, alone = (term(measure(runs), "quadratic", methods="features moved") for runs in ([*own, *more], own))
    for name in ("n_methods", "n_cells", "turning", "inside"):
        assert found[name] == alone[name]


def test_without_ft_what_needs_it_is_not_applicable():
    result = measure(ladder(lambda x: 20 * x, methods={"vpt_deep": 0.7, "linear": 1.0}))
    assert result.frame()["gap_points"].isna().all()
    refused = [f for f in result.findings() if f.verdict == "not applicable"]
    assert next(f.reason for f in refused) == "no task has runs of VPT and FT"


def test_pretraining_objectives_and_few_groups_are_not_pooled():
    own = ladder(lambda x: 20 * x, tasks=3)
    other = ladder(lambda x: -20 * x, tasks=3, pretraining="masked", backbone="other")
    crops = ladder(lambda x: 90 * x, tasks=1, few_groups=True, rng=9, n_train=50)
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
