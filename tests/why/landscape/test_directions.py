import numpy as np
import pytest
import torch

from vptft.errors import SettingsError
from vptft.why.landscape.directions import (
    dot,
    eigenvector_plane,
    norm,
    plane_through,
    random_direction,
    trajectory_plane,
    weights_of,
)  # fmt: skip
from vptft.why.landscape.parameters import space


def points(count, *, size=30, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        {"w": torch.randn(size, generator=generator), "v": torch.randn(3, 2, generator=generator)} for _ in range(count)
    ]


def flat(point):
    return torch.cat([part.flatten().double() for part in point.values()]).numpy()


def test_directions_have_the_norm_of_each_filter_and_leave_vectors_alone(model):
    parameters = space(model(prompts=4), "all")
    found = random_direction(parameters, torch.Generator().manual_seed(0))
    rows = ("head.weight", "backbone.blocks.0.mlp.fc1.weight")
    tokens = ("prompts.tokens", "backbone.pos_embed", "backbone.cls_token")
    for name in rows + tokens:
        torch.testing.assert_close(found[name].norm(dim=-1), parameters[name].norm(dim=-1))
    kernel = "backbone.patch_embed.proj.weight"
    torch.testing.assert_close(found[kernel].flatten(1).norm(dim=1), parameters[kernel].flatten(1).norm(dim=1))
    assert not found["backbone.norm.weight"].any()
    assert not found["head.bias"].any()


def test_a_place_of_a_plane_has_its_coordinates_and_its_distance():
    first, second, third, off = points(4)
    plane = plane_through(first, second, third)
    place = {name: first[name] + 0.5 * plane.first[name] - 2 * plane.second[name] for name in first}
    assert plane.coordinates(place) == pytest.approx((0.5, -2.0, 0.0), abs=1e-3)
    basis = np.stack([flat(plane.first), flat(plane.second)], axis=1)
    gap = flat(off) - flat(first)
    expected, residual, *_ = np.linalg.lstsq(basis, gap)
    assert plane.coordinates(off) == pytest.approx((*expected, np.sqrt(residual[0])), rel=1e-5)


def test_the_plane_of_a_trajectory_is_its_principal_components():
    path = points(6)
    plane = trajectory_plane(path)
    steps = np.stack([flat(point) - flat(path[-1]) for point in path[:-1]])
    _, values, axes = np.linalg.svd(steps, full_matrices=False)
    for mine, axis in zip((plane.first, plane.second), axes, strict=False):
        assert abs(flat(mine) @ axis) == pytest.approx(1, abs=1e-5)
    assert plane.explained == pytest.approx(tuple((values**2 / (values**2).sum())[:2]), rel=1e-4)


def test_a_trajectory_on_a_line_or_of_two_points_has_no_plane():
    start, way = points(2)
    with pytest.raises(SettingsError, match="on one line"):
        trajectory_plane([{name: start[name] + k * way[name] for name in start} for k in range(4)])
    with pytest.raises(SettingsError, match="needs three points"):
        trajectory_plane(points(2))


def test_a_unit_along_an_eigenvector_is_the_norm_of_the_weights(model):
    parameters = space(model(prompts=4), "prompts")
    vector = {"prompts.tokens": torch.randn_like(parameters["prompts.tokens"]) * 7}
    plane = eigenvector_plane(parameters, [vector])
    assert plane.second is None
    assert norm(plane.first) == pytest.approx(norm(weights_of(parameters)), rel=1e-5)
    assert dot(plane.first, vector) == pytest.approx(norm(plane.first) * norm(vector), rel=1e-5)
    with pytest.raises(SettingsError, match="one or two eigenvectors, not 3"):
        eigenvector_plane(parameters, [vector] * 3)
