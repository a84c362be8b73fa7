"""``objective``: how far tasks' objectives are from what a backbone was pretrained for."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vptft.cli.options import Device, Json, Out, Seed, Venue, progress, say, write_table

if TYPE_CHECKING:
    import pandas as pd

    from vptft.when.objective.comparison import Comparison
    from vptft.when.objective.disparity import Disparity
    from vptft.when.objective.task import TaskFeatures


def objective(
    tasks: Annotated[
        list[str],
        typer.Argument(help="Tasks, folders with a sub-folder a class, suite, observed, vtab, fgvc.", metavar="TASKS"),
    ],
    backbone: Annotated[str, typer.Option(help="Backbones, by commas: what `fid` takes for --extractor.")] = "dinov2-s",
    images: Annotated[
        int, typer.Option(help="Images a task, drawn by --seed; all where there are fewer.", min=8)
    ] = 1000,
    draws: Annotated[int, typer.Option(help="Draws of the images, from --seed on: the noise of measuring.", min=1)] = 1,
    slow: Annotated[bool, typer.Option("--slow", help="Task2Vec and OTDD too: seconds a task.")] = False,
    compare: Annotated[
        bool, typer.Option("--compare", help="Judge all measures on the suite's tasks; minutes a backbone.")
    ] = False,
    seed: Seed = 0,
    device: Device = "cpu",
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """How far each task's objective is from pretraining's: 0 near, 1 far, from frozen features and labels.

    Examples: `vptft-analyze objective suite`, `vptft-analyze objective vtab --backbone dinov2-s,efficientnet-lite0
    -o reports/mine`, `vptft-analyze objective suite observed --compare --slow --draws 3`
    """
    from vptft.data import registry
    from vptft.report.assembly import objective as assembled

    names = list(dict.fromkeys(task for name in tasks for task in registry.members(name)))
    found = _features(names, backbone.split(","), images, range(seed, seed + draws), device)
    folder = out / "results" / "objective" if out else None
    with progress() as start:
        result = assembled.objective_disparity(found, slow=slow, seed=seed, folder=folder, on_done=start("measures"))
    for note in _notes(result):
        say(f"note: {note}")
    compared = _compared(result, found, seed, out) if compare else None
    if out:
        _draw(result, compared, out / "figures")
        assembled.write_tables(result, compared, out)
    if json:
        write_table(result.frame() if compared is None else compared.frame(), as_json=True)
    else:
        write_table(result.scores().drop(columns="note") if compared is None else _short(compared), as_json=False)


def _features(
    names: Sequence[str], backbones: Sequence[str], images: int, draws: range, device: str
) -> "list[TaskFeatures]":
    from vptft.features.extractors import load_extractor
    from vptft.report.assembly import objective as assembled

    for name in names:
        assembled.labelled_images(name, n=images, seed=draws[0])  # what has no labels is said before hours go by
    found = []
    with progress() as start:
        for each in backbones:
            network = load_extractor(each, device=device)
            found += [
                assembled.task_features(name, network, n=images, draw=draw, on_batch=start(f"{name}, {network.name}"))
                for draw in draws
                for name in names
            ]
    return found


def _compared(result: "Disparity", found: "Sequence[TaskFeatures]", seed: int, out: Path | None) -> "Comparison":
    from vptft.report.assembly import objective as assembled

    folder = out / "results" / "objective_measures" if out else None
    with progress() as start:
        told = start("pairs at equal accuracy")
        return assembled.comparison(result, found, seed=seed, folder=folder, on_done=told)


def _notes(result: "Disparity") -> list[str]:
    from vptft.when.objective.calibration import off_scale

    scores = result.scores()
    said = [f"{name} pretraining: far means that {meaning}" for name, meaning in result.settings["far"].items()]
    noted = scores[scores["note"] != ""].drop_duplicates(["task", "note"])
    return [*said, *(f"{row['task']}: {row['note']}" for row in noted.to_dict("records")), *off_scale(scores)]


def _short(compared: "Comparison") -> "pd.DataFrame":
    columns = ["measure", "backbone", "auc", "low", "high", "partial", "matched_auc", "left_out_right", "left_out_n",
               "unseen_near", "unseen_n", "noise", "seconds"]  # fmt: skip
    order = {name: i for i, name in enumerate(compared.ranking()["measure"])}
    frame = compared.frame()
    return frame.iloc[frame["measure"].map(order).argsort(kind="stable")][columns]


def _draw(result: "Disparity", compared: "Comparison | None", folder: Path) -> None:
    from vptft.report.figures.objective import draw_comparison, draw_disparity
    from vptft.report.figures.style import save_figure

    save_figure(draw_disparity(result), folder / "disparity")
    if compared is not None:
        save_figure(draw_comparison(compared), folder / "measures")
