"""Who is profiled: a method by name or as a finished run used it, built as training builds it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch

from vptft.checkpoints.native import Run, RunInfo, find_runs, tuned_state
from vptft.errors import SettingsError, UnknownNameError
from vptft.models.backbones import Backbone, load_backbone
from vptft.models.tuned import TunedModel
from vptft.tuning.building import build_model
from vptft.tuning.costs import Workload
from vptft.tuning.methods import Method, called, find_method, known
from vptft.tuning.settings import OPTIONS, TrainSettings

COSTLY = OPTIONS - {"prompt_length", "prompt_init", "prompt_lr", "lora_alpha"} | {
    "backbone_dropout", "optimizer", "precision",
}  # fmt: skip
"""Settings that change what a method costs, besides the batch, the prompts and the images."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is profiled: a method by name, or as a finished run used it.

    Attributes
    ----------
    method, backbone
        By name.
    n_classes
        Outputs of the head.
    settings
        Image size, prompt length and options; batches are those of :func:`measure`.
    run, task, n_train, accuracy
        Of a finished run: its folder, its task, its training images (0: not known), and the fraction of test images it
        classifies rightly.
    refused
        Why it cannot be profiled, where that is known beforehand.
    """

    method: str
    backbone: str
    n_classes: int
    settings: TrainSettings = field(default_factory=TrainSettings)
    run: str = ""
    task: str = ""
    n_train: int = 0
    accuracy: float = math.nan
    refused: str = ""

    @classmethod
    def of_run(cls, run: Run) -> "Subject":
        """Return what a finished run trained. One converted from another program is refused: its method has no row."""
        info = run.info
        return cls(
            method=info.method,
            backbone=info.backbone,
            n_classes=len(info.classes),
            settings=TrainSettings(image_size=info.image_size) if info.imported else _settings_of(info),
            run=str(run.folder),
            task=info.task,
            n_train=info.n_train or 0,
            accuracy=math.nan if info.test_accuracy is None else info.test_accuracy,
            refused="converted from another program: profile its method by name" if info.imported else "",
        )

    def identity(self, batch_size: int) -> dict[str, Any]:
        """Return the columns that say what is measured, and of which run."""
        return {
            "method": self.method,
            "variant": self.variant,
            "backbone": self.backbone,
            "image_size": self.settings.image_size,
            "n_classes": self.n_classes,
            "prompt_length": self.settings.prompt_length if self.has_prompts else 0,
            "batch_size": batch_size,
            "run": self.run,
            "task": self.task,
            "n_train": self.n_train,
            "accuracy": self.accuracy,
        }

    def with_prompts(self, length: int) -> "Subject":
        """Return it with that many prompts a layer; without the run's accuracy, where the run had another number."""
        if length == self.settings.prompt_length:
            return self
        return replace(self, settings=replace(self.settings, prompt_length=length), accuracy=math.nan)

    @property
    def variant(self) -> str:
        """Settings that are not the defaults and change costs, in words; what :data:`COSTLY` names."""
        said = {name: value for name, value in self.own_settings.changed().items() if name in COSTLY}
        return ", ".join(f"{name}={value}" for name, value in sorted(said.items()))

    @property
    def own_settings(self) -> TrainSettings:
        """Settings without those of other methods."""
        if self.refused:
            return self.settings
        method = find_method(self.method)
        own = self.settings.restricted(method.options)
        return replace(own, lr=own.lr or method.default_lr)

    @property
    def has_prompts(self) -> bool:
        """Whether the number of prompts is a setting of the method."""
        return not self.refused and "prompt_length" in find_method(self.method).options

    def build(self) -> "Built":
        """Make the model as training makes it, without training it.

        Raises
        ------
        NotApplicable, SettingsError, MissingExtraError
            The method needs another network, a larger one, or a package that is not installed.
        """
        backbone = load_backbone(self.backbone, self.settings.image_size)
        method, settings = find_method(self.method), self.own_settings
        base = None if method.after is None else self._tuned(find_method(method.after), backbone, settings)
        base_bytes = 0 if base is None else stored_bytes(base)
        model = build_model(method, backbone, settings, n_classes=self.n_classes, base=base)
        whole = all(p.requires_grad for p in model.backbone.parameters())
        return Built(subject=self, method=method, model=model, backbone=backbone, base_bytes=0 if whole else base_bytes)

    def _tuned(self, method: Method, backbone: Backbone, settings: TrainSettings) -> TunedModel:
        """Stand-in for the finished run of an earlier stage: what it holds costs the same whatever its values."""
        base = None if method.after is None else self._tuned(find_method(method.after), backbone, settings)
        return build_model(method, backbone, settings, n_classes=self.n_classes, base=base)


def _settings_of(info: RunInfo) -> TrainSettings:
    told = info.settings | info.options
    return TrainSettings(**{each.name: told[each.name] for each in fields(TrainSettings) if each.name in told})


@dataclass(frozen=True, kw_only=True)
class Built:
    """A subject's model.

    Attributes
    ----------
    subject, method, model, backbone
        What was built, and its parts.
    base_bytes
        Tensors of an earlier stage's run that the finished one needs again; 0 where it holds every weight itself.
    """

    subject: Subject
    method: Method
    model: TunedModel
    backbone: Backbone
    base_bytes: int

    @property
    def note(self) -> str:
        """What its numbers hide."""
        if self.method.after is not None:
            return f"the last stage alone: {called(str(self.method.after))} is trained before it"
        if self.method.reads_fixed_features:
            return "a step reads features computed once; the forward pass is the whole network"
        return "forward as trained; merged into the weights it costs what FT does" if self.method.adds == "lora" else ""

    def workload(self, batch_size: int, seed: int) -> Workload:
        """Give it a batch of made-up images."""
        settings = replace(self.subject.own_settings, batch_size=batch_size)
        generator = torch.Generator().manual_seed(seed)
        shape = (batch_size, 3, settings.image_size, settings.image_size)
        return Workload(
            model=self.model,
            backbone=self.backbone,
            settings=settings,
            pixels=torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator),
            labels=torch.randint(0, self.subject.n_classes, (batch_size,), generator=generator),
            on_features=self.method.reads_fixed_features,
        )


def stored_bytes(model: TunedModel) -> int:
    """Bytes of the tensors that a finished run of this model saves, in their own types."""
    return sum(tensor.nbytes for tensor in tuned_state(model).values())


def subjects_of(names: Sequence[str], *, backbone: str, n_classes: int, settings: TrainSettings) -> list[Subject]:
    """Find what each name means: a method, or a folder that is or holds runs.

    Parameters
    ----------
    names
        A folder that is called as a method is must be written as a path, such as ``./ft``.
    backbone, n_classes, settings
        Of methods; runs have their own.

    Raises
    ------
    UnknownNameError, CheckpointError
        It is neither, or a run that cannot be read.
    """
    found: list[Subject] = []
    for name in names:
        if name in known():
            found.append(Subject(method=name, backbone=backbone, n_classes=n_classes, settings=settings))
        elif Path(name).is_dir():
            found += map(Subject.of_run, find_runs([Path(name)]))
        else:
            raise UnknownNameError("method or folder of runs", name, known())
    if not found:
        raise SettingsError("There is nothing to profile: give methods, or folders of runs.")
    return found
