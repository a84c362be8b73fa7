from dataclasses import FrozenInstanceError

import pytest

from vptft.errors import SettingsError
from vptft.evidence.findings import Finding, from_table, to_table
from vptft.evidence.hypotheses import HYPOTHESES


def test_a_finding_is_about_a_known_hypothesis_and_does_not_change():
    finding = Finding(hypothesis="W1", statement="s", verdict="inconclusive", reason="r")
    assert (finding.effect, finding.low, finding.high, finding.p, finding.n) == (None,) * 5
    assert finding.p_adjusted is None
    with pytest.raises(FrozenInstanceError, match="verdict"):
        finding.verdict = "supported"
    with pytest.raises(SettingsError, match=r"no hypothesis 'W9'; known: C0, W0, W1, W2, W3, W4, W5, Y1, Y2, Y3, Y4"):
        Finding(hypothesis="W9", statement="s", verdict="inconclusive", reason="r")


def test_every_hypothesis_is_listed_under_its_own_id():
    assert list(HYPOTHESES) == ["C0", "W0", "W1", "W2", "W3", "W4", "W5", "Y1", "Y2", "Y3", "Y4"]
    assert all(name == hypothesis.id and hypothesis.statement for name, hypothesis in HYPOTHESES.items())


def test_findings_survive_being_a_table():
    full = Finding(
        hypothesis="W1", statement="a, b", verdict="supported", reason="", effect=1 / 3, low=-0.1, high=2.0,
        unit="points", p=0.01, p_adjusted=0.02, n=19,
    )  # fmt: skip
    bare = Finding(hypothesis="Y2", statement="s", verdict="not applicable", reason="r")
    assert from_table(to_table([full, bare])) == (full, bare)
    assert from_table(to_table([])) == ()
    assert list(to_table([])) == list(to_table([full]))
