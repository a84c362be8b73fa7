from collections import Counter
from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from oracles import frechet as oracle
from oracles import kernels
from vptft.when.distribution.classes import (
    COLUMNS,
    PERMUTATIONS,
    Labelled,
    class_distances,
    conditional_shift,
    histogram_shift,
)


def rng(seed=0):
    return np.random.default_rng(seed)


def labelled(counts, seed, shift=0.0, groups=None):
    draw = rng(seed)
    classes = np.repeat(list(counts), list(counts.values()))
    values = draw.normal(size=(len(classes), 3)) + shift + np.array([[len(name)] for name in classes]).reshape(-1, 1)
    return Labelled(values=values, groups=np.arange(len(values)) if groups is None else groups, classes=classes)


FIRST = labelled({"cat": 14, "horse": 11}, 1)
WHOLE = labelled({"cat": 9, "dodo": 7, "horse": 12}, 2, shift=0.3)


def test_every_class_is_measured_against_all_and_against_its_own():
    table = class_distances(FIRST, WHOLE, rng(), same=True)
    assert {name: str(dtype) for name, dtype in table.dtypes.items()} == COLUMNS
    kinds = list(zip(table["class"], table["against"], strict=True))
    assert kinds == [
        ("cat", "all"), ("cat", "same class"), ("dodo", "all"), ("horse", "all"), ("horse", "same class"),
    ]  # fmt: skip
    for row in table.itertuples():
        x = FIRST.values if row.against == "all" else FIRST.values[FIRST.classes == row._1]
        y = WHOLE.values[WHOLE.classes == row._1]
        assert (row.n_first, row.n_second) == (len(x), len(y))
        assert row.distance == pytest.approx(oracle.distance(x, y), rel=1e-7)
        assert row.kid == pytest.approx(kernels.unbiased(x, y, kernels.cubic), rel=1e-8)
        assert np.isfinite([row.debiased, row.kid_se]).all()
        assert row.debiased < row.distance
    pd.testing.assert_frame_equal(table, class_distances(FIRST, WHOLE, rng(), same=True))


def test_the_jackknife_of_a_class_has_half_as_many_folds_as_images():
    """Four images make two folds; every way to divide both sets is enumerated."""
    first, whole = labelled({"cat": 6}, 3), labelled({"cat": 4}, 4)
    x, y = first.values, whole.values
    possible = []
    for left in combinations(range(6), 3):
        for right in combinations(range(4), 2):
            parts = [(left, right), (np.setdiff1d(range(6), left), np.setdiff1d(range(4), right))]
            without = [oracle.distance(np.delete(x, a, axis=0), np.delete(y, b, axis=0)) for a, b in parts]
            possible.append(2 * oracle.distance(x, y) - np.mean(without))
    found = class_distances(first, whole, rng())["debiased"].item()
    assert np.abs(np.array(possible) - found).min() <= 1e-6 * abs(found)


def test_the_fold_count_follows_images_and_groups():
    alone = labelled({"cat": 8}, 5, groups=np.zeros(8))
    assert class_distances(FIRST, alone, rng())["debiased"].isna().all()
    assert class_distances(FIRST, labelled({"cat": 3}, 5), rng())["debiased"].isna().all()
    assert class_distances(FIRST, labelled({"cat": 4}, 5), rng())["debiased"].notna().all()
    assert class_distances(alone, FIRST, rng())["debiased"].isna().all()
    assert class_distances(FIRST, alone, rng())["kid_se"].isna().all()


def test_classes_of_one_image_are_left_out_on_either_side():
    whole = labelled({"cat": 1, "horse": 2}, 6)
    assert class_distances(FIRST, whole, rng(), same=True)["class"].tolist() == ["horse", "horse"]
    lonely = labelled({"horse": 1, "cat": 5}, 7)
    assert class_distances(lonely, whole, rng(), same=True)["against"].tolist() == ["all"]
    nothing = class_distances(FIRST, labelled({"cat": 1}, 8), rng(), same=True)
    assert nothing.empty
    assert list(nothing.columns) == list(COLUMNS)
    assert conditional_shift(nothing) is None


def test_the_conditional_shift_weighs_classes_by_size():
    table = class_distances(FIRST, WHOLE, rng(), same=True)
    cat, horse = (table[(table["class"] == name) & (table["against"] == "same class")] for name in ("cat", "horse"))
    value, se = conditional_shift(table)
    assert value == pytest.approx((9 * cat["kid"].item() + 12 * horse["kid"].item()) / 21)
    assert se == pytest.approx(np.hypot(9 * cat["kid_se"].item(), 12 * horse["kid_se"].item()) / 21)
    assert conditional_shift(class_distances(FIRST, WHOLE, rng())) is None


def total_variation(first, second):
    one, other = Counter(first), Counter(second)
    return sum(abs(one[c] / len(first) - other[c] / len(second)) for c in {*first, *second}) / 2


def divisions(first, second, groups):
    """Total variation of every division of the pooled groups, as many groups a part as before."""
    pooled = {}
    for side, values, names in zip("12", (first, second), groups, strict=True):
        for value, name in zip(values, names, strict=True):
            pooled.setdefault((side, name), []).append(value)
    count = len(set(groups[0]))
    out = []
    for chosen in combinations(pooled, count):
        inside = [value for key in chosen for value in pooled[key]]
        outside = [value for key in pooled if key not in chosen for value in pooled[key]]
        out.append(total_variation(inside, outside))
    return np.array(out)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_shift_of_histograms_is_judged_by_every_division_of_the_groups(grouped):
    first, second = np.array([0, 0, 5, 5, 0, 9]), np.array([5, 9, 9, 9, 5, 9])
    # Groups of one name in two sets are two groups.
    groups = (tuple("aabbbc"), tuple("abbccc")) if grouped else (tuple("abcdef"), tuple("abcdef"))
    found = histogram_shift(first, second, groups, rng())
    every = divisions(first, second, groups)
    assert found.distance == pytest.approx(total_variation(first, second))
    expected = np.mean(every >= found.distance - 1e-12)
    error = np.sqrt(expected * (1 - expected) / PERMUTATIONS)
    assert found.p == pytest.approx((1 + PERMUTATIONS * expected) / (1 + PERMUTATIONS), abs=3.5 * error + 1e-9)
    assert found.chance == pytest.approx(every.mean(), abs=3.5 * every.std() / np.sqrt(PERMUTATIONS))
    assert histogram_shift(first, second, groups, rng()) == found


def test_equal_and_disjoint_histograms_are_the_ends():
    names = tuple(map(str, range(40)))
    values = np.arange(40) % 4
    same = histogram_shift(values, values, (names, names), rng())
    assert (same.distance, same.p) == (0, 1)
    assert 0 < same.chance < 0.3
    apart = histogram_shift(values, values + 4, (names, names), rng())
    assert apart.distance == 1
    assert apart.p == pytest.approx(1 / (1 + PERMUTATIONS))
    assert PERMUTATIONS == 200


def test_the_chance_of_unequal_sets_is_that_of_their_sizes():
    first, second = rng(1).integers(0, 3, 10), rng(2).integers(0, 3, 90)
    names = tuple(map(str, range(10))), tuple(map(str, range(90)))
    draw, pooled = rng(3), np.concatenate([first, second])
    expected = []
    for _ in range(2000):
        order = draw.permutation(pooled)
        expected.append(total_variation(order[:10], order[10:]))
    found = histogram_shift(first, second, names, rng())
    error = np.std(expected) * np.sqrt(1 / 2000 + 1 / PERMUTATIONS)
    assert found.chance == pytest.approx(np.mean(expected), abs=3.5 * error)
