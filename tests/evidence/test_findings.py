from dataclasses import FrozenInstanceError

import pytest

from vptft.errors import SettingsError
from vptft.evidence.findings import Finding, judge
from vptft.evidence.hypotheses import HYPOTHESES


@pytest.mark.parametrize(
    ("low", "high", "sign", "n_seeds", "verdict", "reason"),
    [
        (0.1, 0.3, 1, 3, "supported", "excludes zero"),
        (0.1, 0.3, -1, 3, "refuted", "excludes zero"),
        (-0.3, -0.1, -1, 3, "supported", "excludes zero"),
        (-0.3, -0.1, 1, 3, "refuted", "excludes zero"),
        (-0.1, 0.3, 1, 3, "inconclusive", "includes zero"),
        (0.0, 0.3, 1, 3, "inconclusive", "includes zero"),
        (-0.3, 0.0, -1, 5, "inconclusive", "includes zero"),
        (0.1, 0.3, 1, 2, "inconclusive", "2 seeds: no verdict"),
        (0.1, 0.3, 1, 1, "inconclusive", "one seed: no verdict"),
        (-0.1, 0.3, -1, 1, "inconclusive", "one seed: no verdict"),
    ],
)
def test_a_verdict_follows_from_the_interval_the_predicted_sign_and_the_seeds(
    low, high, sign, n_seeds, verdict, reason
):
    found = judge(low, high, predicted_sign=sign, n_seeds=n_seeds)
    assert found[0] == verdict
    assert reason in found[1]


def test_an_interval_that_is_no_number_gives_no_verdict():
    assert judge(float("nan"), float("nan"), predicted_sign=1, n_seeds=3) == (
        "inconclusive",
        "the 95% interval is not defined",
    )


def test_a_finding_is_about_a_known_hypothesis_and_does_not_change():
    finding = Finding(hypothesis="W1", statement="s", verdict="inconclusive", reason="r")
    assert (finding.effect, finding.low, finding.high, finding.p, finding.n) == (None,) * 5
    with pytest.raises(FrozenInstanceError, match="verdict"):
        finding.verdict = "supported"
    with pytest.raises(SettingsError, match=r"no hypothesis 'W9'; known: C0, W1, W2, W3, Y1, Y2, Y3, Y4"):
        Finding(hypothesis="W9", statement="s", verdict="inconclusive", reason="r")


def test_every_hypothesis_is_listed_under_its_own_id():
    assert list(HYPOTHESES) == ["C0", "W1", "W2", "W3", "Y1", "Y2", "Y3", "Y4"]
    assert all(name == hypothesis.id and hypothesis.statement for name, hypothesis in HYPOTHESES.items())
