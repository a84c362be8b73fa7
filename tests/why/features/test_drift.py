"""Weight drift of updates made by hand."""

import copy

import numpy as np
import pytest
import torch

from oracles.vit import make_vit
from vptft.errors import NotApplicable
from vptft.why.features.drift import part_of, weight_drift


@pytest.fixture
def before():
    return make_vit("cls", depth=2, seed=0)


def test_an_update_of_known_size_and_rank_is_found_in_its_block_alone(before):
    after = copy.deepcopy(before)
    weight = after.blocks[1].mlp.fc1.weight
    rows, columns = weight.shape
    update = np.zeros((rows, columns))
    update[0, 0], update[1, 1] = 3.0, 1.0
    with torch.no_grad():
        weight += torch.tensor(update, dtype=weight.dtype)
    table = weight_drift(before, after).set_index("part")
    size = np.sqrt(sum(float(p.detach().double().square().sum()) for p in before.blocks[1].parameters()))
    assert table.loc["block 1", "relative_norm"] == pytest.approx(np.sqrt(10) / size, rel=1e-5)
    assert table.loc["block 1", "stable_rank"] == pytest.approx(10 / 9, rel=1e-5)
    assert table.loc["block 1", "effective_rank"] == pytest.approx(4 / 3**0.75, rel=1e-4)
    assert table.loc["block 1", "full_rank"] == min(rows, columns)
    others = table.drop("block 1")
    assert (others["relative_norm"] == 0).all()
    assert others["stable_rank"].isna().all()


def test_parts_are_the_networks_own_and_hold_every_parameter(before):
    after = copy.deepcopy(before)
    with torch.no_grad():
        after.norm.bias += 1
    table = weight_drift(before, after)
    assert list(table["part"]) == ["embedding", "block 0", "block 1", "norm"]
    assert table["parameters"].sum() == sum(p.numel() for p in before.parameters())


def test_doubled_weights_moved_by_their_own_norm(before):
    after = copy.deepcopy(before)
    with torch.no_grad():
        for parameter in after.parameters():
            parameter *= 2
    assert weight_drift(before, after)["relative_norm"].to_numpy() == pytest.approx(1)


def test_prompts_and_probes_move_no_weight(before):
    with pytest.raises(NotApplicable, match="moves no weight of the backbone"):
        weight_drift(before, copy.deepcopy(before))


def test_parts_of_other_backbones():
    names = ("layers.2.blocks.1.attn.qkv.weight", "stages.0.blocks.3.conv.weight", "cls_token", "fc_norm.bias")
    assert [part_of(name) for name in names] == ["layers 2 block 1", "stages 0 block 3", "embedding", "fc_norm"]
