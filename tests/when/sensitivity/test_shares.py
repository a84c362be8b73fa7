"""Variance shares against a table worked out by hand, statsmodels, and simulation."""

import numpy as np
import pandas as pd
import pytest

from vptft.when.sensitivity.shares import DRAW, REST, components, decompose, pivots, pooled, shares


def grid(lengths=4, inits=2):
    levels = [(i, j) for i in range(lengths) for j in range(inits)]
    return pd.DataFrame(levels, columns=["length", "init"]).astype(str)


def gaps_of(levels, draws, *, length=1.0, init=0.0, draw=0.5, noise=1.0, seed=0):
    """Gaps whose choices have these standard deviations over levels, and draw and noise these over draws."""
    rng = np.random.default_rng(seed)
    effect = np.zeros(len(levels))
    for name, sd in (("length", length), ("init", init)):
        scores = levels[name].astype(int).to_numpy()
        effect += sd * (scores - scores.mean()) / scores.std()
    return effect[:, None] + rng.normal(0, draw, draws) + rng.normal(0, noise, (len(levels), draws))


def test_a_balanced_table_worked_out_by_hand():
    levels = pd.DataFrame({"length": ["1", "1", "10", "10"], "init": ["a", "b", "a", "b"]})
    gaps = np.array([[0.0, 2.0], [2.0, 4.0], [4.0, 6.0], [6.0, 10.0]])
    parts = decompose(gaps, levels)
    # The grand mean is 4.25; length 2 and 6.5, init 3 and 5.5, draw 3 and 5.5.
    assert parts.names == ("length", "init", DRAW, REST)
    assert parts.squares == pytest.approx([8 * 2.25**2, 8 * 1.25**2, 8 * 1.25**2, 2.0])
    assert parts.total == pytest.approx(parts.squares.sum())
    assert parts.df.tolist() == [1, 1, 1, 4]
    noise = 2.0 / 4
    expected = [(40.5 - noise) / 8, (12.5 - noise) / 8, (12.5 - noise) / 4, noise]
    assert components(parts) == pytest.approx(expected)
    table = shares(parts).set_index("choice")
    assert table["share"].to_numpy() == pytest.approx(np.array(expected) / sum(expected))
    assert table["share_raw"].sum() == pytest.approx(1)


@pytest.mark.parametrize("dropped", [[], [1, 2, 6]])
def test_sums_of_squares_are_statsmodels_type_two(dropped):
    formula, anova = (pytest.importorskip(f"statsmodels.{name}") for name in ("formula.api", "stats.anova"))
    levels = grid().drop(dropped).reset_index(drop=True)
    gaps = gaps_of(levels, 3)
    parts = decompose(gaps, levels)
    long = levels.loc[np.repeat(levels.index, 3)].assign(draw=np.tile(["0", "1", "2"], len(levels)), gap=gaps.ravel())
    expected = anova.anova_lm(formula.ols("gap ~ C(length) + C(init) + C(draw)", long).fit(), typ=2)
    assert parts.squares == pytest.approx(expected["sum_sq"].to_numpy())
    assert parts.df == pytest.approx(expected["df"].to_numpy())
    found = shares(parts)["p"].to_numpy()
    assert found[:-1] == pytest.approx(expected["PR(>F)"].to_numpy()[:-1])
    assert np.isnan(found[-1])


def test_a_choice_that_never_varies_alone_has_no_share():
    levels = grid().assign(twin=lambda table: table["length"])
    table = shares(decompose(gaps_of(grid(), 3), levels)).set_index("choice")
    assert table.loc[["length", "twin"], ["share", "share_raw", "p"]].isna().all(axis=None)
    assert table["share"].sum() == pytest.approx(1)


def test_what_does_nothing_has_no_share_and_what_does_all_has_all():
    levels = grid()
    table = shares(decompose(gaps_of(levels, 40, length=2, draw=0, noise=0.1), levels)).set_index("choice")
    assert table.loc["length", "share"] == pytest.approx(1, abs=0.01)
    assert table.loc["init", "share"] == pytest.approx(0, abs=0.001)
    assert (table["low"] <= table["share"]).all()
    assert (table["share"] <= table["high"]).all()
    silent = shares(decompose(np.zeros((8, 3)), levels))
    assert silent["share"].isna().all()


def test_tasks_are_pooled_by_their_sums_of_squares():
    levels = grid()
    each = [decompose(gaps_of(levels, 3, seed=seed), levels) for seed in range(5)]
    both = pooled(each)
    assert both.squares == pytest.approx(sum(parts.squares for parts in each))
    assert both.df.tolist() == [15, 5, 10, 5 * 17]
    assert components(pooled(each[:1])) == pytest.approx(components(each[0]))
    widths = [(table["high"] - table["low"])[2] for table in map(shares, each)]
    table = shares(both)
    assert table["choice"][2] == DRAW
    assert (table["high"] - table["low"])[2] < np.mean(widths)


def test_the_seed_decides_the_pivots():
    parts = decompose(gaps_of(grid(), 3), grid())
    first, again, other = (pivots(parts, np.random.default_rng(seed), 50) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.verify
@pytest.mark.parametrize("draws", [3, 5])
@pytest.mark.parametrize("sds", [(1, 0, 0.5, 1), (2, 0.5, 1, 1), (1, 1, 1, 1)])
def test_intervals_cover_planted_shares(draws, sds):
    levels, names = grid(), ("length", "init", "draw", "noise")
    true = np.square(sds) / np.square(sds).sum()
    held = []
    for seed in range(400):
        gaps = gaps_of(levels, draws, seed=seed, **dict(zip(names, sds, strict=True)))
        table = shares(decompose(gaps, levels), seed=seed)
        held.append((table["low"] <= true + 1e-9) & (true - 1e-9 <= table["high"]))
    assert (np.mean(held, axis=0) >= 0.9).all()
    assert np.mean(held) >= 0.93
