import numpy as np
import pytest

from vptft.errors import SettingsError
from vptft.evidence.statistics.resampling import PairedDraw
from vptft.when.datasize.cells import Cell, combined, complete_draws, mean_gaps, sizes_of


def cell(n, gap, draw=None, images=None):
    return Cell(
        task="t", task_group="g", pretraining="p", n_train=n, accuracy_vpt=0.5 + gap / 100, accuracy_ft=0.5, draw=draw,
        images=images,
    )  # fmt: skip


def test_gaps_are_means_over_draws_in_the_order_of_sizes():
    cells = [cell(800, 1.0, 0), cell(400, 4.0, 0), cell(400, 6.0, 1)]
    assert sizes_of(cells).tolist() == [400, 800]
    assert mean_gaps(cells) == pytest.approx([5.0, 1.0])
    assert complete_draws(cells) == [[cells[1], cells[0]]]
    assert complete_draws([cell(400, 1.0)]) == []


def test_a_sum_over_sizes_is_one_of_images_where_all_sizes_share_them():
    rng = np.random.default_rng(0)
    groups = np.array(["a", "a", "b"])
    rows = [[cell(n, 0, d, PairedDraw(differences=rng.normal(size=3), groups=groups)) for n in (1, 2)] for d in (0, 1)]
    weights = np.array([-1.0, 1.0])
    for row, found in zip(rows, combined(rows, weights), strict=True):
        expected = 100 * (row[1].images.differences - row[0].images.differences)
        np.testing.assert_allclose(found.differences, expected)
        assert found.groups.tolist() == ["a", "a", "b"]


def test_a_sum_over_sizes_is_a_number_a_draw_where_they_do_not():
    other = PairedDraw(differences=np.zeros(2), groups=np.array(["a", "b"]))
    third = PairedDraw(differences=np.zeros(2), groups=np.array(["a", "c"]))
    for images in ((None, None), (other, third), (other, None)):
        rows = [[cell(1, 2.0, d, images[0]), cell(2, 5.0 + d, d, images[1])] for d in (0, 1)]
        found = combined(rows, np.array([-1.0, 1.0]))
        assert [each.differences.tolist() for each in found] == [pytest.approx([3.0]), pytest.approx([4.0])]
        assert found[0].groups.tolist() != found[1].groups.tolist()


@pytest.mark.parametrize(
    ("cells", "match"),
    [
        ([cell(400, 1.0, 3), cell(400, 2.0, 3)], "two pairs of 400 training images and draw 3"),
        ([cell(400, 1.0), cell(400, 2.0)], "two pairs of 400 training images and no draw"),
    ],
)
def test_two_cells_for_one_place_are_refused(cells, match):
    with pytest.raises(SettingsError, match=match):
        complete_draws(cells)


def test_what_is_no_cell_is_refused():
    with pytest.raises(SettingsError, match="at least 1, not 0"):
        cell(0, 1.0)
    with pytest.raises(SettingsError, match=r"fraction from 0 to 1, not 1\.2"):
        cell(1, 70.0)
