"""``attention``, from runs: maps, and what they are worth."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vptft.cli.options import (
    Json,
    Out,
    Runs,
    Seed,
    Venue,
    all_of,
    progress,
    records,
    say,
    say_unpaired,
    write_findings,
    write_json,
    write_table,
)  # fmt: skip

if TYPE_CHECKING:
    from vptft.checkpoints.pairs import RunPair
    from vptft.why.attention.comparison import AttentionComparison
    from vptft.why.attention.maps import AttentionMaps
    from vptft.why.attention.scores import AttentionScores

SHOWN = ("task", "map", "score", "vpt", "ft", "difference", "low", "high", "p", "n_images", "n_seeds", "failed")
"""Columns of the drawn table; JSON has them all."""


def attention(
    folders: Runs,
    methods: Annotated[
        list[str] | None,
        typer.Option(
            "--method",
            help="Kind of map, given once for each: cls_attention, rollout, gradient_rollout, relevance, gradcam, "
            "integrated_gradients. With --scores all but the last where none is given, else rollout.",
        ),
    ] = None,
    images: Annotated[int, typer.Option("--images", help="Test images, drawn by --seed.", min=1)] = 32,
    scores: Annotated[
        bool,
        typer.Option("--scores", help="Score every test image's maps, and judge whether prompts attend better."),
    ] = False,
    target: Annotated[
        Literal["true", "predicted", "contrast"],
        typer.Option(
            help="Class that both sides' maps explain: the true one, the one both together find likeliest, or the true "
            "one against the likeliest other."
        ),
    ] = "true",
    sample: Annotated[
        int, typer.Option(help="Images with --scores for deletion, insertion and integrated_gradients.", min=1)
    ] = 100,
    seed: Seed = 0,
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Where VPT and FT look, on the same drawn images, and with --scores what that is worth over all of them.

    Two run folders are a pair as given, the one with prompts first; from others pairs are found by task and seed. Runs
    of `train TASK+permuted`, on labels in random order, are a sanity check of the maps of TASK.

    Examples: `vptft-analyze attention checkpoints/photo-count/vpt_deep/seed0 checkpoints/photo-count/ft/seed0
    -o reports/mine`, of runs that `train photo/count` made; `vptft-analyze attention checkpoints/suite-98 --scores
    -o reports/mine`
    """
    from vptft.checkpoints.native import find_runs
    from vptft.checkpoints.pairs import require_one_setting
    from vptft.report.assembly import attention as assembly
    from vptft.why.attention.score_settings import KINDS, ScoreSettings

    pairs, permuted = assembly.apart(assembly.pairs_of(folders))
    say_unpaired(find_runs(folders), [*pairs, *permuted])
    require_one_setting(pairs)
    if not (scores or methods):
        found = [
            assembly.attention_maps(pair, n_images=images, seed=seed, folder=_folder(out, "attention", pair, pairs))
            for pair in pairs
        ]
        _write_maps(found, pairs, out, json)
        return
    kinds = tuple(methods or KINDS)
    options = ScoreSettings(kinds=kinds, target=target, sample=sample, seed=seed)
    if not scores:
        options = ScoreSettings(kinds=kinds, target=target, ways=(), checked=0, sample=images, seed=seed)
    parts = []
    with progress() as start:
        for pair in pairs:
            parts.append(
                assembly.attention_scores(
                    pair, options=options, n_images=None if scores else images, on_done=start(pair.vpt.label),
                    permuted=assembly.control_of(pair, permuted) if scores else None,
                    folder=_folder(out, "attention-scores", pair, pairs),
                )
            )  # fmt: skip
            if out:
                _draw_part(parts[-1], out / "figures", _name("attention", pair, pairs))
    if scores:
        folder = out / "results" / "attention-comparison" if out else None
        _write_comparison(assembly.attention_comparison(parts, folder=folder), out, json)
    else:
        _write_parts(parts, json)


