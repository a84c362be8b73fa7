"""Logs of KMnP/vpt and VPT-or-FT: ``logs.txt`` and captures of stdout.

A file may hold several jobs, since programs append to it: each starts at ``Rank of current process:``. Lines are known
by their words, never by the line numbers of the program that stand before them, which differ between the two.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from vptft.checkpoints.histories.frame import TRAIN, VAL, VAL_IN_TRAIN, Row, history_frame
from vptft.checkpoints.histories.literals import MAX_LENGTH, read_literal
from vptft.errors import CheckpointError

if TYPE_CHECKING:
    import pandas as pd

LOG = "logs.txt"
SEARCH_FOLDER, FINAL_FOLDER = "_val", "_finalfinal"
"""Ends of their folders' names: the search for a learning rate, and the runs on training and validation data."""
TRAINVAL = "trainval"
START = 1 << 18
"""Bytes from which :func:`looks_like_log` decides."""

_CHUNK = MAX_LENGTH
_ANSI = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")
# [11/23 04:52:38][INFO] visual_prompt:   52: MESSAGE   and   [11/23 04:57:36 visual_prompt]: MESSAGE
_PREFIX = re.compile(
    r"\[\d\d/\d\d \d\d:\d\d:\d\d(?:\]\[[A-Z]{1,10}\] {1,4}[\w.]{1,40}: {0,8}\d{1,6}: | [\w.]{1,40}\]: )"
)
_STARTS = re.compile(r"Training (\d{1,7}) / (\d{1,7}) epoch, with learning rate (\S{1,32})")
_ENDS = re.compile(r"Epoch (\d{1,7}) / (\d{1,7}): .{0,200}average train loss: (\S{1,32})")
_INFERENCE = re.compile(r"Inference \((\w{1,20})\):.{0,200}average loss: (\S{1,32})")
_PARAMETERS = re.compile(r"Total Parameters: (\d{1,15})\s{1,4}Gradient Parameters: (\d{1,15})")
_COUNT = re.compile(r"Number of (images|classes): (\d{1,12})\b")
_RESULTS = "Classification results with "
_NEW_JOB = "Rank of current process:"
_KNOWN = (
    _NEW_JOB, "Training with config", "Total Parameters: ", "Constructing ", "Classification results with ",
    "Inference (", "Environment info", "Command line arguments",
)  # fmt: skip


class Evaluation(NamedTuple):
    """What an evaluation of one split logged.

    Attributes
    ----------
    split
        As logged: ``val`` or ``test``.
    dataset
        ``DATA.NAME``; empty where only the loss was logged.
    loss
        Mean loss; NaN where not logged.
    top1
        Fraction; NaN where not logged.
    others
        Further metrics as fractions: ``top5``, ``top4``, ``rocauc``.
    line
        Where it was logged, from 1.
    """

    split: str
    dataset: str
    loss: float
    top1: float
    others: Mapping[str, float]
    line: int


class Epoch(NamedTuple):
    """One epoch, counted from 1; number 0 holds what was evaluated before any training.

    ``train_loss`` is NaN when the epoch did not end. It is measured while training: dropout is active, and every batch
    is seen by weights of its own.
    """

    epoch: int
    lr: float
    train_loss: float
    evaluations: Mapping[str, Evaluation]
    line: int


