"""Recipes by name: settings that go together, method by method.

``even`` trains every method alike. ``kmnp`` is that of KMnP/vpt and VPT-or-FT as their code runs it (facts measured on
it; none of its code is here), confounds and all: other optimisers, dropout for finetuning only, other warm-ups, an
epoch without learning. It serves to reproduce, not to compare.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vptft.errors import NotApplicable, UnknownNameError
from vptft.tuning.methods import Method
from vptft.tuning.settings import TrainSettings

KMNP_BATCH = 256
"""The batch that KMnP/vpt's learning rates are written for: those used are base / 256 * batch."""


@dataclass(frozen=True, kw_only=True)
class MethodRecipe:
    """What a recipe says of one method.

    Attributes
    ----------
    changes
        Settings in place of the defaults.
    base_rates
        Learning rates its program searches, for a batch of 256; empty for the method's own.
    decays
        Weight decays it searches; empty for none but the setting.
    """

    changes: Mapping[str, Any] = field(default_factory=dict)
    base_rates: tuple[float, ...] = ()
    decays: tuple[float, ...] = ()

    def rates(self, method: Method, batch_size: int) -> tuple[float, ...]:
        """Learning rates as used, ascending."""
        if not self.base_rates:
            return method.learning_rates
        return tuple(rate / KMNP_BATCH * batch_size for rate in sorted(self.base_rates))


_SHARED = {
    "epochs": 100, "schedule": "epoch", "head_lr": None, "prompt_lr": None, "head_init": "kaiming", "image_size": 224,
}  # fmt: skip
_SGD = {
    **_SHARED, "optimizer": "sgd", "momentum": 0.9, "decayed": "all but the head's bias", "warmup_epochs": 10,
    "batch_size": 64,
}  # fmt: skip
_PROMPTED = {**_SGD, "prompt_dropout": 0.1, "prompt_dropout_per_sample": True}
_ADAMW = {
    **_SHARED, "optimizer": "adamw", "adam_epsilon": 1e-6, "weight_decay": 0.01, "decayed": "all but biases",
    "warmup_epochs": 5, "batch_size": 128, "backbone_dropout": 0.1,
}  # fmt: skip
_SGD_RATES = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0)
_DECAYS = (0.0, 1e-4, 1e-3, 1e-2)

RECIPES: Mapping[str, Mapping[str, MethodRecipe] | None] = {
    "even": None,
    "kmnp": {
        # AdamW ignores the decays of its grid there, so searching them would repeat runs.
        "ft": MethodRecipe(changes=_ADAMW, base_rates=(1e-4, 5e-4, 1e-3, 5e-3)),
        "linear": MethodRecipe(changes={**_SGD, "batch_size": 1024}, base_rates=_SGD_RATES, decays=_DECAYS),
        "vpt_shallow": MethodRecipe(changes=_SGD, base_rates=_SGD_RATES, decays=_DECAYS),
        "vpt_deep": MethodRecipe(changes=_PROMPTED, base_rates=_SGD_RATES, decays=_DECAYS),
        # Its Mixed trains every weight with VPT's optimiser and rates.
        "mixed": MethodRecipe(changes=_PROMPTED, base_rates=_SGD_RATES, decays=_DECAYS),
    },
}
"""By recipe, by method; None for a recipe that changes nothing."""


def method_recipe(name: str, method: Method) -> MethodRecipe:
    """Return what a recipe says of a method.

    Raises
    ------
    UnknownNameError, NotApplicable
        There is no such recipe; it does not cover the method.
    """
    if name not in RECIPES:
        raise UnknownNameError("recipe", name, RECIPES)
    table = RECIPES[name]
    if table is None:
        return MethodRecipe()
    if method.name not in table:
        raise NotApplicable(f"The recipe {name} does not cover {method.name}; it covers {', '.join(sorted(table))}.")
    return table[method.name]


def with_recipe(
    settings: TrainSettings, name: str, method: Method, *, given: frozenset[str] = frozenset()
) -> TrainSettings:
    """Return settings as a recipe has them; what a user ``given`` by name stays as it is."""
    changes = method_recipe(name, method).changes
    return replace(settings, **{key: value for key, value in changes.items() if key not in given})


def has_own_search(name: str) -> bool:
    """Whether a recipe says what is searched, so that nothing of a protocol's search belongs to it."""
    return RECIPES.get(name) is not None


def default_rate(name: str, method: Method, batch_size: int) -> float:
    """Return the learning rate where none is searched or given: the middle of what the recipe searches."""
    rates = method_recipe(name, method).rates(method, batch_size)
    return rates[math.ceil(len(rates) / 2) - 1]