def _name(name: str, pair: "RunPair", pairs: "Sequence[RunPair]") -> str:
    """Name that tells this pair from the others: by task, and by seed where the task has several."""
    from vptft.storage import slug

    info = pair.vpt.info
    several = sum(other.vpt.info.task == info.task for other in pairs) > 1
    named = f"{name}-{slug(info.task)}" if len(pairs) > 1 else name
    return f"{named}-seed{info.seed}" if several else named


def _folder(out: Path | None, name: str, pair: "RunPair", pairs: "Sequence[RunPair]") -> Path | None:
    from vptft.storage import slug

    if out is None:
        return None
    info = pair.vpt.info
    several = sum(other.vpt.info.task == info.task for other in pairs) > 1
    return out / "results" / name / (slug(info.task) + (f"-seed{info.seed}" if several else ""))


def _write_maps(found: "Sequence[AttentionMaps]", pairs: "Sequence[RunPair]", out: Path | None, json: bool) -> None:
    import pandas as pd

    from vptft.report.figures.attention import draw_attention, draw_prompt_share
    from vptft.report.figures.style import save_figure

    for result, pair in zip(found, pairs, strict=True):
        if out:
            save_figure(draw_attention(result), out / "figures" / _name("attention", pair, pairs))
            save_figure(draw_prompt_share(result), out / "figures" / _name("prompt_share", pair, pairs))
    frames = [
        result.frame() if len(pairs) == 1 else result.frame().assign(task=result.task, seed=pair.vpt.info.seed)
        for result, pair in zip(found, pairs, strict=True)
    ]
    _write(pd.concat(frames, ignore_index=True), dict(found[0].settings), json)


def _write_parts(parts: "Sequence[AttentionScores]", json: bool) -> None:
    import pandas as pd

    frames = [part.frame().assign(task=part.task, seed=part.draw) for part in parts]
    _write(pd.concat(frames, ignore_index=True), dict(parts[0].settings), json)


def _write(frame: Any, settings: dict[str, Any], json: bool) -> None:
    if json:
        write_json({"settings": settings, "rows": records(frame)})
    else:
        write_table(frame, as_json=False)


def _draw_part(part: "AttentionScores", folder: Path, name: str) -> None:
    """Write the grid of each kind of map, and every map that is shown in it."""
    from vptft.report.figures.attention_grid import draw_attention_grid, save_maps
    from vptft.report.figures.attention_heads import draw_attention_heads
    from vptft.report.figures.style import save_figure
    from vptft.why.attention.score_settings import RANDOM

    for kind in part.kinds:
        if kind != RANDOM:
            save_figure(draw_attention_grid(part, kind=kind), folder / f"{name}-{kind}")
    save_figure(draw_attention_heads(part), folder / f"{name}-heads")
    save_maps(part, folder / "maps" / name)


def _write_comparison(result: "AttentionComparison", out: Path | None, json: bool) -> None:
    from vptft.report.figures import attention_scores as figures
    from vptft.report.figures.style import save_figure
    from vptft.why.attention.comparison import EVERY
    from vptft.why.attention.sanity import RULE

    if out:
        save_figure(figures.draw_attention_scores(result), out / "figures" / "attention-scores")
        for way in dict.fromkeys(result.curves["way"]):
            save_figure(figures.draw_attention_curves(result, way=way), out / "figures" / f"attention-curves-{way}")
        save_figure(figures.draw_attention_layers(result), out / "figures" / "attention-layers")
        if len(result.sanity):
            save_figure(figures.draw_attention_sanity(result), out / "figures" / "attention-sanity")
    if json:
        write_json(all_of(result, "masses", "agreement", "sanity", "heads", "outcomes"))
        return
    table = result.frame()
    write_table(table.loc[table["outcome"] == EVERY, list(SHOWN)], as_json=False, title="Scores of maps, all images")
    write_table(result.outcomes, as_json=False, title="Images by outcome, mean over seeds")
    write_table(result.masses, as_json=False, title="Masses")
    say(RULE)
    write_findings(result.findings())
