from dataclasses import replace

import pytest
import timm
import torch

from vptft.published import audit
from vptft.published.audit import Check
from vptft.published.tuned import BACKBONE, LAYERS, WIDTH, percent, readings, rounds_to, tuned_percents


@pytest.fixture(scope="module")
def result(printed):
    return audit.measure(printed)


def cells(result, kind, outcome):
    frame = result.table
    return frame[(frame["kind"] == kind) & (frame["outcome"] == outcome)].set_index("cell")


def test_the_means_that_rounding_cannot_explain(result):
    found = cells(result, "group mean", "differs")
    assert found["printed"].to_dict() == {
        "ft, specialized": 83.48, "ft, specialized, n = 800": 83.48, "ft, structured, n = 5000": 66.62,
        "vpt, natural, swin_b": 78.78,
    }  # fmt: skip
    assert found.loc["ft, specialized", "recomputed"] == pytest.approx((81.2 + 95.7 + 83.2 + 73.3) / 4)
    seven = 84.4 + 74.1 + 58.4 + 96.1 + 73.1 + 78.9 + 67.95
    assert found.loc["ft, structured, n = 5000", "recomputed"] == pytest.approx(seven / 7)
    assert round(seven / 8, 2) == 66.62
    assert found.loc["ft, structured, n = 5000", "note"] == "is the sum of the 7 printed cells over 8"
    assert set(found["note"]) == {"", "is the sum of the 7 printed cells over 8"}


def test_rounding_is_as_far_as_the_printed_digits_allow(result):
    rows = result.table[result.table["kind"] == "group mean"].set_index("cell")
    assert rows.loc["ft, natural", "rounding"] == pytest.approx(0.055)
    assert rows.loc["vpt, structured, mae", "rounding"] == pytest.approx((7 * 0.05 + 0.005) / 8 + 0.005)
    assert rows.loc["vpt, structured, mae", "outcome"] == "rounding"


@pytest.mark.parametrize(
    ("printed", "outcome"), [(70.0, "agrees"), (70.005, "agrees"), (70.05, "rounding"), (69.94, "differs")]
)
def test_outcomes(printed, outcome):
    check = Check(kind="group mean", table="1", cell="c", printed=printed, recomputed=70.0, exact=0.005, rounding=0.055)
    assert check.outcome == outcome


def test_win_counts(result):
    found = cells(result, "win count", "differs")
    assert found[["printed", "recomputed"]].to_numpy().tolist() == [[1, 2], [8, 7]]
    assert found["note"].tolist() == ["", "a tie counted as a win: clevr_distance"]
    assert len(cells(result, "win count", "agrees")) == 20


def test_cells_printed_twice(result):
    assert list(cells(result, "repeated cell", "differs").index) == ["vpt on resisc45, n = 800"]
    assert cells(result, "same experiment", "differs")["off"].tolist() == [-6.6, 5.7, -0.7]


def test_counts_in_the_text(result):
    rows = result.table[result.table["kind"] == "sentence"].set_index("cell")
    assert rows.loc["VPT wins 16 of 19 tasks", "recomputed"] == 15
    assert rows.loc["One-shot, VPT wins 13 of 19 tasks", "outcome"] == "agrees"
    assert rows.loc["VPT wins 2 of 4 specialized tasks", "outcome"] == "agrees"
    assert rows.loc["FT passes VPT in 9 of 12 plotted tasks: tasks passed", "recomputed"] == 10
    assert rows.loc["FT passes VPT in 9 of 12 plotted tasks: tasks plotted", "recomputed"] == 14
    assert rows.loc["Both methods overfit in 8 out of 9 Structured tasks: number of Structured tasks", "off"] == 1
    assert rows.filter(like="On Swin", axis=0)["outcome"].tolist() == ["agrees"] * 3


def test_a_slip_that_is_put_in_is_found(printed):
    means = printed.means.copy()
    row = (means["setting"] == "one_shot") & (means["group"] == "structured") & (means["method"] == "vpt")
    means.loc[row, ["published_mean", "published_wins"]] = [17.83, 5.0]
    found = audit.measure(replace(printed, means=means)).discrepancies().set_index(["kind", "cell"])
    assert found.loc[("group mean", "vpt, structured, one-shot"), "off"] == pytest.approx(1.005)
    assert found.loc[("win count", "vpt, structured, one-shot"), "recomputed"] == 4


def test_counts_sum_to_all_checks(result):
    counts = result.counts()
    assert counts[["agrees", "rounding", "differs"]].to_numpy().sum() == len(result.frame())
    assert len(result.discrepancies()) == counts[["rounding", "differs"]].to_numpy().sum()
    assert list(counts["kind"]) == list(dict.fromkeys(result.frame()["kind"]))


def test_the_backbone_is_counted():
    with torch.device("meta"):
        model = timm.create_model("vit_base_patch16_224", num_classes=0)
    assert sum(each.numel() for each in model.parameters()) == BACKBONE
    assert (len(model.blocks), model.embed_dim) == (LAYERS, WIDTH)


def test_percentages_of_tuned_parameters(printed):
    frame = tuned_percents(printed).set_index("task")
    tuned = 12 * 200 * 768 + 6 * 769
    assert frame.loc["clevr_distance", "of_all_with_head"] == pytest.approx(100 * tuned / (BACKBONE + tuned))
    assert frame.loc["clevr_distance", "of_backbone"] == pytest.approx(100 * 12 * 200 * 768 / BACKBONE)
    assert readings(frame).to_dict() == {
        "of_all_with_head": 4, "of_all": 0, "of_backbone_with_head": 0, "of_backbone": 1
    }  # fmt: skip
    agree = frame.index[[rounds_to(*pair) for pair in zip(frame["of_all_with_head"], frame["printed"], strict=True)]]
    assert set(agree) == {"clevr_distance", "dmlab", "smallnorb_azimuth", "smallnorb_elevation"}


def test_every_percentage_fits_just_one_of_the_printed_lengths(printed):
    frame = tuned_percents(printed).set_index("task")
    assert frame["implied_length"].notna().all()
    assert frame.loc[["cifar100", "svhn", "patch_camelyon", "retinopathy"], "implied_length"].tolist() == [
        10,
        50,
        100,
        1,
    ]
    assert percent(10, 100) == pytest.approx(100 * (92160 + 76900) / (BACKBONE + 92160 + 76900))