@dataclass(frozen=True, kw_only=True)
class Job:
    """One training in a log.

    Attributes
    ----------
    path, line
        The log, and the line (from 1) at which the job starts.
    config
        Its settings, nested as theirs; empty where none could be read.
    config_line
        Where they stand.
    parameters_total, parameters_tuned
        As logged.
    trained_on
        Name of the split of the training images: ``train``, or ``trainval`` for final runs.
    sizes
        Number of images of each split that was opened.
    n_classes
        As logged.
    final
        Whether the validation images are part of the training images.
    nan
        Whether the loss became NaN or infinite; the program then stops early.
    epochs_planned, epochs_done
        How many there were to be, and how many have a training loss.
    epochs
        What was logged of each.
    lines
        Line of ``config``, ``trained_on``, ``parameters``, ``nan`` and ``last_epoch``, where there is one.
    problems
        What could not be read.
    """

    path: Path
    line: int
    config: Mapping[str, Any]
    config_line: int | None
    parameters_total: int | None
    parameters_tuned: int | None
    trained_on: str | None
    sizes: Mapping[str, int]
    n_classes: int | None
    final: bool
    nan: bool
    epochs_planned: int | None
    epochs: tuple[Epoch, ...]
    lines: Mapping[str, int]
    problems: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """File and line."""
        return f"{self.path}:{self.line}"

    @property
    def output_dir(self) -> str | None:
        """Folder the job wrote to, on the machine it ran on."""
        found = self.config.get("OUTPUT_DIR")
        return found if isinstance(found, str) and found else None

    @property
    def epochs_done(self) -> int:
        """How many epochs have a training loss."""
        return sum(not math.isnan(epoch.train_loss) for epoch in self.epochs if epoch.epoch)

    @property
    def complete(self) -> bool:
        """Whether every planned epoch was trained, and the last evaluated on all that the others were."""
        if self.nan or self.epochs_planned is None or not self.epochs:
            return False
        measured = [{s for s, e in epoch.evaluations.items() if not math.isnan(e.top1)} for epoch in self.epochs]
        return self.epochs_done >= self.epochs_planned and measured[-1] == set().union(*measured)

    def line_of(self, key: str) -> int | None:
        """Line (from 1) that tells ``key``, one of ``lines``; None where the log does not tell."""
        return self.lines.get(key)

    def setting(self, name: str, default: Any = None) -> Any:
        """One of the settings by its dotted name, such as ``SOLVER.BASE_LR``."""
        value: Any = self.config
        for part in name.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return default
            value = value[part]
        return value

    def frame(self, run: str | None = None) -> "pd.DataFrame":
        """The history, as :mod:`vptft.checkpoints.histories.frame` describes it; accuracy of training is not logged."""
        return history_frame(self._rows(run or self.label))

    def _rows(self, run: str) -> Iterator[Row]:
        for epoch in self.epochs:
            if not math.isnan(epoch.train_loss):
                yield Row(run=run, epoch=epoch.epoch, split=TRAIN, loss=epoch.train_loss, lr=epoch.lr)
            for split, found in epoch.evaluations.items():
                name = VAL_IN_TRAIN if split == VAL and self.final else split
                yield Row(
                    run=run, epoch=epoch.epoch, split=name, loss=found.loss, accuracy=found.top1, lr=epoch.lr
                )  # fmt: skip


def method_of(config: Mapping[str, Any]) -> str | None:
    """Method that their settings name, in our words; theirs where we have none; None without any."""
    model = config.get("MODEL")
    if not isinstance(model, Mapping):
        return None
    kind, prompt = model.get("TRANSFER_TYPE"), model.get("PROMPT")
    prompt = prompt if isinstance(prompt, Mapping) else {}
    if not isinstance(kind, str):
        return None
    if kind == "prompt":
        if prompt.get("FT_PT_MIXED"):
            return "mixed"
        return "vpt_deep" if prompt.get("DEEP") else "vpt_shallow"
    if kind.startswith("partial-"):
        return "partial_k"
    return {"end2end": "ft", "tinytl-bias": "bias"}.get(kind, kind)


