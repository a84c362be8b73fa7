"""A model trained to look at a planted cue is found to look at it; one trained to ignore it is not."""

import numpy as np
import pytest
import torch

from oracles.vit import make_vit
from vptft.models.tuned import TunedModel
from vptft.why.attention.faithfulness import curves
from vptft.why.attention.localisation import coverage, energy, pointing
from vptft.why.attention.methods import explain
from vptft.why.attention.ranking import ranked

CLASSES, CELL = 3, 8


def pictures(n, seed):
    """Noise with two coloured patches at random places: on the left half the cue, on the right a distractor.

    Their colours, one of three each, are independent of each other.
    """
    rng = np.random.default_rng(seed)
    pixels = rng.integers(90, 166, size=(n, 3, 32, 32), dtype=np.uint8)
    masks = np.zeros((n, 32, 32), dtype=bool)
    colours = rng.integers(0, CLASSES, size=(2, n))
    for i in range(n):
        for half, colour in enumerate(colours[:, i]):
            row, column = CELL * rng.integers(0, 4), CELL * (rng.integers(0, 2) + 2 * half)
            where = slice(row, row + CELL), slice(column, column + CELL)
            pixels[i, :, *where] = 20
            pixels[i, colour, *where] = 235
            masks[i, *where] = half == 0
    return torch.from_numpy(pixels), masks, colours


def trained(half, seed):
    """Learn the colour of the cue (0) or of the distractor (1)."""
    torch.manual_seed(seed)
    vit = make_vit("cls", depth=2, seed=seed)
    for name, parameter in vit.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.02 if "pos" in name else 0.1)
        else:
            torch.nn.init.constant_(parameter, float("norm" in name and name.endswith("weight")))
    model = TunedModel(vit, n_classes=CLASSES).train()
    pixels, _, colours = pictures(1500, seed)
    x, y = pixels / 128 - 1, torch.from_numpy(colours[half])
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(240):
        batch = slice(100 * step % 1500, 100 * step % 1500 + 100)
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
    return model.eval()


@pytest.mark.verify
def test_the_model_that_needs_the_cue_is_found_to_look_at_it_and_the_other_is_not():
    """Each explains the class it chooses: of a class it does not choose, little speaks for it, wherever that lies."""
    pixels, masks, colours = pictures(80, 99)
    x, cover = pixels / 128 - 1, coverage(masks, (4, 4))
    on_cue, pointed, faithful = {}, {}, {}
    for name, half in (("looks", 0), ("ignores", 1)):
        model = trained(half, seed=0)
        chosen = model(x).argmax(dim=1).numpy()
        assert (chosen == colours[half]).mean() > 0.85
        assert (chosen == colours[1 - half]).mean() < 0.6  # the two colours are alike in a third of the images
        found = explain(model, x, method="relevance", target=chosen)
        on_cue[name], pointed[name] = energy(found.maps, cover).mean(), pointing(found.maps, cover).mean()
        faithful[name] = curves(model, x, ranked(found.values), chosen, steps=8).faithfulness.mean()
        by_cue = curves(model, x, ranked(cover), chosen, steps=16)
        faithful[f"{name}, without the cue"] = (by_cue.deletion[:, 0] - by_cue.deletion[:, 1]).mean()
    area = cover.mean()
    assert on_cue["looks"] > 5 * area
    assert on_cue["ignores"] < 2 * area
    assert pointed["looks"] > 0.6
    assert pointed["ignores"] < 0.2
    assert min(faithful["looks"], faithful["ignores"]) > 0.1  # both maps are faithful, each to its own patch
    assert faithful["looks, without the cue"] > 0.3  # what the maps say is so: the cue is what one of them needs
    assert faithful["ignores, without the cue"] < 0.1
