import re
import shutil
from typing import get_args

import numpy as np
import pytest

from vptft.cli import distances as commands
from vptft.features import extraction, streaming
from vptft.features.statistics import read_statistics
from vptft.when.distribution.distance import Debias, SetDistance

ALONE = ("--extractor", "tiny:32", "--alone")


def test_the_words_of_an_option_are_those_of_the_analysis():
    assert get_args(commands.Debias) == get_args(Debias)


def test_a_set_with_itself_is_zero_and_others_are_named_for_their_extractor(parsed, squares, image_folder):
    rows = parsed("fid", squares, squares, image_folder / "red", *ALONE)
    assert [row["second"] for row in rows] == [squares, str(image_folder / "red")]
    assert rows[0]["distance"] == pytest.approx(0, abs=1e-6)
    assert rows[1]["distance"] > 1e-3
    assert {row["measure_name"] for row in rows} == {"FD (tiny, 32 px)"}
    assert (rows[0]["n_first"], rows[1]["n_second"], rows[0]["dimensions"]) == (30, 10, 32)


def test_compare_is_what_fid_does(parsed, squares, image_folder):
    words = (squares, image_folder / "red", *ALONE)
    assert parsed("fid", *words) == parsed("fid", "compare", *words) == parsed("fid", *words[2:], *words[:2])


def test_a_second_space_stands_beside_the_first(parsed, squares, image_folder, monkeypatch):
    monkeypatch.setattr("vptft.features.extractors._dinov2_installed", lambda: False)
    rows = parsed("fid", squares, image_folder / "red", "--extractor", "tiny:32")
    assert [row["measure_name"] for row in rows] == ["FD (tiny, 32 px)", "FD (pixels, 32 px), 29 components"]
    assert [row["dimensions"] for row in rows] == [32, 29]
    assert len(parsed("fid", squares, image_folder / "red", "--extractor", "pixels")) == 1
    several = parsed("fid", squares, image_folder / "red", "--extractor", "tiny:32,tiny:40,tiny:32")
    assert [row["measure_name"] for row in several] == ["FD (tiny, 32 px)", "FD (tiny, 40 px)"]


def test_every_pair_is_compared_and_every_set_extracted_once(parsed, image_folder, monkeypatch, tmp_path):
    embedded = []
    plain = extraction.embed
    monkeypatch.setattr(extraction, "embed", lambda *words: embedded.append(words[0].name) or plain(*words))
    folders = [str(image_folder / name) for name in ("red", "green", "blue")]
    rows = parsed("fid", *folders, *ALONE, "--matrix", "-o", tmp_path / "out")
    assert [(row["first"], row["second"]) for row in rows] == [
        (folders[0], folders[1]), (folders[0], folders[2]), (folders[1], folders[2]),
    ]  # fmt: skip
    assert sorted(embedded) == sorted(folders)
    assert len(list((tmp_path / "out" / "results" / "distance").iterdir())) == 3
    assert [path.suffix for path in sorted((tmp_path / "out" / "figures").glob("matrix*"))] == [".pdf", ".png", ".svg"]


def test_bars_and_agreement_are_drawn(parsed, image_folder, tmp_path):
    folders = [str(image_folder / name) for name in ("red", "green", "blue")]
    parsed("fid", image_folder, *folders, "--extractor", "tiny:32,pixels", "-o", tmp_path)
    names = {path.name for path in (tmp_path / "figures").glob("*.png")}
    assert len([name for name in names if name.startswith("distances-")]) == 2
    assert "agreement.png" in names


def test_options_reach_the_analysis(parsed, squares, image_folder, tmp_path):
    parsed(
        "fid", squares, image_folder, *ALONE, "--debias", "infinity", "--neighbours", 3, "--components", 8,
        "--per-class", "--seed", 4, "--n", 21, "-o", tmp_path,
    )  # fmt: skip
    (folder,) = (tmp_path / "results" / "distance").iterdir()
    result = SetDistance.load(folder)
    asked = {"debias": "infinity", "neighbours": 3, "components": 8, "per_class": True, "seed": 4}
    assert asked.items() <= result.settings.items()
    assert (result.n_first, result.n_second, result.dimensions, len(result.curve)) == (21, 21, 8, 10)
    assert sorted(result.classes["class"].unique()) == ["blue", "green", "red"]
    assert set(result.classes["against"]) == {"all", "same class"}