def looks_like_log(path: Path) -> bool:
    """Whether the beginning of a file has lines of such a log; only the beginning is read."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            start = file.read(START)
    except OSError:
        return False
    return any(
        message.startswith(_KNOWN) or _STARTS.match(message)
        for line in start.split(b"\n")
        for message, has_prefix in _pieces(line)
        if has_prefix
    )


def read_jobs(path: Path) -> tuple[Job, ...]:
    """Read every job of a log, in the order of the file; one that was cut off has what it logged before.

    Raises
    ------
    CheckpointError
        The file cannot be read, or has no line of such a log.
    """
    reader = _Reader(path)
    try:
        with path.open("rb") as file:
            number = 1
            while line := file.readline(_CHUNK):
                if not line.endswith((b"\n", b"\t")) and len(line) < _CHUNK:
                    break  # cut off while it was written: its numbers may lack digits
                for message, has_prefix in _pieces(line):
                    reader.take(message, number, has_prefix=has_prefix)
                number += line.endswith(b"\n")
    except OSError as error:
        raise CheckpointError(f"{path} could not be read: {error.strerror or error}.") from error
    jobs = reader.finish()
    if not jobs:
        raise CheckpointError(
            f"{path} is no log of KMnP/vpt or VPT-or-FT: no line is written as theirs are.",
            "Give their logs.txt, or what the program wrote to stdout.",
        )
    return jobs


def _pieces(line: bytes) -> Iterator[tuple[str, bool]]:
    """Messages of a line, and whether each stands behind a prefix; progress bars return to the start of a line."""
    for piece in line.rstrip(b"\r\n").split(b"\r"):
        text = piece.decode("utf-8", errors="replace")
        if "\x1b" in text:
            text = _ANSI.sub("", text)
        prefix = _PREFIX.search(text)
        yield (text[prefix.end() :], True) if prefix else (text, False)


@dataclass(kw_only=True)
class _Open:
    """A job that is being read."""

    path: Path
    line: int
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: tuple[int | None, int | None] = (None, None)
    trained_on: str | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    split: str = ""
    n_classes: int | None = None
    nan: bool = False
    planned: int | None = None
    epochs: list[Epoch] = field(default_factory=list)
    lines: dict[str, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def close(self) -> Job:
        folder = self.config.get("OUTPUT_DIR")
        solver = self.config.get("SOLVER")
        planned = solver.get("TOTAL_EPOCH") if isinstance(solver, Mapping) else None
        if self.epochs:
            last = self.epochs[-1]
            self.lines["last_epoch"] = max(last.line, *(found.line for found in last.evaluations.values()), 0)
        return Job(
            path=self.path,
            line=self.line,
            config=MappingProxyType(dict(self.config)),
            config_line=self.lines.get("config"),
            parameters_total=self.parameters[0],
            parameters_tuned=self.parameters[1],
            trained_on=self.trained_on,
            sizes=MappingProxyType(self.sizes),
            n_classes=self.n_classes,
            final=self.trained_on == TRAINVAL or (isinstance(folder, str) and FINAL_FOLDER in folder),
            nan=self.nan,
            epochs_planned=self.planned if self.planned is not None or not isinstance(planned, int) else planned,
            epochs=tuple(self.epochs),
            lines=MappingProxyType(self.lines),
            problems=tuple(self.problems),
        )


class _Reader:
    """Takes messages one by one; what it does not know it passes over."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._jobs: list[Job] = []
        self._job: _Open | None = None
        self._config: list[str] | None = None
        self._config_length = 0
        # Each way a message can begin, and what is done with it.
        self._known: tuple[tuple[str, Callable[[str, int], None]], ...] = (
            ("Training with config", self._config_follows),
            ("CfgNode(", self._config_starts),
            ("Total Parameters: ", self._parameters),
            ("Constructing ", self._constructing),
            ("Number of ", self._count),
            ("Training ", self._epoch_starts),
            ("Epoch ", self._epoch_ends),
            ("Inference (", self._inference),
            (_RESULTS, self._results),
            ("encountered nan loss", self._nan),
            ("encountered infinite loss", self._nan),
        )

    def take(self, message: str, line: int, *, has_prefix: bool) -> None:
        """Take one message."""
        if self._config is not None and self._continues_config(message, line, has_prefix=has_prefix):
            return
        if not has_prefix:
            return
        if message.startswith(_NEW_JOB):
            self._open(line)
            return
        for start, act in self._known:
            if message.startswith(start):
                act(message, line)
                return

    def finish(self) -> tuple[Job, ...]:
        """Close the last job, and return all."""
        self._close()
        return tuple(self._jobs)

    def _open(self, line: int) -> None:
        self._close()
        self._job = _Open(path=self._path, line=line)

    def _close(self) -> None:
        self._end_config()
        if self._job is not None:
            self._jobs.append(self._job.close())
        self._job = None

    def _here(self, line: int) -> _Open:
        """The open job; a log whose beginning is missing has one all the same."""
        if self._job is None:
            self._open(line)
        assert self._job is not None
        return self._job

    def _config_follows(self, _: str, line: int) -> None:
        self._here(line)
        self._config, self._config_length = [], 0

    def _config_starts(self, message: str, line: int) -> None:
        self._config_follows(message, line)
        self._continues_config(message, line, has_prefix=True)

    def _continues_config(self, message: str, line: int, *, has_prefix: bool) -> bool:
        """Whether the message is part of the settings: what follows their announcement up to the next prefix."""
        assert self._config is not None
        if not self._config:
            if message.startswith(("CfgNode(", "{")):
                self._here(line).lines["config"] = line
                self._config = [message]
                return True
            if has_prefix:
                self._config = None
            return not has_prefix
        if has_prefix:
            self._end_config()
            return False
        self._config_length += len(message)
        if self._config_length <= MAX_LENGTH:
            self._config.append(message)
        return True

    def _end_config(self) -> None:
        text, self._config = self._config, None
        if not text or self._job is None:
            return
        try:
            value = read_literal("\n".join(text))
            if not isinstance(value, dict):
                raise ValueError("it is no dict")
            self._job.config = value
        except ValueError as error:
            where = self._job.lines["config"]
            self._job.problems.append(f"the settings on line {where} could not be read: {error}")

    def _parameters(self, message: str, line: int) -> None:
        job = self._here(line)
        if match := _PARAMETERS.match(message):
            job.parameters = int(match[1]), int(match[2])
            job.lines["parameters"] = line

    def _constructing(self, message: str, line: int) -> None:
        """``Constructing NAME dataset SPLIT...``; the training images are opened first."""
        job = self._here(line)
        _, found, split = message.rpartition(" dataset ")
        split = split.rstrip(". ")
        if not found or not split.isidentifier():
            return
        job.split = split
        if job.trained_on is None and split.startswith(TRAIN):
            job.trained_on = split
            job.lines["trained_on"] = line

    def _count(self, message: str, line: int) -> None:
        job = self._here(line)
        match = _COUNT.match(message)
        if match is None or not job.split:
            return
        if match[1] == "images":
            job.sizes.setdefault(job.split, int(match[2]))
        elif job.n_classes is None:
            job.n_classes = int(match[2])

    def _epoch_starts(self, message: str, line: int) -> None:
        if match := _STARTS.match(message):
            self._restarted(int(match[1]), line)
            self._here(line).planned = int(match[2])
            self._change(int(match[1]), line, lr=_number(match[3]))

    def _epoch_ends(self, message: str, line: int) -> None:
        if match := _ENDS.match(message):
            loss = _number(match[3])
            job = self._here(line)
            job.planned = int(match[2])
            if not math.isfinite(loss):
                self._nan(message, line)
            self._change(int(match[1]), line, train_loss=loss)

    def _inference(self, message: str, line: int) -> None:
        if match := _INFERENCE.match(message):
            self._evaluated(match[1], line, loss=_number(match[2]))

    def _results(self, message: str, line: int) -> None:
        r"""``Classification results with val_NAME: top1: 15.00\ttop5: 100.00\t``; a name may hold anything."""
        first, *rest = message.removeprefix(_RESULTS).rstrip().split("\t")
        name, _, top = first.rpartition(": ")
        name, _, metric = name.rpartition(": ")
        split, _, dataset = name.partition("_")
        pairs = [(metric, top), *(part.split(": ", 1) for part in rest if ": " in part)]
        found = {word.strip(): _number(value) / 100 for word, value in pairs}
        if split.isidentifier() and metric:
            top1 = found.pop("top1", math.nan)
            self._evaluated(split, line, dataset=dataset, top1=top1, others=MappingProxyType(found))

    def _nan(self, _: str, line: int) -> None:
        job = self._here(line)
        job.nan = True
        job.lines.setdefault("nan", line)

    def _restarted(self, epoch: int, line: int) -> None:
        """Epochs that count back without a new header are a job whose header is missing."""
        job = self._here(line)
        if job.epochs and epoch <= job.epochs[-1].epoch:
            self._open(line)
            self._here(line).problems.append(f"a training starts on line {line} without its settings before it")

    def _change(self, number: int, line: int, **values: Any) -> None:
        epochs = self._here(line).epochs
        if not epochs or epochs[-1].epoch != number:
            epochs.append(Epoch(epoch=number, lr=math.nan, train_loss=math.nan, evaluations={}, line=line))
        epochs[-1] = epochs[-1]._replace(**values)

    def _evaluated(self, split: str, line: int, **values: Any) -> None:
        epochs = self._here(line).epochs
        if not epochs:
            self._change(0, line)
        nothing = Evaluation(split=split, dataset="", loss=math.nan, top1=math.nan, others={}, line=line)
        last = epochs[-1]
        changed = last.evaluations.get(split, nothing)._replace(line=line, **values)
        epochs[-1] = last._replace(evaluations={**last.evaluations, split: changed})


def _number(word: str) -> float:
    """A printed number; NaN where it is none."""
    try:
        return float(word.rstrip(",;"))
    except ValueError:
        return math.nan
