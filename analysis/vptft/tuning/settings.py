"""TrainSettings: how a run is trained; by default one recipe for every method, so that two runs differ in it only."""

import re
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_origin, get_type_hints

from vptft.errors import SettingsError

PROMPT_LAYERS = re.compile(r"all|(first|last):[1-9]\d{0,2}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainSettings:
    """How a run is trained. The defaults: AdamW, linear warm-up then cosine to zero, by step; the same for all methods.

    Attributes
    ----------
    epochs, batch_size
        Passes over the training images, and images a step.
    lr
        Peak learning rate of what the method tunes besides the head; None takes the method's default.
    head_lr
        Peak learning rate of the head, the same for all methods: a head that crawls at the rate of finetuning would
        make FT look worse than it is. A probe's head takes ``lr``, and so does every head where this is None.
    prompt_lr
        Peak learning rate of prompts where the backbone moves too, at rates that would leave prompts as they are; None
        for ``lr``. Where prompts are all that is tuned besides the head, they take ``lr``.
    optimizer, momentum, adam_epsilon
        ``adamw`` (decoupled decay), or ``sgd`` with momentum (decay added to the gradient).
    weight_decay, decayed
        Decay, and of what: ``matrices`` exempts vectors, prompts and embeddings; ``all but biases`` and ``all but the
        head's bias`` are what KMnP/vpt does with AdamW and with SGD.
    warmup_fraction, warmup_epochs
        Part of all steps spent warming up, the same for every method; or, with ``schedule="epoch"``, whole epochs.
    schedule
        ``step`` changes the rate every step; ``epoch`` every epoch, the first of which then has rate 0 (KMnP/vpt).
    backbone_dropout
        Dropout after the position embedding and in the MLPs of a ViT, while all of it is tuned.
    label_smoothing
        Part of each label shared out evenly over all classes, in the loss that is minimised; the loss of the history
        is without it, so that curves of all settings are in one unit.
    augment
        ``colour`` jitters brightness, contrast and saturation of training images; ``none``. Nothing geometric is
        offered: flips, crops and erasing change what location, orientation, distance and counting ask for.
    keep
        Whose weights a run leaves: ``last`` epoch, or ``best_val``, the first with the best accuracy on validation
        (early stopping, never on test); the history goes on to the last.
    head_init
        ``zero``: the first loss is log(n_classes); ``kaiming``: KMnP/vpt's, with bias -log 99.
    prompt_length, prompt_dropout
        Prompts a layer and their dropout, for methods with prompts.
    prompt_dropout_per_sample
        Draw that dropout for each image, not once a batch; the key/value prefix form then falls back.
    prompt_layers
        For deep prompts: ``all``, ``first:K`` or ``last:K`` layers.
    prompt_projection
        Width of the space prompts are learned in, projected to the tokens' width; 0 learns them there.
    prompt_shared
        One set of prompts for all layers.
    prompt_init
        ``random``, or ``class_token``: the mean final cls token of each class's training images, taken in turn
        (Jia et al. 2022, appendix B).
    partial_layers, probe_layers
        Last blocks tuned by ``partial_k``; last layers that ``multi_layer_probe`` reads.
    lora_rank, lora_alpha
        Rank and scale of ``lora``.
    adapter_width
        Bottleneck of ``adapter``.
    image_size
        Side of the square input, pixels.
    n_train, n_val, n_test
        Images drawn; None takes the task's own number.
    train_split
        ``train``; or ``trainval``, then nothing is left to validate on, and no validation curve is written.
    n_curve
        Test images whose loss is computed every epoch: the first of the fixed test order, or as many of every class
        where that lies class by class. Validation images are all computed.
    snapshots
        How many times on the way the tuned tensors are kept, evenly spaced, the last epoch included.
    precision
        ``float32``, or ``bfloat16``: autocast of the network; the loss and the weights stay in float32.
    seed
        Seeds the training draw, the initial prompts, the batches and the dropout.
    """

    epochs: int = 20
    batch_size: int = 16
    lr: float | None = None
    head_lr: float | None = 2e-3
    prompt_lr: float | None = 1e-3
    optimizer: Literal["adamw", "sgd"] = "adamw"
    momentum: float = 0.9
    adam_epsilon: float = 1e-8
    weight_decay: float = 0.01
    decayed: Literal["matrices", "all but biases", "all but the head's bias"] = "matrices"
    warmup_fraction: float = 0.1
    warmup_epochs: int = 0
    schedule: Literal["step", "epoch"] = "step"
    backbone_dropout: float = 0.0
    label_smoothing: float = 0.0
    augment: Literal["none", "colour"] = "none"
    keep: Literal["last", "best_val"] = "last"
    head_init: Literal["zero", "kaiming"] = "zero"
    prompt_length: int = 10
    prompt_dropout: float = 0.0
    prompt_dropout_per_sample: bool = False
    prompt_layers: str = "all"
    prompt_projection: int = 0
    prompt_shared: bool = False
    prompt_init: Literal["random", "class_token"] = "random"
    partial_layers: int = 1
    probe_layers: int = 4
    lora_rank: int = 8
    lora_alpha: int = 16
    adapter_width: int = 48
    image_size: int = 56
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    train_split: Literal["train", "trainval"] = "train"
    n_curve: int = 300
    snapshots: int = 0
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in _POSITIVE:
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} must be positive, got {value}.")
        for name in _FRACTIONS:
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name} must lie in [0, 1), got {getattr(self, name)}.")
        for name in _NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise SettingsError(f"{name} must not be negative, got {getattr(self, name)}.")
        for name, most in _LARGEST.items():
            if getattr(self, name) > most:
                raise SettingsError(f"{name} must be at most {most}, got {getattr(self, name)}.")
        for name, allowed in _WORDS.items():
            if getattr(self, name) not in allowed:
                raise SettingsError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}.")
        if self.keep == "best_val" and self.train_split == "trainval":
            raise SettingsError("keep must be last with train_split trainval: nothing is left to validate on.")
        if not PROMPT_LAYERS.fullmatch(self.prompt_layers):
            raise SettingsError(f"prompt_layers must be all, first:K or last:K, got {self.prompt_layers!r}.")

    def changed(self) -> dict[str, Any]:
        """Return what differs from the defaults, by name: what tells runs apart, also when settings are added."""
        return {name: value for name, default in _DEFAULTS.items() if (value := getattr(self, name)) != default}

    def restricted(self, options: frozenset[str]) -> "TrainSettings":
        """Return these settings with the options of other methods than one that has ``options`` at their defaults."""
        others = {name: _DEFAULTS[name] for name in OPTIONS - options if getattr(self, name) != _DEFAULTS[name]}
        return replace(self, **others) if others else self