def test_classes_are_shown_and_in_the_json(parsed, call, squares, image_folder):
    words = ("fid", image_folder / "red", squares, *ALONE, "--per-class")
    (row,) = parsed(*words)
    assert sorted(each["class"] for each in row["classes"]) == ["blue", "green", "red"]
    shown = call(*words).stdout
    assert "Class by class" in shown
    assert "green" in shown


def test_sets_that_are_the_same_and_neighbours_that_are_not_there_are_said(parsed, call, squares, image_folder):
    result = call("fid", squares, squares, *ALONE)
    assert f"warning: {squares} and {squares} are the same images" in result.stderr
    result = call("fid", squares, image_folder / "red", *ALONE, "--neighbours", 10)
    assert "too few images for 10 neighbours, so no precision or recall" in result.stderr
    assert "same images" not in result.stderr


def test_statistics_of_pixels_are_compared_in_the_components_of_pixels(parsed, call, image_folder, tmp_path):
    folders = {name: image_folder / name for name in ("red", "green")}
    files = {name: tmp_path / f"{name}.npz" for name in folders}
    for name, folder in folders.items():
        assert call("fid", "stats", folder, "--extractor", "pixels:4", "-o", files[name]).exit_code == 0
    (of_files,) = parsed("fid", *files.values())
    (of_folders,) = parsed("fid", *folders.values(), "--extractor", "pixels:4", "--alone")
    assert (of_files["measure_name"], of_files["dimensions"]) == (of_folders["measure_name"], of_folders["dimensions"])
    assert of_files["distance"] == pytest.approx(of_folders["distance"])


def test_small_and_broken_sets_are_warned_of_on_stderr(call, squares, image_folder, tmp_path):
    shutil.copytree(image_folder / "red", tmp_path / "some")
    (tmp_path / "some" / "bad.png").write_text("no image")
    result = call("fid", squares, tmp_path / "some", *ALONE, "--json")
    assert result.exit_code == 0
    assert "fewer images than the 32 dimensions" in result.stderr
    assert "rank 9 of 32" in result.stderr
    assert "images that could not be read and are not counted, 1: bad.png" in result.stderr
    assert "warning" not in result.stdout


