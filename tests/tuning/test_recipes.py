import pytest

from vptft.errors import NotApplicable, UnknownNameError
from vptft.tuning.methods import METHODS
from vptft.tuning.recipes import RECIPES, default_rate, method_recipe, with_recipe
from vptft.tuning.settings import TrainSettings

SETTINGS = TrainSettings()


@pytest.mark.parametrize("name", METHODS)
def test_the_even_recipe_changes_nothing(name):
    method = METHODS[name]
    assert with_recipe(SETTINGS, "even", method) == SETTINGS
    assert method_recipe("even", method).rates(method, 16) == method.learning_rates
    assert default_rate("even", method, 16) == method.default_lr


def test_kmnps_two_sides_differ_as_their_code_does():
    """Facts of formats.md, section 3."""
    ft, vpt = (with_recipe(SETTINGS, "kmnp", METHODS[name]) for name in ("ft", "vpt_deep"))
    assert (ft.optimizer, ft.weight_decay, ft.adam_epsilon, ft.decayed) == ("adamw", 0.01, 1e-6, "all but biases")
    assert (vpt.optimizer, vpt.momentum, vpt.decayed) == ("sgd", 0.9, "all but the head's bias")
    assert (ft.warmup_epochs, vpt.warmup_epochs) == (5, 10)
    assert (ft.backbone_dropout, vpt.backbone_dropout) == (0.1, 0.0)
    assert (vpt.prompt_dropout, vpt.prompt_dropout_per_sample) == (0.1, True)
    assert with_recipe(SETTINGS, "kmnp", METHODS["vpt_shallow"]).prompt_dropout == 0.0
    assert (ft.batch_size, vpt.batch_size) == (128, 64)
    for each in (ft, vpt):
        assert (each.epochs, each.schedule, each.head_lr, each.head_init) == (100, "epoch", None, "kaiming")


def test_kmnps_rates_are_scaled_by_the_batch():
    deep = method_recipe("kmnp", METHODS["vpt_deep"])
    assert deep.rates(METHODS["vpt_deep"], 64) == tuple(rate / 4 for rate in sorted(deep.base_rates))
    assert (max(deep.base_rates), min(deep.base_rates), len(deep.base_rates)) == (50, 0.05, 10)
    assert set(deep.decays) == {0.01, 0.001, 0.0001, 0}
    ft = method_recipe("kmnp", METHODS["ft"])
    assert ft.rates(METHODS["ft"], 128) == (5e-5, 2.5e-4, 5e-4, 2.5e-3)


def test_what_a_user_gives_stays():
    given = with_recipe(TrainSettings(epochs=3), "kmnp", METHODS["ft"], given=frozenset({"epochs"}))
    assert (given.epochs, given.batch_size) == (3, 128)


def test_what_is_not_covered_or_unknown_is_said():
    with pytest.raises(NotApplicable, match=r"The recipe kmnp does not cover lora; it covers ft, linear, mixed"):
        method_recipe("kmnp", METHODS["lora"])
    with pytest.raises(UnknownNameError, match=r"no recipe named 'kmpn'. Did you mean kmnp"):
        method_recipe("kmpn", METHODS["ft"])
    assert set(RECIPES) == {"even", "kmnp"}
