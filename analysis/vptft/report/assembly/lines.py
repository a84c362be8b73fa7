"""From runs to the lines between them: which there are follows from the runs."""

from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import partial
from itertools import combinations, groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from vptft.checkpoints.native import WEIGHTS_FILE, Run
from vptft.errors import CheckpointError, NotApplicable
from vptft.models.tuned import TunedModel
from vptft.report.assembly.landscape import SPLITS, Split, sample_of
from vptft.report.assembly.overfitting import labels_of
from vptft.report.assembly.pieces import Arrays, Pieces, Progress, kept
from vptft.report.assembly.saved import identity, saved_or
from vptft.storage import key_of
from vptft.why.landscape import lines
from vptft.why.landscape.directions import Point, weights_of
from vptft.why.landscape.evaluation import Losses, Sample

HALVES = (
    "where the ends were trained on different draws, half of each: every end meets images it has not seen, so its loss "
    "lies above its own training loss, and a path between two such ends can lie far below both"
)
"""What ``train`` means on a line between seeds; kept with the result."""
STATISTICS = ("running_mean", "running_var")


def lines_between(runs: Sequence[Run], *, splits: Sequence[Split] = SPLITS, n_images: int = 64, seed: int = 0) -> tuple[
    list[lines.Line], list[str]
]:  # fmt: skip
    """Find every line that these runs have.

    Within one task, backbone and training size: from the pretrained network to each run; between the seeds of each
    method; from FT to Mixed of one seed; from FT to the FT-then-PT that started from it. A kind of line has one method
    with one choice of settings at each end (:func:`.overfitting.labels_of`), so that a mean over lines of one kind is
    of like things.

    Returns
    -------
    tuple
        The lines, which load their models when they are walked, and what was left out, with the reason.
    """
    found: list[lines.Line] = []
    left_out = [f"{run.label}: {reason}" for run in runs if (reason := _unfit(run))]
    usable = sorted((run for run in runs if not _unfit(run)), key=_setting)
    settings_of = {task: {_setting(run) for run in usable if run.info.task == task} for task in _tasks(usable)}
    label_of = {run.folder: label for run, label in zip(usable, labels_of(usable), strict=True)}
    for (task, *_), group in groupby(usable, key=_setting):
        names = _Names(label_of, settings_of[task])
        make = partial(_line, names=names, splits=tuple(splits), n_images=n_images, seed=seed)
        own = sorted(group, key=lambda run: (label_of[run.folder], str(run.info.seed), str(run.folder)))
        found += [make(f"pretrained to {names.label(run)}", None, run) for run in own if run.info.base is None]
        for label, same in groupby(own, key=names.label):
            found += [make(f"{label} seeds", *pair) for pair in combinations(same, 2) if _seeds_differ(*pair)]
        for first in (run for run in own if run.info.method == "ft"):
            for second in own:
                started = (second.info.base or {}).get("model_sha256") == first.info.model_sha256
                if started or (second.info.method == "mixed" and second.info.seed == first.info.seed):
                    found.append(make(f"{names.label(first)} to {names.label(second)}", first, second))
    return found, left_out


def lines_of(
    runs: Sequence[Run],
    *,
    splits: Sequence[Split] = SPLITS,
    n_images: int = 64,
    points: int = 11,
    curve_steps: int = 0,
    seed: int = 0,
    folder: Path | None = None,
    on_line: Progress = lambda done, total: None,
) -> lines.Lines:
    """Losses along every line between runs; settings as for :func:`.lines.measure`.

    Finished lines are kept in the cache until all are walked.

    Raises
    ------
    NotApplicable
        The runs have no line; with what was left out and why.
    """
    wanted, left_out = lines_between(runs, splits=splits, n_images=n_images, seed=seed)
    if not wanted:
        raise NotApplicable(f"These {len(runs)} runs have no line between them. {'; '.join(left_out)}".strip())
    inputs = {
        "runs": [identity(run) for run in runs], "splits": list(splits), "n_images": n_images, "points": points,
        "curve_steps": curve_steps, "seed": seed, "left_out": left_out,
    }  # fmt: skip

    def make(found: dict[str, Any]) -> lines.Lines:
        pieces = Pieces(found["key"])

        def mapped(one: Callable[[lines.Line], lines.Walked], some: Sequence[lines.Line]) -> Iterable[lines.Walked]:
            done = kept(
                pieces, some, name=lambda line: key_of(line.task, line.kind, line.name, line.ends)[:24],
                make=lambda missing: ((line, _to_arrays(one(line))) for line in missing), on_piece=on_line,
            )  # fmt: skip
            return map(_from_arrays, done)

        result = lines.measure(
            wanted, points=points, curve_steps=curve_steps, seed=seed, mapped=mapped,
            settings=found | {"train_images": HALVES},
        )  # fmt: skip
        if folder is not None:
            result.save(folder)
        pieces.clear()
        return result

    return saved_or(lines.Lines, folder, inputs, make)


