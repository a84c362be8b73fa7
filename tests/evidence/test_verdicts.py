import pytest

from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import Interval, no_interval
from vptft.evidence.verdicts import REGION, RULE, Claim, decide, judge


def interval(low, high):
    return Interval(value=(low + high) / 2, low=low, high=high)


@pytest.mark.parametrize(
    ("low", "high", "predicted", "verdict", "reason"),
    [
        (2, 6, 1, "supported", "excludes zero"),
        (2, 6, -1, "refuted", "other side of zero"),
        (-6, -2, -1, "supported", "excludes zero"),
        (-6, -2, 1, "refuted", "other side of zero"),
        (-1.5, 6, 1, "inconclusive", "includes zero"),
        (0, 6, 1, "inconclusive", "includes zero"),
        (0.2, 6, 1, "supported", "not an effect below 1"),
        (0.2, 0.8, 1, "refuted", "within ±1: practically no effect"),
        (-0.8, -0.2, -1, "refuted", "within ±1"),
        (-1, 1, 1, "refuted", "within ±1"),
        (float("-inf"), float("inf"), 1, "inconclusive", "includes zero"),
    ],
)
def test_a_verdict_follows_from_the_interval_and_the_predicted_sign(low, high, predicted, verdict, reason):
    found = judge(interval(low, high), predicted=predicted)
    assert found[0] == verdict
    assert reason in found[1]


@pytest.mark.parametrize(("seeds", "words"), [(1, "one seed: no verdict"), (2, "2 seeds: no verdict")])
def test_fewer_than_three_seeds_give_no_verdict(seeds, words):
    assert judge(interval(2, 6), predicted=1, n_seeds=seeds) == ("inconclusive", words)
    assert judge(interval(2, 6), predicted=1, n_seeds=3)[0] == "supported"


def test_a_p_above_five_percent_withholds_either_verdict_but_not_equivalence():
    assert judge(interval(2, 6), predicted=1, p=0.06) == ("inconclusive", "p = 0.06 after correction")
    assert judge(interval(2, 6), predicted=-1, p=0.06)[0] == "inconclusive"
    assert judge(interval(2, 6), predicted=1, p=0.04)[0] == "supported"
    assert judge(interval(-0.5, 0.5), predicted=1, p=0.9)[0] == "refuted"


def test_without_a_region_a_small_effect_is_an_effect():
    assert judge(interval(0.2, 0.8), predicted=1, region=None)[0] == "supported"
    assert judge(interval(-0.2, 0.8), predicted=1, region=None)[0] == "inconclusive"


def test_an_interval_that_is_not_defined_gives_no_verdict():
    assert judge(no_interval(3.0), predicted=1) == ("inconclusive", "the 95% interval is not defined")


def claim(p, low=2.0, high=6.0):
    return Claim(hypothesis="W1", statement="s", effect=interval(low, high), predicted=1, p=p, n=5)


def test_the_claims_of_a_family_are_corrected_together():
    alone = decide([claim(0.03)])[0]
    first, second, untested = decide([claim(0.03), claim(0.04), claim(None)])
    assert (alone.verdict, alone.p_adjusted) == ("supported", 0.03)
    assert (first.verdict, first.p, first.p_adjusted) == ("inconclusive", 0.03, pytest.approx(0.06))
    assert second.p_adjusted == pytest.approx(0.06)
    assert (untested.verdict, untested.p, untested.p_adjusted) == ("supported", None, None)
    assert (first.effect, first.low, first.high, first.unit, first.n) == (4.0, 2.0, 6.0, "points", 5)


def test_the_rule_in_words_names_the_region_and_the_seeds():
    assert REGION == 1.0
    assert "region" in RULE
    assert "fewer than three seeds" in RULE
    with pytest.raises(SettingsError, match="width of 0 or more, not -1"):
        Claim(hypothesis="W1", statement="s", effect=interval(0, 1), predicted=1, region=-1.0)