OPTIONS = frozenset({
    "prompt_length", "prompt_dropout", "prompt_dropout_per_sample", "prompt_layers", "prompt_projection",
    "prompt_shared", "prompt_init", "prompt_lr", "partial_layers", "probe_layers", "lora_rank", "lora_alpha",
    "adapter_width",
})  # fmt: skip
"""Settings that belong to some methods only; each method names its own."""

_POSITIVE = (
    "epochs", "batch_size", "lr", "head_lr", "prompt_lr", "adam_epsilon", "partial_layers", "probe_layers",
    "lora_rank", "lora_alpha", "adapter_width", "image_size", "n_train", "n_val", "n_test", "n_curve",
)  # fmt: skip
_FRACTIONS = ("warmup_fraction", "prompt_dropout", "momentum", "backbone_dropout", "label_smoothing")
_NOT_NEGATIVE = ("weight_decay", "prompt_length", "prompt_projection", "warmup_epochs", "snapshots", "seed")
_LARGEST = {"seed": 2**43, "prompt_length": 100_000}
"""A seed is multiplied by a million for each epoch's, which must fit 64 bits; more prompts fit no memory."""
_WORDS = {name: get_args(hint) for name, hint in get_type_hints(TrainSettings).items() if get_origin(hint) is Literal}
_DEFAULTS: dict[str, Any] = {field.name: field.default for field in fields(TrainSettings)}
