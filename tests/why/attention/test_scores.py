"""Scores of planted maps: what is put in comes out, paired, by outcome, with the verdict that the rule gives."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from oracles.vit import make_vit
from vptft.errors import SettingsError
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.attention import comparison, scores
from vptft.why.attention.explanation import Explanation, Masses, Part, gathered
from vptft.why.attention.heads import measure_heads
from vptft.why.attention.localisation import coverage
from vptft.why.attention.maps import OUTCOMES
from vptft.why.attention.score_parts import Made
from vptft.why.attention.score_settings import RANDOM, SCORES, ScoreSettings, SeenImages
from vptft.why.attention.scores import shown, targets

N = 12
OPTIONS = ScoreSettings(kinds=("gradcam", "rollout"), sample=6, checked=6, steps=4, ways=("tokens",))


def model(seed, prompts=False):
    spec = PromptSpec(length=3, layers=(0, 1)) if prompts else None
    built = TunedModel(make_vit("cls", depth=2, seed=seed), n_classes=3, prompts=spec)
    torch.nn.init.normal_(built.head.weight, generator=torch.Generator().manual_seed(seed))
    return built.eval()


def make_seen(n=N, masks=True):
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8))
    where = np.zeros((n, 32, 32), dtype=bool)
    for i, (row, column) in enumerate(rng.integers(0, 3, (n, 2))):
        where[i, 8 * row : 8 * row + 16, 8 * column : 8 * column + 16] = True
    return SeenImages(
        images=pixels / 128 - 1, pixels=pixels, labels=np.arange(n) % 3, ids=tuple(f"image {i}" for i in range(n)),
        groups=tuple(f"tile {i // 2}" for i in range(n)), masks=where if masks else None,
    )  # fmt: skip


def explanation(method, values, *, masses=False):
    values = torch.from_numpy(np.array(values, dtype=np.float64))
    each = torch.full((len(values),), 0.25, dtype=torch.float64)
    part = Part(values, Masses(each, each, each, each[:, None]) if masses else None)
    return gathered([part], method=method, target=None, against=None, n_layers=0, notes=())


def planted(seen, share=0.8, seed=0):
    """Grad-CAM of VPT lies on the object up to ``share``, that of FT anywhere; rollout is one map for all."""
    rng = np.random.default_rng(seed)

    def explain(model, images, *, methods, target, against=None):
        n, out = len(images), {}
        for method in methods:
            values = rng.gamma(1.0, size=(n, 4, 4))
            if method == "rollout":
                values = np.broadcast_to(np.arange(16.0).reshape(4, 4) / 480, (n, 4, 4))
            elif model.prompts is not None and n == len(seen.ids):
                cover = coverage(seen.masks, (4, 4))
                off = values * (cover == 0)
                on, off = (each / each.sum(axis=(1, 2), keepdims=True) for each in (cover, off))
                values = share * on + (1 - share) * off
            out[method] = explanation(method, values, masses=method == "rollout")
        return out

    return explain


def always(values):
    """One map for every method, image and model."""
    return lambda model, images, *, methods, **_: {
        method: explanation(method, np.broadcast_to(values, (len(images), 4, 4))) for method in methods
    }


def measured(seed=0, options=OPTIONS, seen=None, explain=None, **names):
    seen = seen or make_seen()
    explain = explain or planted(seen, seed=seed)
    named = {"task": "photo/category", "pretraining": "self-distilled", "draw": seed} | names
    return scores.measure(model(0, prompts=True), model(seed + 1), seen, explain=explain, options=options, **named)


@pytest.fixture(scope="module")
def one():
    return measured()


def test_every_image_side_and_kind_has_its_row(one):
    table = one.frame()
    assert len(table) == N * 2 * 3
    assert one.kinds == ["gradcam", "rollout", RANDOM]
    assert one.maps.shape == (N, 2, 3, 4, 4)
    np.testing.assert_allclose(one.maps.sum(axis=(3, 4)), 1, atol=1e-6)
    assert table.groupby(["side", "map"])["image"].nunique().eq(N).all()
    assert set(table["target"]) == {0, 1, 2}
    assert (table["target"] == table["label"]).all()
    assert sum(one.outcome_counts().values()) == N
    right = table.drop_duplicates(["image", "side"]).assign(right=lambda t: t["predicted"] == t["label"])
    both = right.pivot(index="image", columns="side", values="right").all(axis=1).sum()
    assert one.outcome_counts()["both right"] == both


def test_planted_energy_comes_out_and_random_maps_score_the_area(one):
    table = one.frame()
    of = table[table["map"] == "gradcam"].groupby("side")["on_object"].mean()
    assert of["vpt"] == pytest.approx(0.8, abs=1e-5)
    chance = table[table["map"] == RANDOM]
    assert chance["on_object"].mean() == pytest.approx(chance["object_area"].mean(), abs=0.06)
    wide = chance.pivot(index="image", columns="side", values="on_object")
    assert (wide["vpt"] == wide["ft"]).all()


def test_curves_are_of_the_sample_alone(one):
    table = one.frame()
    assert table.groupby("image")["sampled"].first().sum() == 6
    assert (table["faithfulness_tokens"].notna() == table["sampled"]).all()
    assert table["faithfulness_pixels"].isna().all()
    assert set(one.curves["way"]) == {"tokens"}
    area = table[table["sampled"] & (table["map"] == "rollout") & (table["side"] == "ft")]["insertion_tokens"].mean()
    line = one.curves[(one.curves["map"] == "rollout") & (one.curves["side"] == "ft")]
    assert np.trapezoid(line["insertion"], line["share"]) == pytest.approx(area, abs=1e-6)


def test_one_map_for_all_models_fails_both_checks_and_another_map_each_time_passes(one):
    assert one.failed() == {"gradcam": "", "rollout": "weights, class"}


SLOW = replace(OPTIONS, kinds=("integrated_gradients",), checked=0, shown=2)


def test_slow_kinds_are_scored_on_the_sample_and_made_for_what_is_shown_too():
    found = measured(options=SLOW)
    made = np.isfinite(found.maps[:, :, 0]).all(axis=(1, 2, 3))
    sampled = found.images()["sampled"].to_numpy()
    outside = set(found.drawn) - set(np.flatnonzero(sampled))
    assert outside  # or the test says nothing of them
    np.testing.assert_array_equal(np.flatnonzero(made), np.union1d(np.flatnonzero(sampled), found.drawn))
    table = found.frame().query("map == 'integrated_gradients'")
    assert len(table) == 2 * made.sum()
    assert (table["gini"].notna() == table["sampled"]).all()
    assert found.agreement["image"].nunique() == 6
    assert found.failed() == {}


def test_slow_kinds_are_checked_on_fewer_images_than_others():
    both = replace(OPTIONS, kinds=("gradcam", "integrated_gradients"), checked=4, checked_slow=2)
    sane = measured(options=both).sanity
    assert sane.groupby("map")["n"].unique().map(list).to_dict() == {"gradcam": [4], "integrated_gradients": [2]}
    assert sane.groupby("map")["side"].value_counts().nunique() == 1  # both kinds, on both sides, by the same changes
    none = measured(options=replace(both, checked_slow=0))
    assert none.failed().keys() == {"gradcam"}


def test_slow_kinds_can_be_made_for_what_is_shown_alone_and_have_no_scores():
    found = measured(options=replace(SLOW, kinds=("gradcam", *SLOW.kinds), score_slow=False))
    made = np.isfinite(found.maps[:, 0, 1]).all(axis=(1, 2))
    np.testing.assert_array_equal(np.flatnonzero(made), np.sort(found.drawn))
    table = found.frame().query("map == 'integrated_gradients'")
    assert table[list(SCORES)].isna().all(axis=None)
    assert set(found.curves["map"]) == {"gradcam", RANDOM}
    compared = comparison.measure([found]).frame()
    assert set(compared["map"]) == {"gradcam", RANDOM}
    with pytest.raises(SettingsError, match="nothing to make integrated_gradients for"):
        replace(SLOW, score_slow=False, shown=0)


def test_a_completeness_gap_is_a_share_of_what_is_explained():
    values = torch.ones((N, 4, 4), dtype=torch.float64)

    def explain(model, images, *, methods, target, against=None):
        part = Part(values[: len(images)], gap=torch.full((len(images),), -2.0), change=torch.full((len(images),), 8.0))
        return {m: gathered([part], method=m, target=target, against=None, n_layers=0, notes=()) for m in methods}

    assert (measured(options=SLOW, explain=explain).frame().query("map != @RANDOM")["gap"] == -0.25).all()


def test_flat_maps_are_even_and_counted():
    flat = measured(explain=always(np.zeros((4, 4))))
    gradcam = flat.frame().query("map == 'gradcam'")
    assert gradcam["flat"].all()
    assert gradcam["on_object"].to_numpy() == pytest.approx(gradcam["object_area"], abs=1e-6)
    assert flat.failed()["gradcam"] == "weights, class"


def test_the_explained_class_is_one_for_both_sides():
    labels = np.array([0, 1])
    logits = {"vpt": np.array([[0.0, 5, 1], [0, 1, 2]]), "ft": np.array([[1.0, 0, 4], [0, 1, 9]])}
    np.testing.assert_array_equal(targets(logits, labels, "true")[0], labels)
    chosen, none = targets(logits, labels, "predicted")
    np.testing.assert_array_equal(chosen, [1, 2])  # first image: 5 against 4, less of a doubt
    assert none is None
    true, against = targets(logits, labels, "contrast")
    np.testing.assert_array_equal(true, labels)
    np.testing.assert_array_equal(against, [1, 2])


def test_what_is_shown_is_drawn_from_each_outcome():
    outcome = ["both right"] * 50 + ["only VPT right"] * 3 + ["both wrong"]
    chosen = shown(outcome, 2, seed=4)
    assert [outcome[i] for i in chosen] == ["both right"] * 2 + ["only VPT right"] * 2 + ["both wrong"]
    np.testing.assert_array_equal(chosen, shown(outcome, 2, seed=4))
    assert tuple(shown(outcome, 2, seed=5)) != tuple(chosen)
    assert OUTCOMES[0] == "both right"


def of_seeds(seeds=3, **other):
    return [measured(seed=seed, **other) for seed in range(seeds)]


@pytest.fixture(scope="module")
def three():
    return comparison.measure(of_seeds())


def test_the_planted_difference_is_found_and_judged(three):
    row = three.frame().query("outcome == 'all' and map == 'gradcam' and score == 'on_object'").iloc[0]
    assert row["low"] < row["difference"] < row["high"]
    assert row["difference"] == pytest.approx(row["vpt"] - row["ft"])
    assert (row["n_images"], row["n_groups"], row["n_seeds"]) == (N, N // 2, 3)
    found = three.findings()
    assert {each.hypothesis for each in found} == {"Y4"}
    on_object = next(each for each in found if "on the object, gradcam" in each.statement)
    assert on_object.verdict == "supported"
    assert on_object.effect == pytest.approx(100 * row["difference"])
    missing = [each for each in found if "relevance" in each.statement]
    assert {each.verdict for each in missing} == {"not applicable"}


def test_turned_round_it_is_refuted_and_one_seed_gives_no_verdict():
    seen = make_seen()
    share = 0.02  # of VPT's map on the object: less than chance
    parts = [measured(seed=seed, seen=seen, explain=planted(seen, share=share, seed=seed)) for seed in range(3)]
    verdicts = [f.verdict for f in comparison.measure(parts).findings() if "on the object, gradcam" in f.statement]
    assert verdicts == ["refuted"]
    verdicts = [f.verdict for f in comparison.measure(of_seeds(1)).findings() if "gradcam" in f.statement]
    assert verdicts == ["inconclusive", "inconclusive"]


def test_a_kind_that_fails_its_check_is_not_judged():
    part = measured(explain=always(np.arange(16.0).reshape(4, 4)))
    (finding,) = [f for f in comparison.measure([part]).findings() if "on the object, gradcam" in f.statement]
    assert finding.verdict == "not applicable"
    assert "fails its sanity check: weights, class" in finding.reason


def test_a_check_that_few_pairs_had_is_judged_by_these():
    parts = of_seeds()
    rows = pd.DataFrame([
        {"side": side, "map": kind, "changed": "labels", "depth": np.nan, "similarity": like, "n": 6}
        for side in ("vpt", "ft") for kind, like in (("gradcam", 0.8), ("rollout", 0.1))
    ])  # fmt: skip
    checked = replace(parts[0], sanity=pd.concat([parts[0].sanity, rows], ignore_index=True))
    assert comparison.failed_on_either_side(parts)["gradcam"] == ""
    found = comparison.failed_on_either_side([checked, *parts[1:]])
    assert found == {"gradcam": "labels", "rollout": "weights, class"}


def test_outcomes_masses_agreement_and_checks_are_kept_apart(three):
    assert three.outcomes[list(OUTCOMES)].to_numpy().sum() == pytest.approx(N)
    masses = three.masses.set_index("tokens")
    assert masses["vpt"].sum() == pytest.approx(1)
    assert masses.loc["prompt", "difference"] == pytest.approx(0)
    agreement = three.agreement.set_index("map")
    assert agreement.loc["rollout", "spearman"] == pytest.approx(1)
    assert agreement.loc["gradcam", "spearman_low"] < agreement.loc["gradcam", "spearman"] < 0.4
    assert set(three.sanity["changed"]) == {"weights", "class"}
    assert (three.sanity["least"] <= three.sanity["similarity"]).all()


def test_heads_are_those_of_every_image_and_their_maps_of_what_is_shown():
    few = measured(options=replace(OPTIONS, shown=1))
    every = measure_heads(model(0, prompts=True), make_seen().images).frame()
    found = few.heads[few.heads["side"] == "vpt"]
    assert len(few.head_maps) < N
    for name in comparison.LOOKING:
        assert found[name].to_numpy() == pytest.approx(every[name].to_numpy(), rel=1e-5)
    assert few.head_shares.shape == few.head_maps.shape[:4]
    assert (few.head_shares[:, 0] > 0).all()
    assert (few.head_shares[:, 1] == 0).all()  # FT has no prompts
    none = measured(options=replace(OPTIONS, shown=0))
    assert (len(none.heads), len(none.head_maps)) == (len(few.heads), 0)


def test_heads_are_compared_layer_by_layer(three):
    parts = of_seeds()
    mean = np.mean([part.heads.query("side == 'ft' and layer == 1")["entropy_bits"].mean() for part in parts])
    row = three.heads.query("side == 'ft' and layer == 1").squeeze()
    assert row["entropy_bits"] == pytest.approx(mean)
    assert row["entropy_bits_least"] < mean < row["entropy_bits_most"]  # three other FT networks
    assert (three.heads.query("side == 'ft'")["prompt_share"] == 0).all()


def test_several_tasks_have_their_mean(three):
    parts = [*of_seeds(), *of_seeds(task="plain/category")]
    found = comparison.measure(parts).frame().query("outcome == 'all' and map == 'gradcam' and score == 'on_object'")
    of = found.set_index("task")
    assert list(of.index) == ["photo/category", "plain/category", comparison.ALL]
    assert of.loc[comparison.ALL, "difference"] == pytest.approx(of["difference"].iloc[:2].mean())
    assert of.loc[comparison.ALL, "n_tasks"] == 2


def test_without_masks_the_rest_is_still_measured():
    part = measured(options=replace(OPTIONS, checked=0), seen=make_seen(masks=False), explain=always(np.eye(4)))
    found = comparison.measure([part])
    assert "on_object" not in set(found.frame()["score"])
    assert {"gini", "faithfulness_tokens"} <= set(found.frame()["score"])
    reasons = {f.reason for f in found.findings() if "on the object, gradcam" in f.statement}
    assert any("no object masks" in reason for reason in reasons)


def test_results_are_kept(one, three, tmp_path):
    for result in (one, three):
        result.save(tmp_path / result.analysis)
        loaded = type(result).load(tmp_path / result.analysis)
        pd.testing.assert_frame_equal(result.frame(), loaded.frame())
        assert loaded.findings() == result.findings()


def test_settings_out_of_range_are_refused():
    with pytest.raises(SettingsError, match="sample 0"):
        ScoreSettings(sample=0)
    with pytest.raises(SettingsError, match=r"some of cls_attention, .*not none"):
        ScoreSettings(kinds=())
    with pytest.raises(SettingsError, match=r"not \['saliency'\]"):
        ScoreSettings(kinds=("rollout", "saliency"))
    with pytest.raises(SettingsError, match="no pair of runs"):
        comparison.measure([])


def test_a_gap_is_no_share_of_a_score_that_does_not_change():
    maps = np.full((2, 2, 2), 0.25)
    nothing = dict.fromkeys(
        ("target", "against", "patch_mass", "cls_mass", "register_mass", "prompt_mass", "prompt_share")
    )
    found = Explanation(
        method="integrated_gradients", maps=maps, values=maps, flat=np.zeros(2, bool), gap=np.array([0.5, 0.5]),
        change=np.array([2.0, 0.0]), n_layers=0, notes=(), **nothing,
    )  # fmt: skip
    np.testing.assert_equal(Made.of(found, np.arange(2), np.ones(2, bool)).gap, [0.25, np.nan])
