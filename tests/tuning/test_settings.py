import math
from dataclasses import FrozenInstanceError, replace

import pytest

from vptft.errors import SettingsError
from vptft.tuning.settings import OPTIONS, TrainSettings

BAD = [
    *[(name, value) for name in ("epochs", "batch_size", "image_size", "n_curve") for value in (0, -1)],
    *[(name, value) for name in ("n_train", "n_val", "n_test", "lr", "head_lr") for value in (0, -3)],
    *[(name, value) for name in ("warmup_fraction", "prompt_dropout") for value in (1, 1.5, -0.1, math.nan)],
    *[(name, -1) for name in ("weight_decay", "prompt_length", "seed", "snapshots", "prompt_projection")],
    *[(name, "other") for name in ("optimizer", "decayed", "schedule", "head_init", "prompt_init", "train_split")],
    *[("prompt_layers", value) for value in ("first", "first:0", "middle:3", "last:-1", "all:2")],
    ("precision", "float16"),
    ("lr", math.nan),
    ("head_lr", math.nan),
    ("weight_decay", math.nan),
]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_a_setting_outside_its_range_is_refused_by_name_and_value(name, value):
    with pytest.raises(SettingsError, match=rf"{name}.*must.*got.*{value}"):
        TrainSettings(**{name: value})


def test_what_differs_from_the_defaults_is_what_tells_runs_apart():
    assert TrainSettings().changed() == {}
    assert TrainSettings(lr=1e-3, seed=4, epochs=20).changed() == {"lr": 1e-3, "seed": 4}


def test_options_of_other_methods_do_not_count():
    settings = TrainSettings(prompt_length=50, lora_rank=2, epochs=3)
    assert settings.restricted(frozenset({"lora_rank"})) == TrainSettings(lora_rank=2, epochs=3)
    assert settings.restricted(frozenset(OPTIONS)) is settings


def test_the_ends_of_the_ranges_are_allowed():
    TrainSettings(epochs=1, batch_size=1, warmup_fraction=0, prompt_dropout=0.999, weight_decay=0, prompt_length=0)
    assert TrainSettings().lr is None


def test_settings_are_checked_when_replaced_and_never_changed():
    with pytest.raises(SettingsError, match="epochs must be positive, got 0"):
        replace(TrainSettings(), epochs=0)
    with pytest.raises(FrozenInstanceError, match="epochs"):
        TrainSettings().epochs = 3
