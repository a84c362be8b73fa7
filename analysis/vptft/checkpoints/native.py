"""Our run folder: what one training leaves, written atomically and read with every claim checked.

``run.json`` is written last: a folder that has one is a complete run.
"""

import os
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from vptft.errors import CheckpointError, WeightsError
from vptft.models.adapters import attach
from vptft.models.backbones import Backbone, Pretraining, load_backbone
from vptft.models.fingerprint import state_hash
from vptft.models.heads import make_head
from vptft.models.lora import merge
from vptft.models.prompts import PromptSpec
from vptft.models.swin_shape import Shape, shape_from_json
from vptft.models.tuned import TunedModel
from vptft.storage import SEARCH_FOLDER, atomic_path, read_arrays, read_json, write_json, write_text

SCHEMA = 1
WEIGHTS_FILE = "model.safetensors"
SNAPSHOTS = "snapshots"
BASE_FILE = "backbone.safetensors"
"""The base of an imported run, inside its folder."""
HISTORY_COLUMNS = ("epoch", "split", "loss", "accuracy", "lr", "seconds")


@dataclass(frozen=True, kw_only=True)
class Predictions:
    """What the final model says about every test image.

    Attributes
    ----------
    ids, groups
        ``(n,)`` identifiers and dependence groups of the test images.
    labels
        ``(n,)`` int64 true classes.
    logits
        ``(n, n_classes)`` float32.
    """

    ids: np.ndarray
    groups: np.ndarray
    labels: np.ndarray
    logits: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether each image is classified rightly, ``(n,)`` bool."""
        return self.logits.argmax(axis=1) == self.labels

    @property
    def accuracy(self) -> float:
        """Fraction classified rightly, in [0, 1]."""
        return float(self.correct.mean())


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """The content of ``run.json``: what was trained, on what, how, and from which base.

    ``settings`` holds the training settings as resolved, ``options`` those that belong to the method; ``model_sha256``
    is the hash of the tuned tensors and ``prompts`` the prompts they belong to; ``probe_layers`` are the layers its
    head reads, where not the last alone. ``base`` names the run it started from, by its folder relative to this one and
    the hash of its tensors; None for the backbone as it was pretrained. ``search`` holds the trials that chose its
    learning rate, ``notes`` what must be known before its number is used. ``rebuilt_of`` are the hashes of tensors that
    stood here before it was trained again on another machine, the oldest first: what started from them may go on.
    ``images`` has the fingerprint of each split it saw; nothing in runs made before these were kept.

    A run converted from another program's checkpoint has ``imported``: its source, what could not be known, and its
    recipe. What that program did not tell is None. Its network is described by ``shape`` (and ``adapters``), and its
    base lies in the run folder itself; where the base is not known, ``backbone_sha256`` is None and the tuned tensors
    are the whole network.
    """

    backbone: str
    backbone_sha256: str | None
    pretraining: str
    method: str
    task: str
    objective: str | None
    appearance: str | None
    few_groups: bool
    classes: list[str]
    n_train: int | None
    seed: int | None
    image_size: int
    mean: list[float]
    std: list[float]
    prompts: dict[str, Any] | None
    parameters_tuned: int
    parameters_total: int
    settings: dict[str, Any]
    model_sha256: str
    test_accuracy: float | None
    provenance: dict[str, Any]
    schema: int = SCHEMA
    shape: dict[str, Any] | None = None
    adapters: dict[str, Any] | None = None
    imported: dict[str, Any] | None = None
    options: dict[str, Any] = field(default_factory=dict)
    val_accuracy: float | None = None
    probe_layers: list[int] = field(default_factory=list)
    base: dict[str, Any] | None = None
    search: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    rebuilt_of: list[str] = field(default_factory=list)
    images: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, values: Any, path: Path) -> Self:
        """Check the schema and the fields; name what is missing or unknown."""
        if not isinstance(values, dict) or values.get("schema") != SCHEMA:
            found = values.get("schema") if isinstance(values, dict) else type(values).__name__
            raise CheckpointError(f"{path} has schema {found!r}; this version reads schema {SCHEMA}.")
        names = {each.name for each in fields(cls)}
        needed = {each.name for each in fields(cls) if each.default is MISSING and each.default_factory is MISSING}
        missing, unknown = sorted(needed - values.keys()), sorted(values.keys() - names)
        if missing or unknown:
            raise CheckpointError(f"{path} does not hold a run: missing {missing}, unknown {unknown}.")
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One complete training on disk."""

    folder: Path
    info: RunInfo

    @property
    def label(self) -> str:
        """Short name for figures: method, task and seed."""
        return f"{self.info.method} {self.info.task} seed {self.info.seed}"

    def history(self) -> pd.DataFrame:
        """Loss (nats) and accuracy (fraction) per epoch and split; columns as in ``HISTORY_COLUMNS``."""
        path = self.folder / "history.csv"
        try:
            frame = pd.read_csv(path)
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{path} could not be read: {error}") from error
        if tuple(frame.columns) != HISTORY_COLUMNS:
            raise CheckpointError(f"{path} has columns {list(frame.columns)}; expected {list(HISTORY_COLUMNS)}.")
        if self.info.imported is not None:  # other programs do not log everything
            return frame
        epochs = self.info.settings.get("epochs")
        if frame.isna().any(axis=None) or frame.empty or frame["epoch"].max() != epochs:
            raise CheckpointError(f"{path} is incomplete: it does not hold every value of all {epochs} epochs.")
        return frame

    def predictions(self) -> Predictions:
        """Test ids, labels and logits."""
        path = self.folder / "predictions.npz"
        if self.info.imported is not None and not path.is_file():
            raise CheckpointError(
                f"{self.folder} was converted without predictions.",
                f"Make them: vptft-analyze checkpoints evaluate {self.folder} --task TASK --save",
            )
        if self.info.imported is None and self.info.test_accuracy is None:
            raise CheckpointError(f"{self.folder} is a trial of a search: it never looked at test images.")
        found = read_arrays(path)
        expected = {each.name for each in fields(Predictions)}
        if found.keys() != expected:
            raise CheckpointError(f"{path} holds {sorted(found)}; expected {sorted(expected)}.")
        return Predictions(**found)

    def backbone(self) -> Backbone:
        """Load the pretrained backbone the run started from; refused when its weights are not the run's."""
        if self.info.shape is not None:
            return self._imported_backbone(shape_from_json(self.info.shape))
        backbone = load_backbone(self.info.backbone, self.info.image_size)
        if backbone.sha256 != self.info.backbone_sha256:
            raise CheckpointError(
                f"{self.folder}: trained from {self.info.backbone} with weights {str(self.info.backbone_sha256)[:12]}, "
                f"but {self.info.backbone} here has {backbone.sha256[:12]}.",
                "Use the weights the run was made with.",
            )
        return backbone

    def model(self) -> TunedModel:
        """Build the tuned model in evaluation mode, with the tuned tensors checked against ``run.json``.

        Low-rank updates are merged into the weights they belong to.

        Raises
        ------
        CheckpointError
            The tensors are not there, or are others than ``run.json`` describes; so for those of the run it started
            from, where it needs them.
        """
        state = self._tuned_state()
        spec = None if self.info.prompts is None else PromptSpec.from_json(self.info.prompts)
        if self.info.shape is not None:
            model = self._imported_model(shape_from_json(self.info.shape), state, spec)
        else:
            module: Any = self._starting_module(state)
            state = self._with_additions(module, state)
            model = TunedModel(
                module, n_classes=len(self.info.classes), prompts=spec, probe_layers=tuple(self.info.probe_layers)
            )
        load_tuned(model, state, source=self.folder)
        return model.eval()

    def base_run(self) -> "Run | None":
        """Open the run this one started from; None where it started from the pretrained backbone.

        Raises
        ------
        CheckpointError
            It is gone, or is another run by now.
        """
        if self.info.base is None:
            return None
        try:
            found = load_run(Path(os.path.normpath(self.folder / str(self.info.base["folder"]))))
        except CheckpointError as error:
            raise CheckpointError(f"{self.folder} started from another run. {error.problem}", error.hint) from error
        if self.info.base.get("model_sha256") not in (found.info.model_sha256, *found.info.rebuilt_of):
            raise CheckpointError(f"{found.folder} is no longer the run that {self.folder} started from.")
        return found

    def snapshots(self) -> dict[int, Path]:
        """Tensors kept on the way, by epoch: files of the same tensors as the run's own."""
        found = sorted((self.folder / SNAPSHOTS).glob("epoch*.safetensors"))
        return {int(path.stem.removeprefix("epoch")): path for path in found}

    def _starting_module(self, state: Mapping[str, torch.Tensor]) -> nn.Module:
        """The network that the tuned tensors go into: the backbone, or what another run made of it."""
        if self.info.base is None:
            return self.backbone().module
        module = self.backbone().module
        if {f"backbone.{name}" for name, _ in module.named_parameters()} <= state.keys():
            return module  # every weight is the run's own
        base = self.base_run()
        assert base is not None
        return base.model().backbone

    def _with_additions(self, module: Any, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Merge low-rank updates, or attach adapters; gives the tensors that are still to be loaded."""
        if self.info.adapters is None:
            return state
        kind, scale = self.info.adapters["kind"], self.info.adapters["scale"]
        if kind != "lora":
            own = {n.removeprefix("backbone."): value for n, value in state.items() if ".adapter." in n}
            attach(module, own, kind=kind, scale=scale)
            return state
        own = {n.removeprefix("backbone."): value for n, value in state.items() if ".lora_" in n}
        merge(module, own, scale=scale)
        return {name: value for name, value in state.items() if ".lora_" not in name}

    def _imported_backbone(self, shape: Shape) -> Backbone:
        """The base that lies in the run folder."""
        path = self.folder / BASE_FILE
        if self.info.backbone_sha256 is None:
            raise WeightsError(
                f"The pretrained weights {self.folder} started from are not known.",
                "Convert the checkpoint again with --backbone.",
            )
        state = _read_tensors(path)
        if state_hash(state) != self.info.backbone_sha256:
            raise CheckpointError(f"{path} is not the base that run.json describes: its hash differs.")
        module = shape.build()
        try:
            module.load_state_dict(state)
        except RuntimeError as error:
            raise CheckpointError(f"{path} does not fit the shape in run.json: {error}") from error
        return Backbone(
            name=self.info.backbone,
            module=module.eval(),
            sha256=self.info.backbone_sha256,
            image_size=self.info.image_size,
            mean=tuple(self.info.mean),
            std=tuple(self.info.std),
            pretraining=cast(Pretraining, self.info.pretraining),
        )

    def _imported_model(self, shape: Shape, state: dict[str, torch.Tensor], spec: PromptSpec | None) -> TunedModel:
        """The network of another program, on its base where that is known."""
        known = self.info.backbone_sha256 is not None
        vit: Any = self._imported_backbone(shape).module if known else shape.build()
        state = self._with_additions(vit, state)
        both = shape.pooling == "token and avg"
        model = TunedModel(vit, n_classes=1, prompts=spec, head=head_of(state), patches_too=both)
        if not known and not {n for n in model.state_dict() if n.startswith("backbone.")} <= state.keys():
            raise CheckpointError(f"{self.folder} has no base, and its tensors are not the whole network.")
        return model

    def _tuned_state(self) -> dict[str, torch.Tensor]:
        path = self.folder / WEIGHTS_FILE
        if not path.exists():
            raise CheckpointError(
                f"{self.folder} does not hold its weights.",
                f"Train them again: vptft-analyze checkpoints rebuild {self.folder}",
            )
        state = _read_tensors(path)
        if state_hash(state) != self.info.model_sha256:
            raise CheckpointError(f"{path} is not the file run.json describes: its hash differs.")
        return state


def _read_tensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} could not be read: {error}") from error


def head_of(state: Mapping[str, torch.Tensor]) -> nn.Module:
    """Build the head that belongs to a run's tuned tensors, whatever its form."""
    own = {name.removeprefix("head."): value for name, value in state.items() if name.startswith("head.")}
    own = {name.removeprefix("last."): value for name, value in own.items()}
    if not {"weight", "bias"} <= own.keys() or own["weight"].ndim != 2:
        raise CheckpointError(f"The tuned tensors hold no head; they are {sorted(state)[:6]}.")
    return make_head(own)


def tuned_state(model: TunedModel) -> dict[str, torch.Tensor]:
    """What the run changes: parameters with gradients, and the buffers of a tuned backbone."""
    state = {name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad}
    if any(name.startswith("backbone.") for name in state):
        kept = model.state_dict().keys()  # a buffer that is not persistent is made again by the architecture
        state |= {name: buffer.detach().clone() for name, buffer in model.named_buffers() if name in kept}
    return state


def load_tuned(model: TunedModel, state: dict[str, torch.Tensor], *, source: Path) -> None:
    """Put tuned tensors into a model; keys or shapes that do not belong are refused."""
    expected = model.state_dict()
    needed = {name for name in expected if not name.startswith("backbone.")}
    wrong = [name for name in state if name not in expected or state[name].shape != expected[name].shape]
    if wrong or not needed <= state.keys():
        raise CheckpointError(
            f"{source} does not fit its model: missing {sorted(needed - state.keys())}, not belonging {sorted(wrong)}."
        )
    model.load_state_dict(state, strict=False)


def save_run(
    folder: Path,
    info: RunInfo,
    *,
    state: dict[str, torch.Tensor] | None,
    history: pd.DataFrame,
    predictions: Predictions | None,
    base: dict[str, torch.Tensor] | None = None,
) -> Run:
    """Write a complete run, ``run.json`` last.

    ``state`` is None where the weights are not kept; ``base`` only for an imported run, whose base has no name.
    """
    if state is not None:
        write_tensors(folder / WEIGHTS_FILE, state)
    if base is not None:
        write_tensors(folder / BASE_FILE, base)
    write_text(folder / "history.csv", history.to_csv(index=False, lineterminator="\n"))
    if predictions is not None:
        save_predictions(folder, predictions)
    write_json(folder / "run.json", asdict(info))
    return Run(folder=folder, info=info)


def save_predictions(folder: Path, predictions: Predictions) -> None:
    """Write ``predictions.npz``."""
    with atomic_path(folder / "predictions.npz") as path:
        np.savez_compressed(path, **asdict(predictions))


def keep_predictions(run: Run, predictions: Predictions) -> Run:
    """Put test predictions into a converted run, which came without; its test accuracy becomes theirs.

    Raises
    ------
    CheckpointError
        The run has its own from training.
    """
    if run.info.imported is None:
        raise CheckpointError(f"{run.folder} was trained here and has its own predictions.")
    save_predictions(run.folder, predictions)
    info = replace(run.info, test_accuracy=predictions.accuracy)
    write_json(run.folder / "run.json", asdict(info))
    return Run(folder=run.folder, info=info)


def write_tensors(target: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Write tensors as safetensors, atomically."""
    with atomic_path(target) as path:
        try:
            save_file({name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}, path)
        except SafetensorError as error:
            raise OSError(str(error)) from error  # its own error for a full disk


def write_snapshot(folder: Path, epoch: int, state: Mapping[str, torch.Tensor]) -> None:
    """Keep the tuned tensors as they are after an epoch."""
    write_tensors(folder / SNAPSHOTS / f"epoch{epoch:04d}.safetensors", state)


def reference_to(base: Run, folder: Path) -> dict[str, Any]:
    """Return what ``run.json`` in ``folder`` says about the run it started from."""
    return {
        "folder": os.path.relpath(base.folder.absolute(), folder.absolute()),
        "method": base.info.method,
        "model_sha256": base.info.model_sha256,
    }


def is_complete(folder: Path) -> bool:
    """Whether the folder holds a finished run."""
    return (folder / "run.json").is_file()


def load_run(folder: Path) -> Run:
    """Open a run folder; nothing heavy is read before it is asked for."""
    if not folder.is_dir():
        raise CheckpointError(
            f"There is no run folder {folder}.", "`vptft-analyze runs FOLDER` lists the runs below one."
        )
    if not is_complete(folder):
        unfinished = (folder / "resume").is_dir()
        problem = "holds an unfinished run" if unfinished else "is not a run: it has no run.json"
        raise CheckpointError(f"{folder} {problem}.", "Run the same train command again." if unfinished else "")
    return Run(folder=folder, info=RunInfo.from_json(read_json(folder / "run.json"), folder / "run.json"))


def find_runs(folders: list[Path]) -> list[Run]:
    """Every complete run at or below the folders, sorted by path; trainings of an unfinished search are left out."""
    found: set[Path] = set()
    for folder in folders:
        if not folder.is_dir():
            raise CheckpointError(f"There is no folder {folder}.")
        below = (path.parent for path in folder.rglob("run.json"))
        found |= {run for run in below if SEARCH_FOLDER not in run.relative_to(folder).parts}
    if not found:
        raise CheckpointError(
            f"No complete run in {', '.join(map(str, folders))}.", "Make one: vptft-analyze quickstart, or train."
        )
    return [load_run(folder) for folder in sorted(found)]
