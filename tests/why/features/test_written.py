"""What prompts write, against tokens computed by concatenation, and on planted differences."""

import numpy as np
import pytest
import torch

from vptft.errors import NotApplicable
from vptft.models.tuned import TunedModel
from vptft.why.features.written import COLUMNS, written_by_prompts

LABELS = np.arange(40) % 4
GROUPS = np.arange(40) // 2


def strong(model):
    with torch.no_grad():
        model.prompts.tokens.mul_(20)
    return model


@pytest.mark.parametrize("layers", [(0,), (0, 1, 2), (1,)], ids=["shallow", "deep", "from the second layer"])
def test_sizes_are_those_of_concatenated_tokens(model, images, layers):
    prompted = strong(model(prompts=4, layers=layers))
    table = written_by_prompts(prompted, images, LABELS, GROUPS).set_index(["layer", "kind"])
    oracle = TunedModel(prompted.backbone, n_classes=3, prompts=prompted.prompts.spec, prefix_form=False).eval()
    oracle.prompts = prompted.prompts
    plain = model()
    with torch.inference_mode():
        with_prompts, without = oracle.tokens(images), plain.tokens(images)
    for layer in range(3):
        here, base = with_prompts[layer].double(), without[layer].double()
        extra = here.shape[1] - base.shape[1]
        pairs = {"cls": (here[:, :1], base[:, :1]), "patches": (here[:, 1 + extra :], base[:, 1:])}
        for kind, (first, second) in pairs.items():
            expected = float((first - second).norm() / second.norm())
            assert table.loc[(layer, kind), "relative_norm"] == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_layers_before_the_first_prompts_are_untouched(model, images):
    table = written_by_prompts(strong(model(prompts=4, layers=(2,))), images, LABELS, GROUPS)
    assert tuple(table) == COLUMNS
    before = table[table["layer"] < 2]
    assert (before["relative_norm"] < 1e-6).all()
    assert (table.loc[table["layer"] == 2, "relative_norm"] > 1e-3).all()


class _Writes(TunedModel):
    """Adds a given vector ``(n, d)`` to every token, as if prompts had written it; images carry their own number."""

    written: torch.Tensor

    def tokens(self, x, layers=None):
        rows = x[:, 0, 0, 0].round().long()
        return {layer: each + self.written[rows][:, None] for layer, each in super().tokens(x, layers).items()}


def planted(model, images, written):
    prompted = model(prompts=2, layers=(2,))
    prompted.__class__ = _Writes
    prompted.written = torch.tensor(written, dtype=torch.float32)
    images = images.clone()
    images[:, 0, 0, 0] = torch.arange(len(images), dtype=torch.float32)
    return written_by_prompts(prompted, images, LABELS, GROUPS), model()


def test_one_offset_for_all_images_is_common(model, images):
    width = model().vit.embed_dim
    table, _ = planted(model, images, np.ones((40, width)))
    first = table[table["layer"] == 0]
    assert first["common_share"].to_numpy() == pytest.approx(1)


def test_what_lies_on_the_class_means_is_on_classes_and_noise_is_not(model, images):
    plain = model()
    moved = images + 4 * torch.nn.functional.one_hot(torch.tensor(LABELS), 4)[:, :3, None, None]
    with torch.inference_mode():
        tokens = plain.tokens(moved)[0]
    rng = np.random.default_rng(0)
    learnt = np.isin(GROUPS, np.random.default_rng(0).permutation(np.unique(GROUPS))[:10])
    patches = tokens[:, 1:].mean(dim=1).double().numpy()
    means = np.stack([patches[learnt & (c == LABELS)].mean(axis=0) for c in range(4)])
    on, off = means[LABELS], rng.normal(size=patches.shape)
    shares = {}
    for name, written in (("on", on), ("off", off)):
        table, _ = planted(model, moved, written)
        shares[name] = table.set_index(["layer", "kind"]).loc[(0, "patches"), "on_classes"]
    assert shares["on"] > 0.95
    assert shares["off"] < 0.4


def test_without_prompts_there_is_nothing_written(model, images):
    with pytest.raises(NotApplicable, match="no prompts"):
        written_by_prompts(model(), images, LABELS, GROUPS)
