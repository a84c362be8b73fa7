import csv
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from vptft.data import fgvc, vtab
from vptft.errors import SettingsError
from vptft.published.tables import GAP_COLUMNS, MAE, SUPERVISED, SWIN, VIT, chosen, gaps


def rows(name):
    """The file read by another reader, as text."""
    with (files("vptft.published") / "data" / f"{name}.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_every_row_of_the_files_is_there_with_its_value(printed):
    for name, frame, column in (
        ("accuracies", printed.accuracies, "accuracy"), ("published_means", printed.means, "published_mean"),
        ("fid_fgvc", printed.fids, "fid"), ("prompt_lengths", printed.prompt_lengths, "prompt_length"),
        ("tuned_percent", printed.tuned_percents, "tuned_percent"),
    ):  # fmt: skip
        assert frame[column].tolist() == [float(row[column]) for row in rows(name)]
    assert len(printed.accuracies) == 376
    assert not printed.accuracies.drop(columns="images").isna().any(axis=None)


def test_tasks_and_groups_are_those_of_the_registry(printed):
    cells = printed.accuracies
    known = {(row.group, row.name) for row in vtab.TASKS} | {("fgvc", row.name) for row in fgvc.TASKS}
    assert set(zip(cells["group"], cells["task"], strict=True)) == known
    assert (
        list(printed.prompt_lengths["task"]) == [row.name for row in vtab.TASKS] == list(printed.tuned_percents["task"])
    )


def test_the_sizes_at_800_repeat_the_main_tables_but_for_one_cell(printed):
    cells = printed.accuracies
    on = ["method", "task"]
    main = chosen(cells, setting="vtab1k", backbone=VIT, pretraining=SUPERVISED).set_index(on)["accuracy"]
    repeats = cells[cells["repeats"]].set_index(on)["accuracy"]
    assert len(repeats) == 2 * 19
    differ = repeats[repeats != main.loc[repeats.index]]
    assert differ.to_dict() == {("vpt", "resisc45"): 83.3}
    assert main["vpt", "resisc45"] == 83.4
    assert set(cells.loc[cells["repeats"], "n_train"]) == {"800"}


def test_missing_cells_stay_missing(printed):
    sizes = chosen(printed.accuracies, setting="data_scale", method="ft")
    counts = sizes.groupby("task").size()
    assert counts[["caltech101", "dtd", "flowers102", "pets", "kitti_distance"]].tolist() == [2] * 5
    assert (counts == 4).sum() == 14


def test_decimals_are_those_printed(printed):
    cells = printed.accuracies
    fine = cells[cells["decimals"] == 2]
    assert sorted(fine["accuracy"]) == [14.88, 67.95, 68.02]
    assert set(cells["decimals"]) == {1, 2}


def test_a_gap_pairs_what_was_printed_under_the_same_conditions(printed):
    frame = gaps(printed.accuracies)
    assert tuple(frame.columns) == GAP_COLUMNS
    row = chosen(frame, setting="vtab1k", backbone=SWIN, task="svhn").iloc[0]
    assert (row["accuracy"], row["accuracy_against"], row["gap_points"], row["winner"]) == (86.4, 89.4, -3.0, "ft")
    assert len(chosen(frame, pretraining=MAE)) == 19
    assert np.isnan(chosen(frame, setting="one_shot")["images"]).all()
    assert chosen(frame, setting="data_scale", n_train="5000")["images"].unique() == [5000]


def test_equal_printed_accuracies_are_neither_won_nor_lost(printed):
    ties = gaps(printed.accuracies).query("winner == 'tie'")
    assert set(ties["task"]) == {"clevr_distance"}
    assert set(ties["n_train"]) == {"1000", "400", "800"}
    assert (ties["gap_points"] == 0).all()


def test_gaps_hold_no_rounding_noise_of_floats(printed):
    values = gaps(printed.accuracies)["gap_points"]
    assert [float(f"{value:.2f}") for value in values] == values.tolist()


def test_a_method_or_selection_that_is_not_printed_is_refused(printed):
    with pytest.raises(SettingsError, match="the methods ft, ft_then_pt, lora, mixed, vpt, not 'adapter'"):
        gaps(printed.accuracies, method="adapter")
    with pytest.raises(SettingsError, match="No printed number has task = 'imagenet'; there are caltech101"):
        chosen(printed.accuracies, task="imagenet")


def test_a_cell_printed_twice_is_refused(printed):
    twice = pd.concat([printed.accuracies, printed.accuracies.head(1)], ignore_index=True)
    with pytest.raises(pd.errors.MergeError, match="not a one-to-one merge"):
        gaps(twice)
