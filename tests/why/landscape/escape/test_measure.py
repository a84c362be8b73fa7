from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn import functional as F

from vptft.errors import SettingsError, TrainingError
from vptft.why.landscape.escape.budget import Budget, spend
from vptft.why.landscape.escape.contrasts import LOSS_REGION, ONE_TASK
from vptft.why.landscape.escape.extensions import extend
from vptft.why.landscape.escape.measure import EscapeTest, measure, together
from vptft.why.landscape.escape.points import with_converged_head
from vptft.why.landscape.evaluation import losses_of
from why.landscape.escape.planted import images, network, opened, point

SMALL = Budget(steps=3, batch_size=16, rates=(1e-2, 3e-2), network_rates=(1e-4, 1e-3))
ONE = replace(SMALL, rates=(1e-2,), network_rates=(1e-3,))
LONG = Budget(steps=20, batch_size=24, rates=(3e-2,), network_rates=(1e-6,))
OPENED = ("prompts", "lora", "neurons")


def run(given, **settings):
    return measure(given, **{"prompts": 4, "budget": SMALL} | settings)


def removed(result, on="fresh"):
    rows = result.frame().set_index("extension")
    return rows[f"loss_{on}_before"] - rows[f"loss_{on}"]


@pytest.mark.parametrize("teacher", OPENED)
def test_an_extension_reaches_a_teacher_that_has_it_open(teacher):
    result = run(point(teacher), extensions=(teacher,), variants=("alone",), budget=LONG)
    assert removed(result)[teacher] > 0.2
    assert removed(result, "train")[teacher] > 0.2


def over_three_seeds(make_point):
    parts = [
        run(make_point(seed), extensions=("prompts", "none"), variants=("with head",), budget=LONG) for seed in range(3)
    ]
    (finding,) = together(parts).findings()
    return finding


def test_prompts_help_where_the_network_itself_cannot_move_and_prompts_are_what_the_labels_need():
    def held(seed):
        return point("prompts", seed=seed, drawn=0)

    finding = over_three_seeds(held)
    assert (finding.hypothesis, finding.reason) == ("Y2", ONE_TASK)
    assert finding.low > LOSS_REGION


def test_prompts_do_not_help_where_there_is_nothing_to_learn():
    """Labels drawn at random, and a head that is optimal for them."""

    def nothing(seed):
        given = point("none", seed=seed)
        drawn = {
            name: replace(
                getattr(given, name), labels=(10 * images(len(getattr(given, name).labels), i)[:, 0, 0, 0]).long() % 3
            )
            for i, name in enumerate(("train", "held_out", "fresh"))
        }
        model = with_converged_head(given.model, drawn["train"], drawn["held_out"])
        return replace(given, model=model, **drawn)

    finding = over_three_seeds(nothing)
    assert (finding.hypothesis, finding.reason) == ("Y2", ONE_TASK)
    assert -LOSS_REGION < finding.low < finding.high < LOSS_REGION


def test_each_number_is_that_of_its_definition():
    given = point("lora")
    result = run(given, extensions=("neurons",), variants=("joint",), budget=ONE)
    row = result.frame().iloc[0]
    start = extend(given.model, "neurons", prompts=4, seed=0)
    loss = F.cross_entropy(start.model(given.train.images), given.train.labels)
    spaces = {
        "extension": start.added,
        "head": list(start.model.head.parameters()),
        "network": [p for p in start.model.parameters() if all(p is not a for a in start.added)],
    }
    for name, parameters in spaces.items():
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True)
        norm = torch.cat([g.flatten() for g in gradients]).norm().item()
        assert row[f"gradient_{name}"] == pytest.approx(norm, rel=1e-4), name
    assert row["gradient_network"] ** 2 == pytest.approx(row["gradient_backbone"] ** 2 + row["gradient_head"] ** 2)
    assert row["loss_train_before"] == pytest.approx(loss.item(), rel=1e-5)
    spend(start, given.train, ONE, variant="joint", trial=0, seed=0)
    with torch.no_grad():
        for on in ("train", "fresh"):
            sample = getattr(given, on)
            logits = start.model(sample.images)
            assert row[f"loss_{on}"] == pytest.approx(F.cross_entropy(logits, sample.labels).item(), rel=1e-5)
            assert row[f"accuracy_{on}"] == (logits.argmax(1) == sample.labels).double().mean().item()
    assert row["parameters"] == start.size


def test_every_extension_and_variant_is_tried_as_often_and_nothing_alone_is_left_out():
    result = run(point("lora"), variants=("alone", "with head", "joint"))
    counts = result.trials.groupby(["extension", "variant"]).size()
    assert len(counts) == 3 * 3 + 2
    assert (counts == 2).all()
    assert len(result.frame()) == 11
    assert result.trials.groupby(["extension", "variant"])["chosen"].sum().eq(1).all()
    none = result.frame().query("extension == 'none'")
    assert none["parameters"].eq(0).all()
    assert none["lr"].isna().all()
    assert result.frame().query("variant == 'alone'")["network_lr"].isna().all()


