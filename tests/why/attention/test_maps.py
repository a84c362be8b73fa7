import numpy as np
import pytest
import torch

from oracles.vit import make_vit
from vptft.errors import SettingsError
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention.maps import _on_object, measure, outcomes


def model(layers=None, **settings):
    spec = None if layers is None else PromptSpec(length=5, layers=layers)
    built = TunedModel(make_vit("cls", **settings), n_classes=3, prompts=spec)
    torch.nn.init.normal_(built.head.weight, generator=torch.Generator().manual_seed(1))
    return built.eval()


def measured(masks=None):
    pixels = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return measure(
        model((0, 1, 2, 3)),
        model(seed=1),
        images=pixels / 128 - 1,
        pixels=pixels,
        labels=np.array([0, 1, 2, 0, 1, 2]),
        ids=tuple("abcdef"),
        task="t",
        masks=masks,
    )


def test_masses_sum_to_one_maps_too_and_only_vpt_has_prompts():
    result = measured()
    masses = result.frame()[["patch_mass", "cls_mass", "register_mass", "prompt_mass"]].sum(axis=1)
    assert masses.to_numpy() == pytest.approx(1, abs=1e-5)
    assert result.maps.shape == (6, 2, 4, 4)
    assert result.maps.sum(axis=(2, 3)) == pytest.approx(1, abs=1e-5)
    by_method = result.frame().groupby("method")["prompt_mass"].mean()
    assert by_method["ft"] == 0
    assert by_method["vpt"] > 0.05
    assert result.share.sum(axis=1) == pytest.approx(result.frame().query("method == 'vpt'")["prompt_mass"], abs=1e-6)


def test_outcomes_are_the_four_of_two_methods():
    vpt, ft = np.array([True, True, False, False]), np.array([True, False, True, False])
    assert outcomes(vpt, ft) == ["both right", "only VPT right", "only FT right", "both wrong"]


def test_the_share_on_the_object_is_exact_for_planted_maps():
    mask = np.zeros((1, 32, 32), dtype=bool)
    mask[0, :8, :12] = True  # patch (0, 0) whole, patch (0, 1) half
    on_corner, even = np.zeros((1, 4, 4)), np.full((1, 4, 4), 1 / 16)
    on_corner[0, 0, 0] = 1
    assert _on_object(on_corner, mask)["on_object"] == pytest.approx(1)
    assert _on_object(even, mask)["on_object"] == pytest.approx(1.5 / 16)
    assert _on_object(even, mask)["object_area"] == pytest.approx(1.5 / 16)


def test_without_masks_y4_is_not_applicable_and_with_them_withheld():
    assert measured().findings()[0].verdict == "not applicable"
    masks = np.zeros((6, 32, 32), dtype=bool)
    masks[:, :16] = True
    (finding,) = measured(masks).findings()
    assert finding.verdict == "inconclusive"
    assert finding.low < finding.effect < finding.high
    assert finding.n == 6


def test_different_grids_are_refused():
    other = model()
    other.backbone.set_input_size(img_size=(64, 64))
    x = torch.zeros(1, 3, 32, 32)
    with pytest.raises(SettingsError, match=r"grids \(4, 4\) and \(8, 8\)"):
        measure(model((0,)), other, images=x, pixels=x.byte(), labels=np.array([0]), ids=("a",), task="t")
