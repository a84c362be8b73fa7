from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from vptft.published import claims
from vptft.published.questions import QUESTIONS, UNANSWERABLE
from vptft.published.tables import GAP_COLUMNS


@pytest.fixture(scope="module")
def result(printed):
    return claims.measure(printed)


@pytest.fixture(scope="module")
def rows(result):
    return result.claims.set_index("key")


def step_down(ps):
    """Holm by its definition: the i-th smallest times how many are left, never below the one before."""
    order, out, before = np.argsort(ps), np.empty(len(ps)), 0.0
    for rank, i in enumerate(order):
        before = max(before, min(1.0, ps[i] * (len(ps) - rank)))
        out[i] = before
    return out


def test_every_question_and_every_claim_without_numbers_is_a_finding(result):
    findings = result.findings()
    assert len(findings) == len(QUESTIONS) + len(UNANSWERABLE)
    assert {"C0", "W0", "W1", "W2", "W3", "W4", "W5", "Y1", "Y2", "Y3", "Y4"} <= {
        finding.hypothesis for finding in findings
    }
    assert {finding.verdict for finding in findings[-len(UNANSWERABLE) :]} == {"not applicable"}
    assert all(finding.effect is None and finding.p is None for finding in findings[-len(UNANSWERABLE) :])
    assert len({question.key for question in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize("family", ["paper", "added"])
@pytest.mark.parametrize("name", ["p", "p_ranks", "p_signs"])
def test_each_family_is_corrected_by_itself(result, family, name):
    part = result.claims[result.claims["family"] == family]
    assert part[f"{name}_adjusted"].to_numpy() == pytest.approx(step_down(part[name].to_numpy()))
    assert result.settings["tests in each family"][family] == len(part)


def test_what_the_tables_show_and_what_they_do_not(result, rows):
    paper = rows[rows["family"] == "paper"]
    assert set(paper.index[paper["verdict"] == "supported"]) == {"mixed", "mae"}
    assert not (paper["verdict"] == "refuted").any()
    assert len(result.unsupported()) == 14
    assert rows.loc["overall", "p"] == pytest.approx(2180 / 2**19)
    assert rows.loc["overall", "p_adjusted"] == pytest.approx(14 * 2180 / 2**19)
    assert rows.loc["one-shot-disparity", "verdict"] == "refuted"


def test_four_tasks_cannot_show_anything_and_it_is_said(rows):
    for key in ("specialized", "swin-specialized"):
        assert rows.loc[key, "smallest_p"] == 0.125
        assert "no p below 0.125 is possible" in rows.loc[key, "reason"]
    assert "p = 0.016 is the smallest that so many tasks can give" in rows.loc["structured", "reason"]
    assert "smallest" not in rows.loc["overall", "reason"]


def test_a_claim_that_denies_is_judged_by_what_it_denies(rows):
    assert rows.loc["mixed-ft", "high"] < 0
    assert rows.loc["mixed-ft", "verdict"] == "supported"
    assert rows.loc["mixed-ft", "reason"].startswith("judged is the opposite, that they help")
    assert rows.loc["ft-then-pt-ft", "verdict"] == "inconclusive"


def test_a_denied_effect_that_is_there_refutes_the_claim(printed):
    cells = printed.accuracies.copy()
    cells.loc[(cells["method"] == "mixed"), "accuracy"] += 40
    found = claims.measure(replace(printed, accuracies=cells)).claims.set_index("key")
    assert found.loc["mixed-ft", "verdict"] == "refuted"
    assert found.loc["mixed", "verdict"] == "refuted"


def test_counts_stand_in_the_statements(rows):
    assert rows.loc["overall", "statement"].endswith("15 won, 1 tied, 3 lost")
    assert "FT passes VPT in 10 of 14 printed tasks" in rows.loc["crossing", "statement"]
    assert (rows.loc["overall", "won"], rows.loc["overall", "wins_needed"]) == (15, 14)
    assert "it falls in 12, rises in 2" in rows.loc["data-size", "statement"]


def test_interactions_are_those_of_the_same_tasks(rows, result):
    mae, main = rows.loc["mae", "effect"], rows.loc["overall", "effect"]
    assert rows.loc["mae-change", "effect"] == pytest.approx(mae - main)
    assert rows.loc["swin-change", "n"] == 19


def test_tables_are_whole(result):
    assert tuple(result.frame().columns) == GAP_COLUMNS
    assert (result.settings["seed"], result.frame()["repeats"].sum()) == (0, 19)
    numbers = result.claims.loc[result.claims["family"] != "none", ["effect", "low", "high", "p", "p_adjusted"]]
    assert not numbers.isna().any(axis=None)
    assert isinstance(result.claims, pd.DataFrame)