def test_the_rate_is_chosen_by_held_out_images_and_not_by_those_reported():
    """The held-out labels are those of the network as it is: the smaller rate must win, whatever fresh images say."""
    given = point("prompts")
    with torch.no_grad():
        own = given.model(given.held_out.images).argmax(1)
    given = replace(given, held_out=replace(given.held_out, labels=own))
    budget = replace(LONG, rates=(1e-6, 1e-1), network_rates=(1e-6, 1e-6))
    result = run(given, extensions=("prompts",), variants=("alone",), budget=budget)
    assert result.frame()["lr"].item() == 1e-6
    assert result.trials["loss_held_out"].is_monotonic_increasing


def test_all_extensions_start_from_the_same_loss_and_the_point_comes_back_unchanged():
    given = point("lora")
    before = {key: value.clone() for key, value in given.model.state_dict().items()}
    frame = run(given).frame()
    for name in ("loss_train_before", "loss_fresh_before", "gradient_network", "gradient_backbone"):
        assert frame[name].nunique() == 1
    assert all(torch.equal(value, before[key]) for key, value in given.model.state_dict().items())
    assert all(p.grad is None and p.requires_grad for p in given.model.parameters())


def test_equal_seeds_give_equal_results():
    first, again = (run(point("lora"), extensions=("prompts", "lora")) for _ in range(2))
    pd.testing.assert_frame_equal(first.frame(), again.frame(), check_exact=True)


def test_a_rate_that_breaks_off_is_listed_and_not_chosen():
    budget = replace(SMALL, rates=(1e-2, 1e30))
    result = run(point("lora"), extensions=("neurons",), variants=("alone",), budget=budget)
    assert result.trials["loss_held_out"].tolist()[1] == np.inf
    assert result.trials["chosen"].tolist() == [True, False]
    with pytest.raises(TrainingError, match="neurons, alone: the loss became no number at any"):
        run(point("lora"), extensions=("neurons",), variants=("alone",), budget=replace(budget, rates=(1e30, 1e30)))


def test_one_point_gives_no_verdict():
    (first, *rest) = run(point("lora")).findings()
    assert {finding.verdict for finding in (first, *rest)} == {"inconclusive"}
    assert first.reason == "one seed: no verdict"


def test_a_point_that_is_there_twice_is_refused():
    part = run(point("lora"), extensions=("lora",), variants=("alone",))
    with pytest.raises(SettingsError, match="Two escape tests of t from the finetuned point of seed 0"):
        together([part, part])
    with pytest.raises(SettingsError, match="no escape test"):
        together([])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"extensions": ("lor",)}, "Each extension is one of prompts, lora"),
        ({"extensions": ()}, "Each extension"),
        ({"variants": ("alone", "alone")}, "named once; got alone, alone"),
    ],
)
def test_names_that_are_not_known_are_refused(settings, message):
    with pytest.raises(SettingsError, match=message):
        run(point("lora"), **settings)
    with pytest.raises(SettingsError, match="finetuned or pretrained, not 'there'"):
        replace(point("lora"), start="there")


def test_it_comes_back_from_disk(tmp_path):
    result = run(point("lora"), extensions=("lora", "none"))
    result.save(tmp_path)
    loaded = EscapeTest.load(tmp_path)
    for name in ("table", "trials", "controls", "contrasts"):
        pd.testing.assert_frame_equal(getattr(loaded, name), getattr(result, name), check_exact=True)


def test_a_converged_head_is_where_the_penalised_gradient_is_zero():
    given = point("lora")
    model = with_converged_head(network(), given.train, given.held_out).double()
    features = model.features(given.train.images.double()).detach()
    loss = F.cross_entropy(model.head(features), given.train.labels)
    weight, bias = torch.autograd.grad(loss, [model.head.weight, model.head.bias])
    assert bias.norm() < 1e-5
    ridge = -(weight * model.head.weight).sum() / model.head.weight.square().sum()
    assert min(abs(ridge.item() / r - 1) for r in (1e-4, 1e-3, 1e-2, 1e-1)) < 1e-2
    torch.testing.assert_close(weight, -ridge * model.head.weight, rtol=1e-2, atol=1e-5)


def test_a_converged_head_leaves_the_backbone_and_the_original_alone():
    given, model = point("lora"), network()
    before = model.head.weight.clone()
    found = with_converged_head(model, given.train, given.held_out)
    assert torch.equal(model.head.weight, before)
    assert all(torch.equal(a, b) for a, b in zip(model.backbone.parameters(), found.backbone.parameters(), strict=True))
    assert losses_of(found, given.train).loss.mean() < losses_of(model, given.train).loss.mean()


def test_the_teacher_of_a_planted_case_is_another_function():
    """Guards the planted cases: else any extension would do."""
    given = point("none")
    with torch.no_grad():
        own = given.model(given.fresh.images).argmax(1)
        for name in OPENED:
            assert (opened(given.model, name, 0)(given.fresh.images).argmax(1) != own).float().mean() > 0.1
