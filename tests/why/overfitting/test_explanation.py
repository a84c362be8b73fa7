from dataclasses import replace

import numpy as np
import pytest

from vptft.errors import NotApplicable
from vptft.why.overfitting.explanation import measure
from why.overfitting.histories import compared

DIFFERENCES = np.linspace(-0.5, 2, 10)


def made(seed=0, differences=DIFFERENCES, **options):
    return compared(np.random.default_rng(seed), differences, **options)


def judged(result):
    """Verdicts on: does it explain something; does a gap remain; is variance left."""
    return tuple(finding.verdict for finding in result.findings())


def row_of(result, predictor="rise_nats"):
    return result.terms.set_index("predictor").loc[predictor]


def test_a_gap_that_follows_overfitting_leaves_nothing():
    result = measure(made(slope=8.0, remaining=0.0, task_sd=0.3, seed_sd=0.3))
    row = row_of(result)
    assert row["slope"] == pytest.approx(8, abs=0.8)
    assert abs(row["remaining"]) < 1
    assert row["r2"] > 0.9
    assert row["explained"] == pytest.approx(row["mean_gap"] - row["remaining"])
    assert judged(result)[0] == "supported"
    assert judged(result)[2] == "inconclusive"


def test_a_gap_that_has_nothing_to_do_with_overfitting_remains():
    result = measure(made(slope=0.0, remaining=6.0, task_sd=2.0))
    assert row_of(result)["remaining"] == pytest.approx(6, abs=2)
    assert judged(result) == ("inconclusive", "supported", "supported")


def test_seeds_are_averaged_before_tasks_and_few_groups_are_not_judged():
    cells = made()
    row, point = row_of(measure(cells)), measure(cells).frame().iloc[0]
    first = [cell for cell in cells if cell.task == "task 00"]
    assert point["gap_points"] == pytest.approx(np.mean([cell.gap for cell in first]))
    assert (point["rise_least"], point["rise_most"]) == (
        min(c.rise_nats for c in first), max(c.rise_nats for c in first),
    )  # fmt: skip
    few = [replace(cell, few_groups=cell.task == "task 00") for cell in cells]
    assert (row["n_tasks"], row_of(measure(few))["n_tasks"], row_of(measure(few))["n_left_out"]) == (10, 9, 1)


def test_few_tasks_have_no_regression_and_few_seeds_no_verdict():
    four = measure(made(differences=DIFFERENCES[:4]))
    (finding,) = four.findings()
    assert finding.verdict == "inconclusive"
    assert finding.reason == "4 tasks bear no regression: it takes 5 that differ"
    assert four.line.empty
    assert set(judged(measure(made(slope=8.0, seeds=2)))) == {"inconclusive"}
    same = measure([replace(cell, rise_nats=1.0, loss_gap_nats=1.0) for cell in made()])
    assert [each.verdict for each in same.findings()] == ["inconclusive"]


def test_groups_of_tasks_are_held_fixed_where_tasks_bear_it():
    cells = made(slope=0.0, task_sd=0.1, seed_sd=0.1, x_noise=0.01)
    split = [replace(cell, group="far" if cell.rise_nats > 0.75 else "near") for cell in cells]
    shifted = [
        replace(cell, images=replace(cell.images, differences=cell.images.differences + 0.1 * (cell.group == "far")))
        for cell in split
    ]
    row = row_of(measure(shifted))
    assert row["slope"] > 3 > 1 > abs(row["slope_in_groups"])
    six = [cell for cell in shifted if cell.task < "task 06"]
    assert np.isnan(row_of(measure(six))["slope_in_groups"])


def test_sizes_give_a_slope_within_tasks():
    cells = made(slope=0.0, task_sd=3.0, seed_sd=0.1, x_noise=0.01)
    more = [
        replace(cell, n_train=900, rise_nats=cell.rise_nats - 1,
                images=replace(cell.images, differences=cell.images.differences - 0.05))
        for cell in cells
    ]  # fmt: skip
    row = row_of(measure([*cells, *more]))
    assert row["tasks_with_sizes"] == 10
    assert row["slope_in_tasks"] == pytest.approx(5, abs=0.5)
    assert len(measure([*cells, *more]).frame()) == 20


def test_pretraining_objectives_are_never_pooled():
    other = [replace(cell, pretraining="masked") for cell in made(1)]
    result = measure([*made(), *other])
    assert sorted(result.terms["pretraining"]) == ["masked"] * 2 + ["random"] * 2
    assert len(result.findings()) == 6


def test_an_extrapolated_remainder_says_so():
    said = measure(made(differences=DIFFERENCES + 2)).findings()[1].statement
    assert "no task has equal overfitting, so it is extrapolated" in said


def test_nothing_to_compare():
    with pytest.raises(NotApplicable, match="no gap to explain"):
        measure([])


@pytest.mark.verify
@pytest.mark.parametrize("tie", [-0.9, 0.0, 0.9])
@pytest.mark.parametrize(("slope", "noise"), [(6.0, 0.1), (6.0, 0.4), (3.0, 0.4)])
def test_claims_are_wrong_at_most_at_their_level_where_overfitting_explains_all(slope, noise, tie):
    rng = np.random.default_rng(0)
    wrong = np.zeros(3)
    for _ in range(500):
        differences = rng.normal(0.7, 0.7, 10)
        cells = compared(rng, differences, slope=slope, remaining=0.0, task_sd=0.0, x_noise=noise, tie=tie)
        found = judged(measure(cells))
        wrong += [found[0] == "refuted", found[1] == "supported", found[2] == "supported"]
    held = wrong / 500 <= 0.05
    assert held[[0, 2]].all(), wrong / 500
    # Noise of the predictor flattens the slope, which leaves a gap: with noise tied to the gap's the level is not held.
    assert held[1] or tie, wrong / 500