def test_two_images_are_kept_though_they_have_no_noise_floor(parsed, image_folder, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(2):
            shutil.copy(image_folder / "red" / f"{i}.png", tmp_path / name)
    (row,) = parsed("fid", tmp_path / "a", tmp_path / "b", *ALONE, "-o", tmp_path / "out")
    assert row["noise_floor"] is None
    (path,) = (tmp_path / "out" / "results" / "distance").iterdir()
    assert SetDistance.load(path).noise_floor is None


def test_unknown_names_are_told(call, squares):
    unknown = call("fid", squares, "sqares", *ALONE)
    assert unknown.exit_code == 1
    assert "named 'sqares'. Did you mean squares" in unknown.stderr
    extractor = call("fid", squares, squares, "--extractor", "inceptoin")
    assert extractor.exit_code == 1
    assert "no extractor named 'inceptoin'. Did you mean inception" in extractor.stderr


def test_a_wrong_number_of_sets_is_a_usage_error(call, squares):
    for words in (("fid", squares), ("fid", squares, squares, "--debias", "bootstrap"), ("fid", "stats", squares)):
        assert call(*words).exit_code == 2


@pytest.fixture
def shards(call, squares, tmp_path):
    """Statistics of the squares in three shards."""
    paths = [tmp_path / f"part{i}.npz" for i in range(3)]
    for i, path in enumerate(paths):
        result = call("fid", "stats", squares, "--extractor", "tiny:32", "--shard", f"{i}/3", "-o", path)
        assert result.exit_code == 0, result.stderr
    return paths


def test_merged_shards_are_the_whole(parsed, call, squares, shards, tmp_path):
    told = parsed("fid", "stats", squares, "--extractor", "tiny:32", "-o", tmp_path / "whole")
    assert told == {
        "statistics": str(tmp_path / "whole.npz"), "name": squares, "n": 30, "skipped": 0, "dimensions": 32,
        "shards": [],
    }  # fmt: skip
    merged = parsed("fid", "merge", shards[2], shards[0], shards[1], "-o", tmp_path / "merged.npz")
    assert (merged["n"], merged["shards"]) == (30, ["0/3", "1/3", "2/3"])
    (row,) = parsed("fid", tmp_path / "whole.npz", tmp_path / "merged.npz")
    assert row["distance"] == pytest.approx(0, abs=1e-6)
    (direct,) = parsed("fid", squares, squares, *ALONE)
    (stored,) = parsed("fid", tmp_path / "merged.npz", squares)
    assert stored["measure_name"] == direct["measure_name"] == "FD (tiny, 32 px)"
    assert stored["distance"] == pytest.approx(direct["distance"], abs=1e-6)


def test_what_is_missing_or_twice_is_said(call, shards, tmp_path):
    part = call("fid", "merge", shards[0], shards[2], "-o", tmp_path / "merged.npz")
    assert part.exit_code == 0
    assert "missing are shards 1/3" in part.stderr
    assert "missing are shards 1/3" in call("fid", tmp_path / "merged.npz", shards[1]).stderr
    twice = call("fid", "merge", shards[0], shards[0], "-o", tmp_path / "twice.npz")
    assert twice.exit_code == 1
    assert "both hold shard 0/3; it would count twice" in twice.stderr
    assert not (tmp_path / "twice.npz").exists()


def test_another_programs_statistics_are_taken_at_their_word(parsed, call, squares, shards, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "theirs.npz", mu=rng.normal(size=32), sigma=np.cov(rng.normal(size=(32, 99))))
    result = call("fid", tmp_path / "theirs.npz", squares, "--extractor", "tiny:32", "--json")
    assert result.exit_code == 0
    assert "does not say how many images it is of" in result.stderr
    other = call("fid", shards[0], squares, "--extractor", "tiny:40")
    assert other.exit_code == 1
    assert "different feature spaces: extractor (tiny:32 and tiny:40) and resize" in other.stderr
    foreign = call("fid", "merge", tmp_path / "theirs.npz", shards[0], "-o", tmp_path / "no.npz")
    assert foreign.exit_code == 1
    assert "theirs.npz does not say how many images it is of" in foreign.stderr


@pytest.mark.parametrize(
    ("shard", "code", "said"),
    [
        ("3/3", 2, "got '3/3'"),
        ("1", 2, "written I/N"),
        ("-1/3", 2, "written I/N"),
        ("2/99", 1, "Shard 2/99 .* no image"),
    ],
)
def test_a_shard_that_is_not_one_is_refused(call, squares, tmp_path, shard, code, said):
    result = call("fid", "stats", squares, "--extractor", "tiny:32", "--shard", shard, "-o", tmp_path / "x.npz")
    assert result.exit_code == code
    assert re.search(said, result.stderr)
    assert not (tmp_path / "x.npz").exists()


def test_an_interrupted_pass_goes_on_where_it_stopped(call, squares, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "BATCH", 4)
    monkeypatch.setattr(streaming, "CHUNK", 8)
    starts = []
    plain = streaming.embed

    def counted(images, extractor, start, stop):
        starts.append(start)
        if len(starts) == 6:
            raise KeyboardInterrupt
        return plain(images, extractor, start, stop)

    monkeypatch.setattr(streaming, "embed", counted)
    words = ("fid", "stats", squares, "--extractor", "tiny:32", "-o", tmp_path / "x.npz")
    stopped = call(*words)
    assert stopped.exit_code == 130
    assert "the same command goes on" in stopped.stderr
    assert call(*words).exit_code == 0
    assert starts == [0, 4, 8, 12, 16, 20, 16, 20, 24, 28]
    assert [path.name for path in tmp_path.glob(".x*partial*")] == []
    assert read_statistics(tmp_path / "x.npz").n == 30
    assert call(*words).exit_code == 0
    assert len(starts) == 10


def test_extractors_are_listed(parsed):
    rows = parsed("extractors")
    assert {"inception", "inception:64", "dinov2-s", "clip-l14-336", "efficientnet-lite0", "pixels"} <= {
        row["extractor"] for row in rows
    }
    assert all(row["about"] for row in rows)
