"""From pairs of runs to where each looks, and what that is worth."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vptft.checkpoints.native import Run, find_runs, load_run
from vptft.checkpoints.pairs import RunPair, pair_runs
from vptft.data.images import ImageSet
from vptft.data.tasks import PERMUTED
from vptft.errors import SettingsError
from vptft.report.assembly.samples import drawn, labels_of, masks_of, model_inputs
from vptft.report.assembly.saved import identity, saved_or
from vptft.why.attention import comparison, maps, scores
from vptft.why.attention.score_settings import ScoreSettings, SeenImages, plain

ALL = 10**9
"""More test images than any task has."""


def pairs_of(folders: Sequence[Path]) -> list[RunPair]:
    """Pairs below the folders; two run folders are a pair as given, the run with prompts first.

    Raises
    ------
    SettingsError
        The second run has prompts, and the first has none; or they are of other images, classes or backbones, so that
        no map of one could stand beside one of the other.
    """
    if len(folders) == 2 and not any(_holds_runs(folder) for folder in folders):
        vpt, ft = (load_run(folder) for folder in folders)
        if ft.info.prompts and not vpt.info.prompts:
            raise SettingsError(
                f"{ft.folder} has prompts and {vpt.folder} has none.", "Give the run with prompts first."
            )
        _require_same(vpt, ft)
        return [RunPair(vpt=vpt, ft=ft)]
    return pair_runs(find_runs(list(folders)))


def apart(pairs: Sequence[RunPair]) -> tuple[list[RunPair], list[RunPair]]:
    """Pairs of tasks as they are, and pairs that were trained on permuted labels (:data:`.tasks.PERMUTED`)."""
    plain = [pair for pair in pairs if not pair.vpt.info.task.endswith(PERMUTED)]
    if not plain:
        raise SettingsError(
            "All of these runs were trained on permuted labels: they are a check of others.",
            "Give runs of the task itself beside them.",
        )
    return plain, [pair for pair in pairs if pair.vpt.info.task.endswith(PERMUTED)]


def control_of(pair: RunPair, permuted: Sequence[RunPair]) -> RunPair | None:
    """The pair that was trained on this one's task with permuted labels; by the same seed where there are several."""
    own = pair.vpt.info
    infos = ((each, each.vpt.info) for each in permuted)
    found = [
        each
        for each, info in infos
        if info.task == f"{own.task}{PERMUTED}"
        and (info.image_size, info.backbone_sha256) == (own.image_size, own.backbone_sha256)
    ]
    return min(found, key=lambda each: each.vpt.info.seed != pair.vpt.info.seed, default=None)


def _require_same(vpt: Run, ft: Run) -> None:
    for name in ("task", "classes", "image_size", "mean", "std", "backbone_sha256"):
        ours, theirs = getattr(vpt.info, name), getattr(ft.info, name)
        if ours != theirs:
            raise SettingsError(
                f"{vpt.folder} and {ft.folder} differ in {name.replace('_', ' ')}: {ours} and {theirs}.",
                "Give two runs of one task and backbone.",
            )


def attention_maps(pair: RunPair, *, n_images: int, seed: int, folder: Path | None = None) -> maps.AttentionMaps:
    """Rollout of both models on test images drawn by ``seed``, never picked."""
    inputs = {
        "vpt": identity(pair.vpt),
        "ft": identity(pair.ft),
        "n_images": n_images,
        "seed": seed,
        "drawn": f"{n_images} test images without replacement, seed {seed}",
    }

    def make(settings: dict[str, Any]) -> maps.AttentionMaps:
        images = drawn(pair.vpt, n_images, seed)
        seen = _seen(pair, images)
        return maps.measure(
            pair.vpt.model(),
            pair.ft.model(),
            images=seen.images,
            pixels=seen.pixels,
            labels=seen.labels,
            ids=images.ids,
            task=pair.vpt.info.task,
            masks=seen.masks,
            settings={**settings, "classes": pair.vpt.info.classes},
        )

    return saved_or(maps.AttentionMaps, folder, inputs, make)


def attention_scores(
    pair: RunPair,
    *,
    options: ScoreSettings,
    n_images: int | None = None,
    permuted: RunPair | None = None,
    folder: Path | None = None,
    on_done: Callable[[int, int], None] = lambda done, total: None,
) -> scores.AttentionScores:
    """Maps and scores of every test image, or of ``n_images`` drawn by the seed of ``options``.

    ``permuted`` is a pair that was trained on permuted labels, for the sanity checks.
    """
    inputs = {
        "vpt": identity(pair.vpt), "ft": identity(pair.ft), "n_images": n_images, "options": plain(options),
    }  # fmt: skip
    others = {} if permuted is None else {"vpt": permuted.vpt, "ft": permuted.ft}
    if others:
        inputs["permuted"] = {side: identity(run) for side, run in others.items()}

    def make(settings: dict[str, Any]) -> scores.AttentionScores:
        info = pair.vpt.info
        images = drawn(pair.vpt, n_images or ALL, options.seed)
        return scores.measure(
            pair.vpt.model(),
            pair.ft.model(),
            _seen(pair, images),
            task=info.task,
            pretraining=info.pretraining,
            draw=info.seed or 0,
            options=options,
            permuted={side: run.model() for side, run in others.items()},
            on_done=on_done,
            settings={**settings, "classes": info.classes},
        )

    return saved_or(scores.AttentionScores, folder, inputs, make)


def attention_comparison(
    parts: Sequence[scores.AttentionScores], *, folder: Path | None = None
) -> comparison.AttentionComparison:
    """VPT against FT over these pairs."""
    inputs = {"parts": [part.settings.get("key") for part in parts]}
    return saved_or(
        comparison.AttentionComparison, folder, inputs, lambda settings: comparison.measure(parts, settings=settings)
    )


def _seen(pair: RunPair, images: ImageSet) -> SeenImages:
    size = pair.vpt.info.image_size
    pixels = images.pixels(size)
    return SeenImages(
        images=model_inputs(pair.vpt, pixels), pixels=pixels, labels=labels_of(images), ids=images.ids,
        groups=images.groups, masks=masks_of(images, size),
    )  # fmt: skip


def _holds_runs(folder: Path) -> bool:
    return folder.is_dir() and not (folder / "run.json").is_file()
