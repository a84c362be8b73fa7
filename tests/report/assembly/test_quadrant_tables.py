import numpy as np
import pytest
from scipy import stats

from vptft.errors import DataError
from vptft.report.assembly.quadrant_tables import plane_of_csv, published_planes

HEADER = "task,accuracy_vpt,accuracy_ft,distance,objective_is_far"


def plane(tmp_path, *rows, header=HEADER):
    path = tmp_path / "t.csv"
    path.write_text("\n".join([header, *rows]))
    return plane_of_csv(path, boundary=None, seed=0)


def test_the_papers_tables_have_their_sides_and_only_fgvc_its_distances():
    planes = published_planes(boundary=None, seed=0)
    fgvc, vtab = (planes[name].frame() for name in ("quadrants-fgvc", "quadrants-vtab"))
    assert len(fgvc) == 5
    assert not fgvc["objective_is_far"].any()
    assert fgvc.set_index("task").loc["stanford_cars", "distance"] == 182.487
    assert len(vtab) == 19
    assert vtab["objective_is_far"].sum() == 8
    assert vtab["distance"].isna().all()
    cells = planes["quadrants-vtab"].cells  # of near objectives the paper groups the data by hand, of far ones nobody
    assert cells[["objective_is_far", "data_is_far", "n_tasks"]].to_numpy().tolist() == [[0, 0, 7], [0, 1, 4]]
    (w0, w1, w2, w5) = planes["quadrants-vtab"].findings()
    assert (w0.n, w0.verdict) == (19, "supported")
    assert (w1.n, w2.n) == (11, 19)
    assert (w1.verdict, w2.verdict, w5.verdict) == ("inconclusive", "inconclusive", "not applicable")


def test_the_papers_rule_is_judged_on_its_own_tasks_by_its_own_grouping():
    """FT where the data are far and the objective near: one tie left out, it names as many as "always VPT"."""
    (row,) = published_planes(boundary=None, seed=0)["quadrants-vtab"].predictions.to_dict("records")
    assert (row["boundary"], row["n"], row["ties"]) == ("design", 18, 1)
    assert row["accuracy"] == row["always_vpt"] == pytest.approx(15 / 18)


@pytest.mark.parametrize(("seeds", "verdict"), [(None, "inconclusive"), (2, "inconclusive"), (3, "supported")])
def test_a_table_bears_a_verdict_only_where_it_tells_of_three_trainings(tmp_path, seeds, verdict):
    rows = [f"t{i},{70 + (8 if i % 2 else -8) + i / 10},70,{i},{'far' if i % 2 else 'near'}" for i in range(14)]
    header = HEADER if seeds is None else f"{HEADER},n_seeds"
    found = plane(tmp_path, *(row if seeds is None else f"{row},{seeds}" for row in rows), header=header)
    (w2,) = (each for each in found.findings() if each.hypothesis == "W2")
    assert w2.verdict == verdict


def test_a_table_may_say_more(tmp_path):
    header = HEADER + ",disparity,group,pretraining,measure"
    frame = plane(tmp_path, "a,70,60,5,near,0.1,g,masked,KID", "b,70,60,6,far,,g,masked,KID", header=header).frame()
    assert frame["disparity"].tolist() == [0.1, pytest.approx(np.nan, nan_ok=True)]
    assert frame.loc[0, ["group", "pretraining", "measure_name"]].tolist() == ["g", "masked", "KID"]
    assert frame["objective_is_far"].tolist() == [False, True]


@pytest.mark.parametrize(
    ("rows", "match"),
    [
        (["a,x,60,5,near"], r"row 2: 'x' is no number"),
        (["a,70,600,5,near"], r"row 2: 600 is no accuracy in percent"),
        (["a,70,60,5,near", "a,70,60,5,near"], "names task 'a' twice"),
        (["a,70,60,5,near", "b,70,60,5,perhaps"], "row 3: objective_is_far is 'perhaps'"),
        (["a,70,60,far-away,near"], "'far-away' is no number"),
        (["a,70,60,5,near,2.5"], "n_seeds is '2.5'; it must be a whole number"),
    ],
)
def test_what_cannot_be_read_is_said(tmp_path, rows, match):
    with pytest.raises(DataError, match=match):
        plane(tmp_path, *rows, header=f"{HEADER},n_seeds" if rows[0].count(",") > 4 else HEADER)


def test_trainings_of_a_task_give_its_gap_an_interval(tmp_path):
    rows = [f"a,{seed},{vpt},{ft},5,near" for seed, vpt, ft in ((0, 71, 70), (1, 74, 70), (2, 73, 71))]
    rows += ["b,0,50,61,6,far", "b,1,50,60,6,far"]
    frame = plane(tmp_path, *rows, header="task,seed," + HEADER.removeprefix("task,")).frame()
    gap = stats.ttest_1samp([1, 4, 2], 0).confidence_interval()
    assert frame["n_seeds"].tolist() == [3, 2]
    found = frame.loc[0, ["gap_points", "low_points", "high_points", "accuracy_vpt"]].tolist()
    assert found == pytest.approx([7 / 3, gap.low, gap.high, 218 / 300])
    assert frame["winner"].tolist() == ["uncertain", "ft"]


def test_trainings_of_one_task_agree_on_what_the_task_is(tmp_path):
    header = "task,seed," + HEADER.removeprefix("task,")
    with pytest.raises(DataError, match="row 3: distance of 'a' is '6', in another row '5'"):
        plane(tmp_path, "a,0,71,70,5,near", "a,1,71,70,6,near", header=header)
    with pytest.raises(DataError, match="names task 'a' seed '0' twice"):
        plane(tmp_path, "a,0,71,70,5,near", "a,0,71,70,5,near", header=header)


def test_a_table_without_its_columns_and_no_table_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"lacks the columns \['distance', 'objective_is_far'\]"):
        plane(tmp_path, "a,1,2", header="task,accuracy_vpt,accuracy_ft")
    with pytest.raises(DataError, match="could not be read as a table"):
        plane_of_csv(tmp_path / "none.csv", boundary=None, seed=0)
