import numpy as np
import pytest

from vptft.evidence.statistics.resampling import Interval
from vptft.why.overfitting.onset import over_seeds, smoothed, turns, verdict
from why.overfitting.histories import noisy


def judged(loss, choosing, ends=None):
    ends = np.full(len(loss), loss.shape[1] - 1) if ends is None else ends
    rises = [turn.rise for turn in turns(loss, loss, choosing, ends)]
    return rises, verdict(over_seeds(rises))


def rates(*, repeats, seed=0, on_val=True, **curves):
    """Share of repetitions with each verdict, and the share that Student's t of last less least calls a rise."""
    rng = np.random.default_rng(seed)
    found, naive = [], 0
    for _ in range(repeats):
        loss, val = noisy(rng, **curves)
        found.append(judged(loss, val if on_val else loss)[1])
        naive += over_seeds(loss[:, -1] - loss.min(axis=1)).low > 0
    return {name: found.count(name) / repeats for name in set(found)}, naive / repeats


def test_the_level_of_an_epoch_is_the_mean_of_the_last_few():
    curves = np.random.default_rng(0).normal(size=(2, 9))
    for width in (1, 3, 20):
        brute = [[row[max(0, t - width + 1) : t + 1].mean() for t in range(9)] for row in curves]
        np.testing.assert_allclose(smoothed(curves, width), brute)


def test_onset_and_rise_of_curves_without_noise():
    mean = np.array([3.0, 2.0, 1.0, 1.5, 2.0, 2.5])  # six epochs: no smoothing
    loss = np.stack([mean, mean + 1])
    found = turns(loss, -loss, loss, np.array([5, 4]))
    assert [(turn.onset, turn.rise, turn.accuracy_change) for turn in found] == [(2, 1.5, -1.5), (2, 1.0, -1.0)]


def test_an_onset_is_chosen_on_the_other_seeds():
    loss = np.array([[3.0, 1.0, 2.0, 2.0, 2.0, 2.0], [3.0, 2.0, 2.0, 0.0, 2.0, 2.0], [3.0, 2.0, 2.0, 0.0, 2.0, 2.0]])
    assert [turn.onset for turn in turns(loss, loss, loss, np.full(3, 5))] == [3, 3, 3]
    assert judged(loss, loss)[0] == [0, 2, 2]
    alone = turns(loss[:1], loss[:1], loss[:1], np.array([5]))
    assert (alone[0].onset, alone[0].rise) == (1, 1.0)


def test_a_curve_that_falls_to_its_end_rises_by_nothing():
    falling = np.stack([np.linspace(2, 1, 20)] * 3)
    assert judged(falling, falling) == ([0, 0, 0], "does not")


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.01, 0.2, "overfits"),
        (-0.01, 0.2, "cannot tell"),
        (0.01, 0.04, "does not"),
        (-0.3, -0.1, "does not"),
        (np.nan, np.nan, "cannot tell"),
    ],
)
def test_the_rule(low, high, expected):
    assert verdict(Interval(value=(low + high) / 2, low=low, high=high)) == expected


def test_two_seeds_have_no_interval_and_no_verdict():
    assert np.isnan(over_seeds(np.array([1.0, 1.1])).low)
    assert verdict(over_seeds(np.array([1.0, 1.1]))) == "cannot tell"
    assert np.isnan(over_seeds(np.array([1.0, np.nan, 1.0])).low)


def test_noise_alone_is_seldom_called_overfitting_though_the_least_of_a_curve_always_lies_below_its_end():
    found, naive = rates(repeats=150, seeds=5)
    assert found.get("overfits", 0) <= 0.06
    assert naive > 0.3


def test_a_clear_rise_is_found():
    found, _ = rates(repeats=60, rise=0.6, noise=0.05)
    assert found["overfits"] > 0.9


@pytest.mark.verify
@pytest.mark.parametrize("falls", [True, False])
@pytest.mark.parametrize("noise", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("memory", [0.0, 0.9])
@pytest.mark.parametrize("seeds", [3, 5])
def test_rate_of_false_alarms(falls, noise, memory, seeds):
    found, _ = rates(repeats=1000, falls=falls, noise=noise, memory=memory, seeds=seeds)
    assert found.get("overfits", 0) <= 0.055


@pytest.mark.verify
def test_noise_common_to_seeds_adds_false_alarms_fewer_with_onsets_on_validation():
    on_val, on_test = (rates(repeats=1000, common=0.05, on_val=on)[0]["overfits"] for on in (True, False))
    assert on_val < 0.06 < on_test < 0.2


@pytest.mark.verify
@pytest.mark.parametrize(("rise", "noise"), [(0.3, 0.05), (0.6, 0.1), (1.2, 0.2)])
def test_power(rise, noise):
    found, _ = rates(repeats=500, rise=rise, noise=noise)
    assert found["overfits"] > 0.8
