"""TrainSettings: one recipe for every method, so that two runs differ in the method only."""

from dataclasses import dataclass

from vptft.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a run is trained. AdamW, linear warm-up then cosine to zero, by step; the same for all methods.

    Attributes
    ----------
    epochs, batch_size
        Passes over the training images, and images a step.
    lr
        Peak learning rate of what the method tunes besides the head; None takes the method's default.
    head_lr
        Peak learning rate of the head, the same for all methods: a head that crawls at the rate of finetuning would
        make FT look worse than it is. A linear probe's head takes ``lr``.
    weight_decay
        Decoupled decay of matrices; vectors, prompts and embeddings are exempt.
    warmup_fraction
        Part of all steps spent warming up. The same fraction for every method.
    prompt_length, prompt_dropout
        Prompts a layer and their dropout, for methods with prompts.
    image_size
        Side of the square input, pixels.
    n_train, n_val, n_test
        Images drawn; None takes the task's own number.
    n_curve
        Test images whose loss is computed every epoch: the first of the fixed test order.
    seed
        Seeds the training draw, the initial prompts, the batches and the dropout.
    """

    epochs: int = 20
    batch_size: int = 16
    lr: float | None = None
    head_lr: float = 2e-3
    weight_decay: float = 0.01
    warmup_fraction: float = 0.1
    prompt_length: int = 10
    prompt_dropout: float = 0.0
    image_size: int = 56
    n_train: int | None = None
    n_val: int | None = None
    n_test: int | None = None
    n_curve: int = 300
    seed: int = 0

    def __post_init__(self) -> None:
        positive = ("head_lr", "epochs", "batch_size", "image_size", "n_curve")
        optional = ("n_train", "n_val", "n_test", "lr")
        for name in (*positive, *(name for name in optional if getattr(self, name) is not None)):
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be positive, got {getattr(self, name)}.")
        for name in ("warmup_fraction", "prompt_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise SettingsError(f"{name} must lie in [0, 1), got {getattr(self, name)}.")
        if not self.weight_decay >= 0 or self.prompt_length < 0 or self.seed < 0:
            raise SettingsError(
                "weight_decay, prompt_length and seed must not be negative, got "
                f"{self.weight_decay}, {self.prompt_length}, {self.seed}."
            )
