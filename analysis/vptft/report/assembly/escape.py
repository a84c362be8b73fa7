"""From finetuned runs to the escape test, one point at a time; what is saved is not measured again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from vptft.checkpoints.native import Run
from vptft.checkpoints.pairs import pair_runs
from vptft.data import registry
from vptft.data.images import ImageSet
from vptft.data.tasks import Split
from vptft.errors import CheckpointError, DataError, NotApplicable, SettingsError
from vptft.models.tuned import TunedModel
from vptft.report.assembly.samples import labels_of, model_inputs
from vptft.report.assembly.saved import identity, saved_or
from vptft.storage import slug
from vptft.why.landscape.escape.budget import DEFAULT, Budget
from vptft.why.landscape.escape.contrasts import CONTROLS
from vptft.why.landscape.escape.extensions import EXTENSIONS
from vptft.why.landscape.escape.measure import EscapeTest, measure, together
from vptft.why.landscape.escape.points import FINETUNED, PRETRAINED, StartingPoint, with_converged_head
from vptft.why.landscape.evaluation import Sample

FRESH_SEED = 777_000
"""Seed of the training draw that fresh images come from, far from every run's own."""
BESIDE = ("mixed", "ft_then_pt")
"""Methods that stand beside the test: prompts with every weight, and prompts after it."""


@dataclass(frozen=True, kw_only=True)
class EscapeOptions:
    """How the escape test is made.

    The defaults take three and a half minutes of one core for each point of a ViT-S at 56 px; half the budget's steps,
    or one variant, about half of that.

    Attributes
    ----------
    starts
        ``finetuned`` and ``pretrained``, or one of them.
    extensions, variants, prompts, budget, seed
        As :func:`~vptft.why.landscape.escape.measure.measure` takes them.
    n_fresh, n_held_out
        Images to judge by, and to choose the learning rate by.
    """

    starts: tuple[str, ...] = (FINETUNED,)
    extensions: tuple[str, ...] = tuple(EXTENSIONS)
    variants: tuple[str, ...] = ("alone", "joint")
    prompts: int = 10
    budget: Budget = DEFAULT
    n_fresh: int = 300
    n_held_out: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.n_fresh, self.n_held_out) < 1:
            raise SettingsError(f"At least one image is needed: {self.n_fresh} fresh, {self.n_held_out} held out.")


DEFAULTS = EscapeOptions()


def escape(
    runs: Sequence[Run],
    *,
    options: EscapeOptions = DEFAULTS,
    folder: Path | None = None,
    on_point: Callable[[int, int], None] = lambda done, total: None,
) -> EscapeTest:
    """Escape test from every FT run there is, with Mixed and FT-then-PT runs beside it.

    Tasks with few groups bear no claim, and are left out.

    Parameters
    ----------
    runs
        FT runs with their weights; runs of other methods may be among them: those of :data:`BESIDE` are compared with
        the FT run of the same task and seed, others play no part.
    folder
        Where results go: each point's in a folder of its own, so that an interrupted test goes on, and the whole.
    on_point
        Called with (points done, points in all).

    Raises
    ------
    NotApplicable
        No FT run is among them.
    CheckpointError
        A run's weights are not there; points saved before stay.
    """
    runs = [run for run in runs if not run.info.few_groups]
    points = [(run, start) for run in runs if run.info.method == "ft" for start in options.starts]
    if not points:
        raise NotApplicable(
            "The escape test starts from finetuned networks, and no run of ft is among these "
            "whose task has more than a few groups.",
            "Train one: vptft-analyze train TASK --method ft",
        )
    parts = []
    for done, (run, start) in enumerate(points):
        on_point(done, len(points))
        parts.append(_of_point(run, start, options, folder))
    on_point(len(points), len(points))
    whole = together(parts, controls=beside(runs))
    if folder is not None:
        whole.save(folder)
    return whole