def _line(
    kind: str, first: Run | None, second: Run, *, names: "_Names", splits: tuple[Split, ...], n_images: int, seed: int
) -> lines.Line:
    return lines.Line(
        task=second.info.task, kind=kind + names.setting(second),
        first="pretrained" if first is None else names.short(first), second=names.short(second),
        ends=f"{'' if first is None else identity(first)} {identity(second)}",
        seeds=(_seed(second if first is None else first), _seed(second)),
        load=partial(_ends, first, second, splits=splits, n_images=n_images, seed=seed),
    )  # fmt: skip


def _ends(first: Run | None, second: Run, *, splits: tuple[Split, ...], n_images: int, seed: int) -> lines.Ends:
    """Both networks. Where the runs' training draws differ, half of the training images is each one's: see `HALVES`."""
    model = second.model()
    if first is None:
        start, other = _pretrained(second, model), None
    else:
        other = first.model()
        start = weights_of(dict(other.named_parameters()))
    host = model if other is None or other.prompts is None else other
    end = weights_of(dict(model.named_parameters()))
    samples = []
    for split in splits:
        if split == "train" and first is not None and first.info.seed != second.info.seed:
            halves = [sample_of(run, split, max(1, n_images // 2), seed) for run in (first, second)]
            samples.append(_joined(*halves))
        else:
            samples.append(sample_of(second, split, n_images, seed))
    return lines.Ends(model=host, first=start, second=end, samples=samples)


def _pretrained(run: Run, model: TunedModel) -> Point:
    """The backbone a run started from, under the zeros its head started at; without prompts."""
    if not isinstance(model.head, nn.Linear):
        raise NotApplicable(f"{run.label} has a head of its own kind, whose start is not known.")
    own = {f"backbone.{name}": value.detach().clone() for name, value in run.backbone().module.named_parameters()}
    return own | {f"head.{name}": torch.zeros_like(value) for name, value in model.head.named_parameters()}


def _joined(first: Sample, second: Sample) -> Sample:
    return Sample(
        split=first.split, images=torch.cat([first.images, second.images]),
        labels=torch.cat([first.labels, second.labels]),
        groups=np.concatenate([np.asarray(sample.groups, dtype=str) for sample in (first, second)]),
    )  # fmt: skip


def _unfit(run: Run) -> str:
    """Why a run has no place on a line; empty where it has."""
    if run.info.adapters is not None and run.info.adapters.get("kind") != "lora":
        return "its adapters are no parameters of the others"
    if run.info.seed is None:
        return "its seed is not known"
    if not (run.folder / WEIGHTS_FILE).is_file():
        return f"its weights are not there (`vptft-analyze checkpoints rebuild {run.folder}`)"
    try:
        with safe_open(run.folder / WEIGHTS_FILE, framework="pt") as weights:
            if any(name.endswith(STATISTICS) for name in weights.keys()):  # noqa: SIM118
                return "it has statistics of batches of its own, which lie on no line between weights"
    except SafetensorError as error:
        return f"its weights cannot be read: {error}"
    try:
        run.base_run()
    except CheckpointError as error:
        return error.problem
    return ""


def _tasks(runs: Iterable[Run]) -> set[str]:
    return {run.info.task for run in runs}


def _setting(run: Run) -> tuple[str, ...]:
    info = run.info
    return (info.task, str(info.backbone_sha256), str(info.image_size), str(info.n_train))


def _seeds_differ(first: Run, second: Run) -> bool:
    return first.info.seed != second.info.seed and first.info.prompts == second.info.prompts


def _seed(run: Run) -> int:
    assert run.info.seed is not None
    return run.info.seed


@dataclass(frozen=True)
class _Names:
    """How the runs of one task are told apart: by the labels of their methods, and by what else its runs differ in."""

    labels: Mapping[Path, str]
    settings: Set[tuple[str, ...]]

    def label(self, run: Run) -> str:
        return self.labels[run.folder]

    def short(self, run: Run) -> str:
        """Method and seed; size and resolution too where the task was trained with several."""
        return f"{self.label(run)} seed {run.info.seed}{self.setting(run)}"

    def setting(self, run: Run) -> str:
        """Size and resolution, and the backbone, where the task's runs have several; empty where not."""
        if len(self.settings) == 1:
            return ""
        backbones = {backbone for _, backbone, *_ in self.settings}
        network = f"{run.info.backbone} {str(run.info.backbone_sha256)[:8]}, " if len(backbones) > 1 else ""
        return f" ({network}{run.info.n_train} images, {run.info.image_size} px)"


def _to_arrays(found: lines.Walked) -> Arrays:
    out: Arrays = {"heads_moved": np.array(found.heads_moved)}
    for (path, split), (losses, groups) in found.losses.items():
        out |= {f"{path} {split} {name}": value for name, value in {**losses._asdict(), "groups": groups}.items()}
    return out


def _from_arrays(arrays: Arrays) -> lines.Walked:
    names = dict.fromkeys(tuple(name.split(" ")[:2]) for name in arrays if " " in name)
    losses = {}
    for path, split in names:
        loss, correct, groups = (arrays[f"{path} {split} {name}"] for name in ("loss", "correct", "groups"))
        losses[path, split] = (Losses(loss, correct), groups)
    return lines.Walked(losses, int(arrays["heads_moved"]))
