from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from vptft.errors import SettingsError
from vptft.why.landscape.connectivity import barrier, mean_over_pairs
from vptft.why.landscape.directions import weights_of
from vptft.why.landscape.evaluation import Losses
from vptft.why.landscape.lines import Ends, Line, measure
from vptft.why.landscape.matching import heads_of, match_heads
from vptft.why.landscape.parameters import put, space


def line(model, first, second, sample, *, seeds=(0, 0), kind="seeds"):
    load = lambda: Ends(model=model, first=first, second=second, samples=[sample])  # noqa: E731
    return Line(task="t", kind=kind, first=f"a{seeds}", second="b", seeds=seeds, load=load)


def with_heads_turned(model):
    """The same function with the attention heads of each block turned round by one, spelled out row by row."""
    out = weights_of(space(model, "all"))
    for block in range(2):
        attn = model.backbone.blocks[block].attn
        width, size = attn.num_heads * attn.head_dim, attn.head_dim
        turned = [((row // size + 1) % attn.num_heads) * size + row % size for row in range(width)]
        name = f"backbone.blocks.{block}.attn"
        rows = [part * width + row for part in range(3) for row in turned]
        for kind in ("qkv.weight", "qkv.bias"):
            out[f"{name}.{kind}"] = out[f"{name}.{kind}"][rows]
        out[f"{name}.proj.weight"] = out[f"{name}.proj.weight"][:, turned]
    return out


def trained(model, sample, *, steps=40):
    optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(steps):
        optimiser.zero_grad()
        F.cross_entropy(model(sample.images), sample.labels).backward()
        optimiser.step()
    optimiser.zero_grad()
    return model


def test_between_equal_models_there_is_no_barrier(model, sample):
    net = model(prompts=4)
    end = weights_of(space(net, "all"))
    (found,) = measure([line(net, end, end, sample)], points=5).barriers.to_dict("records")
    assert (found["barrier"], found["low"], found["high"]) == pytest.approx((0, 0, 0), abs=1e-6)
    assert found["heads_moved"] == 0


def test_permuted_heads_make_a_barrier_that_matching_takes_away(model, sample):
    net = trained(model(), sample)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    first, second = weights_of(space(net, "all")), with_heads_turned(net)
    result = measure([line(net, first, second, sample)], points=7)
    found = result.barriers.set_index("path")
    ends = result.frame().query("path == 'line' and (t == 0 or t == 1)")["loss"]
    assert np.ptp(ends) < 1e-5
    assert found.loc["line", "barrier"] > 0.1
    assert found.loc["line", "heads_moved"] == 6
    assert found.loc["matched", "barrier"] == pytest.approx(0, abs=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in net.parameters())


def test_matching_undoes_the_permutation_and_leaves_equal_heads_alone(model):
    net = model()
    first = weights_of(space(net, "all"))
    matched, moved = match_heads(first, with_heads_turned(net), heads_of(net))
    assert moved == 6
    assert all(torch.equal(matched[name], value) for name, value in first.items())
    assert match_heads(first, first, heads_of(net))[1] == 0


def test_a_curve_goes_around_a_barrier(model, sample):
    net = trained(model(), sample)
    ends = weights_of(space(net, "all")), with_heads_turned(net)
    found = measure([line(net, *ends, sample)], points=7, curve_steps=150, curve_lr=1e-2).barriers.set_index("path")
    assert found.loc["curve", "barrier"] < 0.5 * found.loc["line", "barrier"]


def test_a_line_to_a_model_with_prompts_starts_at_the_one_without(model, sample):
    net, bare = model(prompts=4, seed=1), model(seed=2)
    first, second = weights_of(space(bare, "all")), weights_of(space(net, "all"))
    losses = {}
    with torch.no_grad():
        for name, end in (("bare", bare), ("prompted", net)):
            losses[name] = F.cross_entropy(end(sample.images), sample.labels).item()
    for ends, (start, stop) in {(0, 1): ("bare", "prompted"), (1, 0): ("prompted", "bare")}.items():
        chosen = [(first, second)[end] for end in ends]
        table = measure([line(net, *chosen, sample)], points=3).frame().query("path == 'line'")
        assert list(table["loss"])[::2] == pytest.approx([losses[start], losses[stop]], rel=1e-4)


def test_ends_that_lack_more_than_prompts_are_refused(model, sample):
    net = model(prompts=4)
    end = weights_of(space(net, "all"))
    short = {name: value for name, value in end.items() if name != "head.bias"}
    with pytest.raises(SettingsError, match=r"lack \['head.bias'\]"):
        measure([line(net, short, end, sample)])
    with pytest.raises(SettingsError, match="There is no line"):
        measure([])


def test_the_barrier_of_a_bump_is_its_height_wherever_the_ends_are():
    t = np.linspace(0, 1, 11)
    curve = 1 + 2 * t + 3 * np.sin(np.pi * t)
    height, at, drop = barrier(t, Losses(np.tile(curve[:, None], 8), np.ones((11, 8), bool)), np.arange(8))
    assert (height.value, at, drop) == pytest.approx((3, 0.5, 0))
    valley, *_ = barrier(t, Losses(np.tile(2 - curve[:, None], 8), np.ones((11, 8), bool)), np.arange(8))
    assert valley.value == pytest.approx(-3 * np.sin(np.pi * 0.1))


def test_the_interval_of_a_barrier_holds_its_truth_and_noise_alone_makes_none():
    """A flat path of noisy losses: choosing the highest place and measuring there would find a barrier."""
    t, rng = np.linspace(0, 1, 11), np.random.default_rng(0)
    held, values, naive = 0, [], []
    for _ in range(400):
        noise = rng.normal(size=(11, 40))
        found = barrier(t, Losses(noise, np.zeros((11, 40), bool)), np.arange(40))
        held += found.height.low <= 0 <= found.height.high
        values.append(found.height.value)
        naive.append((noise - noise[0])[1:-1].mean(axis=1).max())
    assert held / 400 > 0.9
    assert abs(np.mean(values)) < 0.03
    assert np.mean(naive) > 0.15


def test_one_group_gives_no_interval():
    found = barrier(np.linspace(0, 1, 3), Losses(np.ones((3, 4)), np.ones((3, 4), bool)), np.zeros(4))
    assert np.isnan(found.height.low)


def test_pairs_of_seeds_are_not_as_many_trainings():
    """Each seed has an effect and a pair is their sum: the variance of the mean over pairs is known."""
    rng = np.random.default_rng(0)
    pairs = [(i, j) for i in range(5) for j in range(i)]
    held = 0
    for _ in range(500):
        effects = rng.normal(size=5)
        found = mean_over_pairs([effects[i] + effects[j] for i, j in pairs], pairs)
        held += found.low <= 0 <= found.high
    assert 0.92 < held / 500 < 0.98
    assert np.isnan(mean_over_pairs([1.0], [(0, 1)]).low)
    paired = mean_over_pairs([1.0, 2.0, 3.0], [(0, 0), (1, 1), (2, 2)])
    assert (paired.value, paired.low) == pytest.approx((2, 2 - 4.302653 / np.sqrt(3)))


def test_pairs_of_a_seed_with_itself_count_once_a_seed_and_need_three():
    values, pairs = [1.0, 1.2, 0.8, 2.0, 3.0], [(0, 0), (0, 0), (0, 0), (1, 1), (2, 2)]
    found = mean_over_pairs(values, pairs)
    low, high = stats.ttest_1samp([1, 2, 3], 0).confidence_interval()
    assert (found.value, found.low, found.high) == pytest.approx((2, low, high))
    one = mean_over_pairs(values[:3], pairs[:3])
    assert one.value == pytest.approx(1)
    assert np.isnan(one.low)


def test_a_curve_bends_by_training_images_only(model, sample):
    net = model()
    first, second = weights_of(space(net, "all")), weights_of(space(model(seed=1), "all"))
    with pytest.raises(SettingsError, match="bends by the loss on training images"):
        measure([line(net, first, second, replace(sample, split="test"))], points=3, curve_steps=1)


def test_heads_with_parameters_of_their_own_kind_stay_where_they_are():
    vit = VisionTransformer(
        img_size=32, patch_size=16, embed_dim=16, depth=1, num_heads=2, num_classes=0, scale_attn_norm=True
    )
    assert heads_of(vit) == {}
    plain = VisionTransformer(img_size=32, patch_size=16, embed_dim=16, depth=1, num_heads=2, qk_norm=True)
    assert heads_of(plain) == {"blocks.0.attn": 2}


def test_lines_are_pooled_by_what_they_ask(model, sample):
    net = model()
    ends = [weights_of(space(net, "all"))]
    for seed in (1, 2):
        ends.append({name: v + 0.1 * torch.randn(v.shape, generator=torch.Generator().manual_seed(seed))
                     for name, v in ends[0].items()})  # fmt: skip
    pairs = [(0, 1), (0, 2), (1, 2)]
    result = measure([line(net, ends[i], ends[j], sample, seeds=(i, j)) for i, j in pairs], points=3)
    (pooled,) = result.pooled.to_dict("records")
    assert (pooled["n_lines"], pooled["n_seeds"]) == (3, 3)
    assert pooled["barrier"] == pytest.approx(result.barriers["barrier"].mean())
    assert pooled["low"] < pooled["barrier"] < pooled["high"]
    put(space(net, "all"), ends[0])
