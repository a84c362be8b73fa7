import numpy as np
import pandas as pd
import pytest
import torch

from vptft.errors import SettingsError
from vptft.why.landscape.directions import random_plane, trajectory_plane, weights_of
from vptft.why.landscape.evaluation import Sample
from vptft.why.landscape.parameters import space
from vptft.why.landscape.surfaces import Grid, around_path, measure


class Quadratic(torch.nn.Module):
    """One image's loss is log(1 + exp(-s)), s = scale (c - |w - centre|^2): a bowl through a known function."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))

    def forward(self, x):
        s = x[:, 0] * (3 - (self.weight - 1).square().sum())
        return torch.stack([s, torch.zeros_like(s)], dim=1)


def run(model, grids, sample, **settings):
    return measure(
        model, space_name="all", grids=grids, samples=[sample], label="m", task="t", method="ft", **settings
    )  # fmt: skip


@pytest.fixture
def bowl():
    return Sample(split="test", images=torch.tensor([[0.1], [0.2], [0.3]]), labels=torch.zeros(3, dtype=torch.int64))


def test_every_place_and_batch_has_the_loss_of_a_known_function(bowl):
    model = Quadratic()
    plane = random_plane(space(model, "all"), seed=1)
    axes = {"a": np.array([-0.5, 0.0, 0.5]), "b": np.array([-1.0, 0.0, 1.0])}
    table = run(model, [Grid(plane=plane, **axes)], bowl, batches=3).frame()
    assert len(table) == 27
    for row in table.itertuples():
        weight = plane.origin["weight"] + row.a * plane.first["weight"] + row.b * plane.second["weight"]
        s = bowl.images[row.batch, 0] * (3 - (weight - 1).square().sum())
        assert row.loss == pytest.approx(np.log1p(np.exp(-s.item())), rel=1e-5)
        assert row.accuracy == (s > 0)


def test_the_rise_is_the_mean_over_both_ways_and_all_directions(bowl):
    model = Quadratic()
    axis = np.array([-0.5, 0.0, 0.5])
    grids = [Grid(plane=random_plane(space(model, "all"), seed=seed), a=axis, b=axis) for seed in range(2)]
    result = run(model, grids, bowl)
    (rise,) = result.rises().to_dict("records")
    centre = result.frame().query("a == 0 and b == 0 and plane == 'random 0'")["loss"].mean()
    table = result.frame()
    on_axes = table[(table["a"].abs() + table["b"].abs()).round(6) == 0.5]
    by_direction = on_axes.groupby(["plane", on_axes["a"] == 0])["loss"].mean() - centre
    assert rise["rise"] == pytest.approx(by_direction.mean())
    assert rise["n_directions"] == 4
    assert rise["low"] < rise["rise"] < rise["high"]
    assert rise["reading"] == "average of this run"


def test_one_direction_is_a_picture(bowl):
    model = Quadratic()
    line = Grid(plane=random_plane(space(model, "all"), seed=0, dimensions=1), a=np.linspace(-1, 1, 5), b=np.zeros(1))
    rises = run(model, [line], bowl).rises()
    assert list(rises["step"]) == [0.5, 1.0]
    assert set(rises["reading"]) == {"picture"}
    assert rises["low"].isna().all()


def test_a_trajectory_lies_in_its_plane_where_the_snapshots_were(bowl):
    model = Quadratic()
    end = weights_of(space(model, "all"))
    path = [{"weight": end["weight"] + torch.randn(2, 2, generator=torch.Generator().manual_seed(k))} for k in range(4)]
    plane = trajectory_plane([*path, end])
    grid = around_path(plane, path, count=5)
    result = run(model, [grid], bowl, path=[(k, point) for k, point in enumerate(path)])
    assert list(result.path["epoch"]) == [0, 1, 2, 3]
    for point, row in zip(path, result.path.itertuples(), strict=True):
        assert (row.a, row.b, row.off_plane) == pytest.approx(plane.coordinates(point))
        assert grid.a[0] < row.a < grid.a[-1]
        assert grid.b[0] < row.b < grid.b[-1]
    assert result.rises().empty
    assert result.settings["explained"]["trajectory"][0] > 0.3


def test_rows_may_be_computed_in_any_order_and_place(bowl):
    model = Quadratic()
    grids = [Grid(plane=random_plane(space(model, "all"), seed=0), a=np.linspace(-1, 1, 3), b=np.linspace(-1, 1, 3))]

    def backwards(one, rows):
        return [one(row) for row in reversed(rows)][::-1]

    pd.testing.assert_frame_equal(
        run(model, grids, bowl).frame(), run(model, grids, bowl, mapped=backwards).frame(), check_exact=True
    )  # fmt: skip


def test_more_batches_than_images_are_refused(bowl):
    model = Quadratic()
    grids = [Grid(plane=random_plane(space(model, "all"), seed=0), a=np.zeros(1), b=np.zeros(1))]
    with pytest.raises(SettingsError, match="3 independent test images cannot fill 4 batches"):
        run(model, grids, bowl, batches=4)
