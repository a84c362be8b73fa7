import numpy as np
import pytest
import torch
from scipy import special
from torch.nn import functional as F

from vptft.errors import SettingsError
from vptft.why.overfitting.calibration import (
    Predicted,
    calibration_errors,
    ece_floor,
    measure,
    nll,
    scaled_nll,
    temperature,
)


def calibrated(n, *, classes=5, seed=0, sharper=1.0):
    """Labels drawn from the softmax of logits, which are then multiplied: overconfident by that factor."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 2
    labels = (special.softmax(logits, axis=1).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1)
    return sharper * logits, labels


def errors(n, **options):
    logits, labels = calibrated(n, **options)
    return calibration_errors(special.softmax(logits, axis=1).max(axis=1), logits.argmax(axis=1) == labels)


def brute_errors(confidence, correct, bins):
    """Bins by sorting pairs, one at a time, as the definitions say."""
    pairs = sorted(zip(confidence.tolist(), correct.tolist(), strict=True))
    sizes = [len(pairs) // bins + (i < len(pairs) % bins) for i in range(bins)]
    ece = squared = start = 0.0
    for size in sizes:
        part = pairs[int(start) : int(start) + size]
        right, said = sum(c for _, c in part) / size, sum(p for p, _ in part) / size
        ece += size / len(pairs) * abs(right - said)
        squared += size / len(pairs) * ((right - said) ** 2 - right * (1 - right) / (size - 1))
        start += size
    return ece, max(0.0, squared) ** 0.5


def test_the_loss_is_torch_s():
    logits, labels = calibrated(50)
    expected = F.cross_entropy(torch.from_numpy(logits / 3), torch.from_numpy(labels)).item()
    assert nll(logits, labels, 3.0) == pytest.approx(expected, rel=1e-12)


def test_calibration_errors_by_their_definition():
    rng = np.random.default_rng(0)
    confidence, correct = rng.random(103), rng.random(103) < 0.5
    assert calibration_errors(confidence, correct, bins=7) == pytest.approx(brute_errors(confidence, correct, 7))


def test_the_temperature_that_made_logits_too_sharp_is_found():
    logits, labels = calibrated(20_000, sharper=3.0)
    assert temperature(logits, labels) == pytest.approx(3.0, rel=0.05)
    grid = np.exp(np.linspace(-1, 3, 2001))
    best = grid[np.argmin([nll(logits[:500], labels[:500], t) for t in grid])]
    assert temperature(logits[:500], labels[:500]) == pytest.approx(best, rel=0.003)


def test_what_confidence_costs_is_what_sharpening_added():
    logits, labels = calibrated(4000)
    groups = np.arange(4000) // 2
    added = nll(3 * logits, labels) - nll(logits, labels)
    assert added > 0.3
    assert nll(3 * logits, labels) - scaled_nll(3 * logits, labels, groups, seed=0) == pytest.approx(added, abs=0.01)
    assert nll(logits, labels) - scaled_nll(logits, labels, groups, seed=0) == pytest.approx(0, abs=0.005)


def test_a_temperature_is_judged_on_groups_it_has_not_seen():
    """Each label of noise twice: halves that split pairs would be scored on labels they were fitted to."""
    rng = np.random.default_rng(0)
    logits, labels = np.repeat(rng.normal(size=(40, 3)) * 5, 2, axis=0), np.repeat(rng.integers(0, 3, 40), 2)
    groups = np.repeat(np.arange(40), 2)
    once = scaled_nll(logits[::2], labels[::2], groups[::2], seed=0)
    assert scaled_nll(logits, labels, groups, seed=0) == pytest.approx(once)
    with pytest.raises(SettingsError, match="one group"):
        scaled_nll(logits, labels, np.zeros(80), seed=0)


def test_ece_is_biased_upward_at_small_n_and_the_floor_says_by_how_much():
    found = np.array([errors(300, seed=seed) for seed in range(40)])
    logits, _ = calibrated(300)
    floor = ece_floor(special.softmax(logits, axis=1).max(axis=1), seed=0)
    assert 0.03 < found[:, 0].mean() == pytest.approx(floor, rel=0.1)
    assert errors(100_000)[0] < 0.006
    assert errors(20_000, sharper=3.0)[1] == pytest.approx(errors(300_000, sharper=3.0)[1], abs=0.01)
    assert np.median(found[:, 1]) < 0.02


def test_a_row_a_run_with_the_rise_that_confidence_does_not_explain():
    logits, labels = calibrated(200, sharper=2.0)
    run = Predicted(task="t", method="ft", seed=3, logits=logits, labels=labels, groups=np.arange(200), rise_nats=0.5)
    row = measure([run]).frame().iloc[0]
    assert (row["n"], row["seed"], row["accuracy"]) == (200, 3, np.mean(logits.argmax(axis=1) == labels))
    assert row["nll"] - row["nll_scaled"] == pytest.approx(row["confidence_nats"])
    assert row["rise_left_nats"] == pytest.approx(0.5 - row["confidence_nats"])
    assert measure([run]).frame().equals(measure([run]).frame())


def test_too_few_images_and_no_runs_are_refused():
    with pytest.raises(SettingsError, match="15 bins need at least 30 images; there are 20"):
        calibration_errors(np.full(20, 0.5), np.ones(20))
    with pytest.raises(SettingsError, match="no predictions"):
        measure([])


def test_a_half_without_an_error_tells_no_temperature():
    logits = np.tile([4.0, 0, 0], (200, 1))
    labels = np.zeros(200, dtype=int)
    labels[0] = 1
    assert np.isnan(scaled_nll(logits, labels, np.arange(200), seed=0))
    labels[:40] = 1
    assert scaled_nll(logits, labels, np.arange(200), seed=0) < nll(logits, labels)
