import pytest

from vptft.checkpoints.native import load_run
from vptft.published.reproduction import Reproduction


@pytest.fixture
def both(train, squares, tmp_path):
    """A VPT run and an FT run of the registered squares, in one folder."""
    for method in ("vpt_deep", "ft"):
        train(squares, tmp_path / "runs" / method, "--method", method)
    return tmp_path / "runs"


def test_quadrants_give_one_row_a_task(parsed, both, squares):
    found = parsed("quadrants", both, "--reference", squares, "--extractor", "tiny:32", "--images", 20)
    plane, networks = found["quadrants"], found["outcomes"]["rows"]
    assert len(found) == 2
    assert sum(networks[0][name] for name in ("both", "only_vpt", "only_ft", "neither")) == networks[0]["n_test"]
    (row,) = plane["rows"]
    told = [(each["hypothesis"], each["verdict"], each["reason"]) for each in plane["findings"]]
    assert told[0] == ("W0", "inconclusive", "one seed: no verdict")
    assert [each[:2] for each in told[1:]] == [("W5", "not applicable")]
    assert (row["task"], row["objective"], row["n_seeds"]) == (squares, "classification", 1)
    runs = {method: load_run(both / method).info.test_accuracy for method in ("vpt_deep", "ft")}
    assert (row["accuracy_vpt"], row["accuracy_ft"]) == pytest.approx((runs["vpt_deep"], runs["ft"]))
    assert row["gap_points"] == pytest.approx(100 * (runs["vpt_deep"] - runs["ft"]))
    assert row["low_points"] <= row["gap_points"] <= row["high_points"]


def test_quadrants_warn_of_confounds(call, train, squares, tmp_path):
    train(squares, tmp_path / "runs" / "vpt", "--method", "vpt_deep")
    train(squares, tmp_path / "runs" / "ft", "--method", "ft", "--weight-decay", "0.5")
    result = call(
        "quadrants", tmp_path / "runs", "--reference", squares, "--extractor", "tiny:32", "--images", 20, "--json"
    )
    assert result.exit_code == 0
    assert "warning: the two sides differ in more than the method: weight decay: 0.01 vs 0.5" in result.stderr


def test_a_run_without_a_partner_is_named(call, both, train, squares, tmp_path):
    train(squares, both / "lone", "--method", "ft", "--seed", "5")
    result = call("quadrants", both, "--reference", squares, "--extractor", "tiny:32", "--images", 20)
    assert result.exit_code == 0
    assert f"warning: {both / 'lone'} is left out: ft without a partner" in result.stderr
    assert result.stderr.count("without a partner") == 1


def test_quadrants_write_figures_for_one_column_and_for_two(call, both, squares, tmp_path):
    arguments = ("--reference", squares, "--extractor", "tiny:32", "--images", 20, "-o", tmp_path / "out")
    result = call("quadrants", both, *arguments)
    assert result.exit_code == 0, result.stderr
    names = {path.stem for path in (tmp_path / "out" / "figures").iterdir()}
    assert names == {"gaps", "quadrants", "quadrants-column", "distance-bars", "distance-bars-column"}
    assert (tmp_path / "out" / "results" / "objective" / "result.json").is_file()


def test_runs_are_laid_over_the_published_numbers(call, both, squares, tmp_path):
    arguments = ("--reference", squares, "--extractor", "tiny:32", "--images", 20, "--no-disparity")
    result = call("quadrants", both, *arguments, "--compare", "published", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "Reproduced: the 95% interval of own minus printed" in result.stdout
    frame = Reproduction.load(tmp_path / "out" / "results" / "reproduction").frame()
    assert set(frame["outcome"]) == {"not applicable"}
    assert frame["own"].notna().all()


def test_what_is_no_run_is_not_compared(call, tmp_path):
    for source in ("--published", tmp_path / "mine.csv"):
        result = call("quadrants", source, "--compare", "published")
        assert result.exit_code == 2
        assert "only runs can be compared" in result.stderr


def test_quadrants_of_the_papers_tables(parsed, call, tmp_path):
    planes = parsed("quadrants", "--published")
    assert {name: len(plane["rows"]) for name, plane in planes.items()} == {"quadrants-fgvc": 5, "quadrants-vtab": 19}
    rows = [row for plane in planes.values() for row in plane["rows"]]
    assert sum(row["distance"] is not None for row in rows) == 5
    result = call("quadrants", "--published", "-o", tmp_path)
    assert "W2" in result.stdout
    assert "inconclusive" in result.stdout
    assert (tmp_path / "figures" / "quadrants-fgvc-column.pdf").is_file()
    assert (tmp_path / "figures" / "gaps-vtab.pdf").is_file()


def test_quadrants_of_a_table(parsed, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("task,accuracy_vpt,accuracy_ft,distance,objective_is_far\na,71,70,10,false\nb,50,55.5,,true\n")
    first, second = parsed("quadrants", path)["quadrants"]["rows"]
    assert (first["gap_points"], first["distance"], first["winner"]) == (pytest.approx(1), 10, "vpt")
    assert (second["gap_points"], second["distance"], second["winner"]) == (pytest.approx(-5.5), None, "ft")


def test_quadrants_want_one_source(call):
    for arguments in (("quadrants",), ("quadrants", "runs", "--published")):
        result = call(*arguments)
        assert result.exit_code == 2
        assert "give runs or a CSV, or --published" in result.stderr


def test_runs_without_a_pair_are_refused(call, both):
    result = call("quadrants", both / "ft")
    assert result.exit_code == 1
    assert "No pair of vpt_deep and ft" in result.stderr
