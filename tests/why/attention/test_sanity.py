"""A map that does not depend on the model is flagged, and one that is nothing but the weights is not."""

import numpy as np
import pytest
import torch

from oracles.vit import make_vit
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention.sanity import check, failures, randomised

IMAGES = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
TARGET = np.array([0, 1, 2, 0])


def model(layers=(0, 1, 2, 3)):
    built = TunedModel(make_vit("cls"), n_classes=3, prompts=PromptSpec(length=5, layers=layers))
    torch.nn.init.normal_(built.head.weight, generator=torch.Generator().manual_seed(1))
    return built.eval()


def planted(model, images, target):
    """Maps of known kinds: one constant, one of the images alone, one of weights, one of weights and class."""
    pixels = images.mean(1).unflatten(1, (4, 8)).unflatten(3, (4, 8)).mean(dim=(2, 4)).numpy()
    weights = model.backbone.blocks[0].mlp.fc1.weight[:16].mean(1).detach().reshape(4, 4).numpy()
    head = model.head.weight.detach().numpy()[target][:, :16].reshape(-1, 4, 4)
    return {
        "constant": np.full((len(images), 4, 4), 1 / 16),
        "edges": pixels - pixels.min(),
        "weights": np.broadcast_to(weights, pixels.shape),
        "class": head,
    }


@pytest.fixture(scope="module")
def table():
    return check(model(), IMAGES, TARGET, planted, n_classes=3)


def test_constant_and_image_maps_fail_both_and_others_what_they_ignore(table):
    failed = failures(table)
    assert failed == {"constant": "weights, class", "edges": "weights, class", "weights": "class", "class": ""}


def test_a_map_that_is_the_same_after_training_on_permuted_labels_fails_that_check():
    other = model()
    torch.nn.init.normal_(other.head.weight, generator=torch.Generator().manual_seed(2))
    table = check(model(), IMAGES, TARGET, planted, n_classes=3, permuted=other)
    labels = table[table["changed"] == "labels"].set_index("map")["similarity"]
    for same in ("constant", "edges", "weights"):  # the head alone was trained
        assert labels[same] == pytest.approx(1)
    assert labels["class"] < 0.5
    assert failures(table)["edges"] == "weights, labels, class"
    assert failures(table)["class"] == ""


def test_similarity_falls_only_once_the_weights_it_depends_on_are_at_random(table):
    of = table[(table["changed"] == "weights") & (table["map"] == "weights")].set_index("depth")["similarity"]
    assert of[:0.75].to_numpy() == pytest.approx(1)  # the first block is the last to go
    assert of[1.0] < 0.6


@pytest.mark.parametrize(("depth", "blocks"), [(0.0, []), (0.5, [2, 3]), (1.0, [0, 1, 2, 3])])
def test_what_is_at_random_is_the_head_the_top_blocks_and_their_prompts(depth, blocks):
    original = model()
    before = {name: value.clone() for name, value in original.state_dict().items()}
    changed = randomised(original, depth)
    after = changed.state_dict()
    for name, value in before.items():
        torch.testing.assert_close(original.state_dict()[name], value)  # the caller's model is as it was
        torch.testing.assert_close(after[name].flatten().sort().values, value.flatten().sort().values)
    moved = {name for name, value in before.items() if not torch.equal(after[name], value)}
    assert "head.weight" in moved
    assert {int(name.split(".")[2]) for name in moved if "blocks." in name} == set(blocks)
    assert ("backbone.patch_embed.proj.weight" in moved) == (depth == 1)
    rows = [i for i in range(4) if not torch.equal(after["prompts.tokens"][i], before["prompts.tokens"][i])]
    assert rows == blocks


def test_its_random_weights_repeat_with_their_seed():
    first, again, other = (randomised(model(), 1.0, seed=seed).head.weight for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
