"""``landscape``, from runs: slices, lines, curvature and the escape test."""

from collections.abc import Callable, Sequence
from enum import StrEnum
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
    write_findings,
    write_json,
    write_table,
)  # fmt: skip

if TYPE_CHECKING:
    from vptft.checkpoints.native import Run


class What(StrEnum):
    """What is looked at."""

    SLICES = "slices"
    LINES = "lines"
    CURVATURE = "curvature"
    ESCAPE = "escape"


class Images(StrEnum):
    """Of which images the loss is."""

    TRAIN = "train"
    TEST = "test"


class Start(StrEnum):
    """Where an escape test starts."""

    FINETUNED = "finetuned"
    PRETRAINED = "pretrained"


class Scaled(StrEnum):
    """By what parameters are scaled before their loss's curvature is measured."""

    ELEMENT = "element"
    FILTER = "filter"
    NONE = "none"


class Space(StrEnum):
    """Parameters that move."""

    PROMPTS = "prompts"
    HEAD = "head"
    TUNED = "prompts and head"
    BACKBONE = "backbone"
    ALL = "all"


BATCHES = 3
"""Batches below which a reading is a picture, and the default."""


def landscape(
    folders: Runs,
    what: Annotated[list[What] | None, typer.Option("--what", help="Repeatable [default: slices].")] = None,
    spaces: Annotated[
        list[Space] | None,
        typer.Option(
            "--space",
            help="What moves in slices [default: prompts and head where there are prompts]; repeatable, of which "
            "curvature is measured [default: prompts, head, backbone and all].",
        ),
    ] = None,
    split: Annotated[
        list[Images] | None, typer.Option("--split", help="Repeatable [default: both; curvature: train].")
    ] = None,
    points: Annotated[int, typer.Option(help="Points a side or line; odd for slices.", min=3)] = 11,
    extent: Annotated[float, typer.Option(help="Largest step of a slice, in filter norms.")] = 0.5,
    seeds: Annotated[int, typer.Option(help="Random planes a run; with fewer than 3 a slice is a picture.", min=1)] = 3,
    dimensions: Annotated[int, typer.Option(help="Of the slices.", min=1, max=2)] = 2,
    images: Annotated[
        int, typer.Option(help="Images of each split, drawn by --seed; curvature: of each batch.", min=BATCHES)
    ] = 64,
    batches: Annotated[
        int, typer.Option(help="Batches of slices and curvature; with fewer than 3 they are pictures.", min=1)
    ] = BATCHES,
    scalings: Annotated[
        list[Scaled] | None, typer.Option("--scaling", help="Of curvature; repeatable [default: all three].")
    ] = None,
    density: Annotated[
        int, typer.Option(help="Probes of the spectral density, 30 products each; 0 for none.", min=0)
    ] = 0,
    curve_steps: Annotated[
        int, typer.Option(help="Training steps of a curve around each line's barrier; 0 for none.", min=0)
    ] = 0,
    starts: Annotated[
        list[Start] | None,
        typer.Option("--start", help="Where the escape test starts; repeatable [default: finetuned]."),
    ] = None,
    steps: Annotated[int, typer.Option(help="Training steps of each trial of the escape test.", min=1)] = 19,
    workers: Annotated[int, typer.Option(help="Processes, or actors, that share the rows of a grid.", min=1)] = 1,
    engine: Annotated[
        Literal["workers", "ray"],
        typer.Option(help="Where they are: processes of this machine, or a Ray cluster (extra `cluster`)."),
    ] = "workers",
    seed: Seed = 0,
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """The loss around runs and between them: slices, lines and their barriers, curvature, the escape test.

    Lines follow from the runs given: pretrained to each, between seeds, FT to Mixed, FT to FT-then-PT. A slice is a
    picture; what it says of a run is the mean rise over directions and batches. Curvature takes training images
    unless told; a batch of 32 took 40 seconds of a busy core in the prompts of a ViT-S at 56 px, and 4 minutes in its
    backbone with a density, by one scaling.

    Examples: `vptft-analyze landscape checkpoints/suite/photo-count --what slices --what lines -o reports/mine`,
    `vptft-analyze landscape checkpoints/dtd --what curvature --space head --density 4 -o reports/mine`
    """
    from vptft.checkpoints.native import find_runs
    from vptft.report.assembly.landscape import SPLITS, SurfaceSettings
    from vptft.why.landscape.curvature.measure import SPACES, CurvatureSettings
    from vptft.why.landscape.curvature.scaling import SCALINGS

    if spaces and len(spaces) > 1 and (not what or What.SLICES in what):
        raise typer.BadParameter("a slice moves one space.", param_hint="--space")
    wanted = tuple(dict.fromkeys(str(each) for each in what or (What.SLICES,)))
    splits = tuple(each for each in SPLITS if not split or Images(each) in split)
    curved = splits if split else ("train",)
    runs = find_runs(folders)
    results = out / "results" if out else None
    settings = SurfaceSettings(
        space=str(spaces[0]) if spaces else None, splits=splits, n_images=images, batches=batches,
        points=points if "slices" in wanted else 3, extent=extent, dimensions=dimensions,
        seeds=tuple(range(seed, seed + seeds)),
    )  # fmt: skip
    curve = CurvatureSettings(
        spaces=tuple(dict.fromkeys(map(str, spaces))) if spaces else SPACES, batches=batches, density_probes=density,
        scalings=tuple(each for each in SCALINGS if not scalings or Scaled(each) in scalings),
    )  # fmt: skip
    lines = {"splits": splits, "n_images": images, "points": points, "curve_steps": curve_steps, "seed": seed}
    make: dict[str, Callable[..., dict[str, Any]]] = {
        "slices": lambda: _slices(runs, settings, {"workers": workers, "engine": engine}, results, out, shown=not json),
        "lines": lambda: _lines(runs, lines, results, out, shown=not json),
        "curvature": lambda: _curvature(runs, curve, curved, images, seed, results, out, shown=not json),
        "escape": lambda: _escape(runs, starts or [Start.FINETUNED], steps, seed, results, out, shown=not json),
    }
    found = {name: make[name]() for name in wanted}
    if json:
        write_json(found)


def _slices(
    runs: "Sequence[Run]", settings: Any, where: dict[str, Any], results: Path | None, out: Path | None, *, shown: bool
) -> dict[str, Any]:
    import pandas as pd

    from vptft.report.assembly.landscape import surfaces_of
    from vptft.report.figures.style import save_figure
    from vptft.report.figures.surfaces import MOST, draw_profiles, draw_surfaces
    from vptft.storage import slug

    found = []
    with progress() as start:
        for run in runs:
            folder = results / "landscape-slices" / slug(str(run.folder)) if results else None
            bar = start(run.label)
            found.append(surfaces_of(run, settings, **where, folder=folder, on_row=bar))
    rises = pd.concat([item.rises().assign(run=item.label, space=item.space) for item in found], ignore_index=True)
    if out:
        save_figure(draw_profiles(found), out / "figures" / "landscape-profiles")
        for task in dict.fromkeys(item.task for item in found) if settings.dimensions > 1 else ():
            own = [item for item in found if item.task == task]
            for part in range(0, len(own), MOST):
                for split in settings.splits:
                    name = slug(f"landscape {task} {split}" + (f" {part // MOST + 1}" if len(own) > MOST else ""))
                    save_figure(draw_surfaces(own[part : part + MOST], split=split), out / "figures" / name)
    if shown:
        write_table(rises[["run", "space", *rises.columns.drop(["run", "space"])]], as_json=False, title="Rise of loss")
    rows = [item.frame().assign(run=item.label, task=item.task, method=item.method, space=item.space) for item in found]
    return {"rises": records(rises), "rows": records(pd.concat(rows, ignore_index=True))}


def _lines(
    runs: "Sequence[Run]", settings: dict[str, Any], results: Path | None, out: Path | None, *, shown: bool
) -> dict[str, Any]:
    from vptft.report.assembly.lines import lines_of
    from vptft.report.figures.lines import between_solutions, draw_barriers, draw_lines
    from vptft.report.figures.style import save_figure

    with progress() as start:
        folder = results / "landscape-lines" if results else None
        found = lines_of(runs, **settings, folder=folder, on_line=start("lines"))
    for reason in found.settings["left_out"]:
        say(f"left out: {reason}")
    say(f"Training images: {found.settings['train_images']}.")
    if out:
        save_figure(draw_lines(found), out / "figures" / "landscape-lines")
        if between_solutions(found.barriers).any():
            save_figure(draw_barriers(found), out / "figures" / "landscape-barriers")
    if shown:
        columns = ["task", "line", "path", "split", "barrier", "low", "high", "at", "accuracy_drop", "heads_moved"]
        write_table(found.barriers[columns], as_json=False, title="Barriers above the ends (nats), over images")
        write_table(found.pooled, as_json=False, title="Over seeds")
    return {name: records(getattr(found, name)) for name in ("barriers", "pooled", "table")}


def _curvature(
    runs: "Sequence[Run]", options: Any, splits: Sequence[Any], images: int, seed: int, results: Path | None,
    out: Path | None, *, shown: bool,
) -> dict[str, Any]:  # fmt: skip
    import pandas as pd

    from vptft.report.assembly.curvature import curvature
    from vptft.report.figures.curvature import draw_curvature, draw_densities
    from vptft.report.figures.style import save_figure
    from vptft.storage import slug

    settings = {"n_images": images, "seed": seed, "options": options}
    summaries, rows = [], []
    with progress() as start:
        for split in splits:
            found = []
            for run in runs:
                folder = results / "curvature" / slug(f"{run.folder} {split}") if results else None
                bar = start(f"curvature, {run.label}, {split}")
                found.append(curvature(run, **settings, split=split, folder=folder, on_cell=bar))
            if out:
                for task in dict.fromkeys(item.task for item in found):
                    own = [item for item in found if item.task == task]
                    save_figure(draw_curvature(own), out / "figures" / slug(f"curvature {task} {split}"))
                    for name, figure in draw_densities(own).items():
                        save_figure(figure, out / "figures" / slug(f"density {task} {split} {name}"))
            who = [{"run": item.label, "split": split} for item in found]
            summaries += [item.summary().assign(**own) for item, own in zip(found, who, strict=True)]
            rows += [item.frame().assign(**own) for item, own in zip(found, who, strict=True)]
    summary = pd.concat(summaries, ignore_index=True)
    if shown:
        columns = ["run", "split", "space", "scaling", "quantity", "rank", "value", "lowest", "highest", "reading"]
        write_table(summary[columns], as_json=False, title="Curvature: invariant scalings first")
    return {"summary": records(summary), "rows": records(pd.concat(rows, ignore_index=True))}


def _escape(
    runs: "Sequence[Run]", starts: "Sequence[Start]", steps: int, seed: int, results: Path | None, out: Path | None, *,
    shown: bool,
) -> dict[str, Any]:  # fmt: skip
    from vptft.report.assembly.escape import EscapeOptions, escape
    from vptft.report.figures.escape import draw_escape
    from vptft.report.figures.style import save_figure
    from vptft.why.landscape.escape.budget import Budget

    options = EscapeOptions(starts=tuple(dict.fromkeys(map(str, starts))), budget=Budget(steps=steps), seed=seed)
    with progress() as start:
        folder = results / "escape" if results else None
        found = escape(runs, options=options, folder=folder, on_point=start("escape test"))
    if out:
        save_figure(draw_escape(found), out / "figures" / "escape")
    return _told(found, shown=shown)


def _told(found: Any, *, shown: bool) -> dict[str, Any]:
    """Write a result's table and its findings for a reader; gives both as plain values."""
    if shown:
        write_table(found.frame(), as_json=False, title=found.analysis)
        write_findings(found.findings())
    return {name: rows for name, rows in all_of(found).items() if name != "settings"}
