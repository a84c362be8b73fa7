"""What is scored of attention maps: kinds, scores, how many images, and the images as both models take them."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch

from vptft.errors import SettingsError
from vptft.why.attention.agreement import TOP
from vptft.why.attention.explanation import Explanation
from vptft.why.attention.faithfulness import STEPS, Baseline, How
from vptft.why.attention.methods import METHODS

Target = Literal["true", "predicted", "contrast"]
SIDES = ("vpt", "ft")
RANDOM = "random"
"""Maps that know nothing, the same for both sides: what each score is worth by chance."""
SLOW = ("integrated_gradients",)
"""Kinds that are made for few images only: each costs many forwards."""
KINDS = tuple(name for name in METHODS if name not in SLOW)
WAYS: tuple[How, ...] = ("tokens", "pixels")
MASSES = ("patch_mass", "cls_mass", "register_mass", "prompt_mass")
FAITHFUL = tuple(f"{name}_{way}" for way in WAYS for name in ("faithfulness", "deletion", "insertion"))
SCORES = (
    "on_object", "pointing", "iou_area", "iou_threshold", "map_entropy_bits", "effective_patches", "gini", *FAITHFUL,
)  # fmt: skip
"""Columns that hold a score of a map."""


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """What is measured, and on how much of it.

    Attributes
    ----------
    kinds
        Kinds of map, by the names of :data:`vptft.why.attention.methods.METHODS`.
    target
        Class that both sides' maps explain: the true one, the one that both together find most likely, or the true
        one against the likeliest other (``contrast``).
    sample
        Test images, drawn by ``seed``, for deletion and insertion and for the slow kinds.
    score_slow
        Whether slow kinds are made for the sample too and scored, or only for what is shown.
    ways
        By tokens, by pixels, both, or none.
    steps, baseline
        As in :func:`vptft.why.attention.faithfulness.curves`.
    checked
        Images of the sanity checks, drawn as the sample is; 0 leaves them out. Of few images the mean correlation is
        uncertain by some hundredths, and a kind near the mark may fall on either side.
    checked_slow
        The first of those in the draw's order, on which slow kinds are checked: their mean is uncertain by a tenth.
    shown
        Images of each outcome that are kept to be drawn, by ``seed``.
    top
        Share of the patches that count as strongest where maps are compared.
    seed
        Of the sample, of what is shown, of random maps and random weights.
    """

    kinds: tuple[str, ...] = KINDS
    target: Target = "true"
    sample: int = 100
    score_slow: bool = True
    ways: tuple[How, ...] = WAYS
    steps: int = STEPS
    baseline: Baseline = "mean"
    checked: int = 32
    checked_slow: int = 8
    shown: int = 2
    top: float = TOP
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [kind for kind in self.kinds if kind not in METHODS]
        if unknown or not self.kinds:
            raise SettingsError(f"Kinds of map are some of {', '.join(METHODS)}, not {unknown or 'none'}.")
        if min(self.sample, self.steps) < 1 or min(self.checked, self.checked_slow, self.shown) < 0:
            raise SettingsError(
                f"sample {self.sample} and steps {self.steps} must be at least 1, checked {self.checked}, "
                f"checked_slow {self.checked_slow} and shown {self.shown} not negative."
            )
        if not (self.score_slow or self.shown) and set(self.kinds) & set(SLOW):
            raise SettingsError(f"With no image shown and none scored, there is nothing to make {SLOW[0]} for.")


Explainer = Callable[..., Mapping[str, Explanation]]
"""``explain(model, images, methods=, target=, against=)``, as :func:`vptft.why.attention.methods.explain_each`."""


@dataclass(frozen=True, kw_only=True)
class SeenImages:
    """Test images as both models take them, and what is known of them.

    Attributes
    ----------
    images
        Normalised, ``(n, 3, H, W)``.
    pixels
        The same as ``(n, 3, H, W)`` uint8.
    labels
        True classes, ``(n,)``.
    ids, groups
        Identifiers and dependence groups, ``(n,)``.
    masks
        Object masks, ``(n, H, W)`` bool; None where there are none.
    """

    images: torch.Tensor
    pixels: torch.Tensor
    labels: np.ndarray
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    masks: np.ndarray | None = None


def plain(options: ScoreSettings) -> dict[str, Any]:
    """Settings as JSON has them."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(options).items()}