def beside(runs: Sequence[Run]) -> pd.DataFrame:
    """Test accuracy of each Mixed and FT-then-PT run and of the FT run it is paired with; columns ``CONTROLS``.

    Tasks with few groups bear no claim, and are not among them.
    """
    rows = [
        (pair.ft.info.pretraining, pair.ft.info.task, method, pair.ft.info.seed, *_accuracies(pair.vpt, pair.ft))
        for method in BESIDE
        for pair in _pairs([run for run in runs if not run.info.few_groups], method)
    ]
    kinds = dict.fromkeys(CONTROLS, "str") | {"seed": "int64", "accuracy": "float64", "accuracy_ft": "float64"}
    return pd.DataFrame(rows, columns=CONTROLS).astype(kinds)


def _of_point(run: Run, start: str, options: EscapeOptions, folder: Path | None) -> EscapeTest:
    budget = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(options.budget).items()}
    inputs = {
        "run": identity(run), "start": start, "extensions": list(options.extensions),
        "variants": list(options.variants), "prompts": options.prompts, "budget": budget, "n_fresh": options.n_fresh,
        "n_held_out": options.n_held_out, "seed": options.seed,
    }  # fmt: skip

    def make(settings: dict[str, Any]) -> EscapeTest:
        return measure(
            point_of(run, start, options), extensions=options.extensions, variants=options.variants,
            prompts=options.prompts, budget=options.budget, seed=options.seed, settings=settings,
        )  # fmt: skip

    name = slug(f"{run.info.task} seed {run.info.seed} {start}")
    return saved_or(EscapeTest, None if folder is None else folder / "points" / name, inputs, make)


def point_of(run: Run, start: str, options: EscapeOptions) -> StartingPoint:
    """Load a finetuned network, or the pretrained one it started from, and the images its escape is judged by."""
    info = run.info
    if info.seed is None:
        raise CheckpointError(f"{run.folder}: its seed is not known, so what it was trained on is not either.")
    train = _sample(run, "train", n=info.n_train, seed=info.seed)
    held_out = _sample(run, "val", n=options.n_held_out, seed=info.seed)
    model = run.model() if start == FINETUNED else TunedModel(run.backbone().module, n_classes=len(info.classes)).eval()
    if start == PRETRAINED:
        model = with_converged_head(model, train, held_out)
    return StartingPoint(
        task=info.task, pretraining=info.pretraining, start=start, seed=info.seed, model=model, train=train,
        held_out=held_out, fresh=_sample(run, "train", n=options.n_fresh, seed=FRESH_SEED, fresh=True),
    )  # fmt: skip


def _sample(run: Run, split: Split, *, n: int | None, seed: int, fresh: bool = False) -> Sample:
    images: ImageSet = registry.task(run.info.task).load(split, n=n, seed=seed)
    if fresh:
        own: ImageSet = registry.task(run.info.task).load(split, n=run.info.n_train, seed=run.info.seed)
        if shared := set(own.ids) & set(images.ids):
            raise DataError(
                f"{run.info.task} has too few images that are new to {run.folder}: {len(shared)} of {len(images)} "
                "drawn are its own.",
                "The escape test needs a task whose training draws are independent, as the embedded suite's are.",
            )
    return Sample(
        split="fresh" if fresh else split,
        images=model_inputs(run, images.pixels(run.info.image_size)),
        labels=torch.from_numpy(labels_of(images)),
        groups=np.array(images.groups),
    )


def _pairs(runs: Sequence[Run], method: str) -> Iterator[Any]:
    methods = {run.info.method for run in runs}
    return iter(pair_runs(runs, method=method, against="ft") if {method, "ft"} <= methods else ())


def _accuracies(run: Run, ft: Run) -> tuple[float, float]:
    if run.info.test_accuracy is None or ft.info.test_accuracy is None:
        raise CheckpointError(f"{run.folder} or {ft.folder} is a trial of a search: it never looked at test images.")
    return run.info.test_accuracy, ft.info.test_accuracy
