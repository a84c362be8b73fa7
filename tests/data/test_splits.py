import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vptft.data.splits import check_draw, draw_order, set_aside
from vptft.errors import DataError, SettingsError

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=60).map(np.array)


@given(labels=LABELS, seed=st.integers(0, 100), n=st.integers(1, 60))
def test_a_draw_is_as_balanced_as_its_classes_allow(labels: np.ndarray, seed: int, n: int) -> None:
    order = draw_order(labels, len(labels), seed)
    assert sorted(order) == list(range(len(labels)))
    sizes = np.bincount(labels)
    drawn = np.bincount(labels[order[:n]], minlength=len(sizes))
    unfinished = drawn[(drawn < sizes)]
    assert not len(unfinished) or drawn.max() - unfinished.min() <= 1


def test_draws_differ_by_seed_only() -> None:
    labels = np.arange(40) % 4
    assert draw_order(labels, 40, 1).tolist() == draw_order(labels, 40, 1).tolist()
    assert draw_order(labels, 40, 1).tolist() != draw_order(labels, 40, 2).tolist()
    assert sorted(draw_order(None, 40, 1)) == list(range(40))
    assert draw_order(labels[:0], 0, 1).tolist() == []


@pytest.mark.parametrize(("n", "error", "match"), [
    (0, SettingsError, "here: n must be at least 1, got 0"),
    (6, DataError, "here: 6 images were asked for; it holds 5"),
])  # fmt: skip
def test_impossible_draws_are_refused(n: int, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        check_draw(n, 5, "here")


@given(labels=LABELS, share=st.sampled_from([0.1, 0.2, 0.5]))
def test_every_class_sets_its_share_aside_and_keeps_some(labels: np.ndarray, share: float) -> None:
    aside = set_aside([f"image {i}" for i in range(len(labels))], labels, share)
    for label in np.unique(labels):
        size, taken = np.sum(labels == label), np.sum(aside[labels == label])
        assert taken == (0 if size == 1 else min(size - 1, max(1, round(share * size))))


def test_a_group_is_never_divided() -> None:
    groups = [f"photo {i // 3}" for i in range(30)]
    aside = set_aside(groups, np.zeros(30, dtype=int), 0.2)
    assert aside.sum() == 6
    assert all(len(set(aside[3 * i : 3 * i + 3])) == 1 for i in range(10))


def test_an_image_added_later_moves_few_others() -> None:
    names = [f"{i:03}.png" for i in range(100)]
    before, after = set_aside(names, None, 0.2), set_aside([*names, "zzz.png"], None, 0.2)
    assert np.sum(before != after[:100]) <= 1


def test_another_seed_sets_others_aside() -> None:
    names = [f"{i:03}.png" for i in range(100)]
    assert set_aside(names, None, 0.2).tolist() != set_aside(names, None, 0.2, seed=1).tolist()
