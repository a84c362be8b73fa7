"""``train``, ``runs list``, ``backbones`` and ``extractors``."""

from pathlib import Path
from typing import Annotated

import typer

from vptft.cli.options import (
    BackboneName,
    Device,
    Json,
    Seed,
    WithDefault,
    guarded,
    progress,
    records,
    say,
    write_json,
    write_table,
)


def train(
    task: Annotated[str, typer.Argument(help="A task by name (see `tasks list`).")],
    method: Annotated[str, typer.Option(help="ft, linear, vpt_shallow or vpt_deep.")] = "vpt_deep",
    backbone: BackboneName = "dinov2-s",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder [default: checkpoints/TASK/METHOD/seedN].")
    ] = None,
    epochs: Annotated[int, typer.Option(min=1)] = 20,
    batch_size: Annotated[int, typer.Option(min=1)] = 16,
    lr: Annotated[float | None, typer.Option(help="Peak AdamW learning rate [default: the method's].")] = None,
    weight_decay: Annotated[float, typer.Option(min=0)] = 0.01,
    head_lr: Annotated[float, typer.Option(help="Peak learning rate of the head, the same for all methods.")] = 2e-3,
    warmup_fraction: Annotated[float, typer.Option(help="Part of all steps spent warming up.")] = 0.1,
    prompt_length: Annotated[int, typer.Option(help="Prompts a layer.", min=0)] = 10,
    prompt_dropout: Annotated[float, typer.Option(help="Dropout of prompts while training.")] = 0.0,
    image_size: Annotated[int, typer.Option(help="Side of the input in pixels.", min=1)] = 56,
    n_train: Annotated[int | None, typer.Option(help="Training images [default: the task's].", min=2)] = None,
    n_val: Annotated[int | None, typer.Option(help="Validation images [default: the task's].", min=2)] = None,
    n_test: Annotated[int | None, typer.Option(help="Test images [default: the task's].", min=2)] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train one run; give the same command again after an interruption and it goes on.

    Example: `vptft-analyze train photo/count --method vpt_deep --epochs 6 --n-train 160`
    """
    from vptft.data import registry
    from vptft.storage import slug
    from vptft.tuning.loop import train as train_run
    from vptft.tuning.methods import find_method
    from vptft.tuning.settings import TrainSettings

    settings = TrainSettings(
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        head_lr=head_lr,
        weight_decay=weight_decay,
        warmup_fraction=warmup_fraction,
        prompt_length=prompt_length,
        prompt_dropout=prompt_dropout,
        image_size=image_size,
        n_train=n_train,
        n_val=n_val,
        n_test=n_test,
        seed=seed,
    )
    found = registry.task(task)
    folder = out or Path("checkpoints") / slug(task) / find_method(method).name / f"seed{seed}"
    with progress() as start:
        run = train_run(
            found,
            find_method(method),
            backbone=backbone,
            settings=settings,
            folder=folder,
            device=device,
            on_epoch=start(f"{method} on {task}", epochs),
        )
    summary = {"run": str(run.folder), "task": task, "method": method, "test_accuracy": run.info.test_accuracy}
    if json:
        write_json(summary)
    else:
        say(f"{method} on {task}: test accuracy {run.info.test_accuracy:.3f}")
        typer.echo(str(run.folder))


app = typer.Typer(
    cls=WithDefault, no_args_is_help=True, rich_markup_mode="markdown",
    help="Trees of runs, ours and of other programs. `runs FOLDER` lists them.",
)  # fmt: skip

SHOWN = ("task", "method", "stage", "seed", "lr", "wd", "accuracy", "accuracy_split", "epochs", "producer", "problems")
"""Columns of the drawn list, with the folder; JSON has them all."""


@app.command("list")
@guarded
def list_runs(
    folders: Annotated[
        list[Path],
        typer.Argument(
            help="Folders that hold runs: ours, of KMnP/vpt or VPT-or-FT (*_val, *_finalfinal), of PETL-ViT; or their "
            "logs.",
            metavar="FOLDER",
        ),
    ],
    json: Json = False,
) -> None:
    """List all runs at or below folders, with means over seeds, what each search chose, and the VTAB mean.

    The VTAB mean is the mean of the three group means. Runs that cannot be read are listed with their problem.

    Example: `vptft-analyze runs checkpoints`
    """
    from vptft.checkpoints import trees

    found = trees.list_runs(folders)
    tables = {
        "Runs": trees.table(found),
        "Mean over seeds, on test": trees.summaries(found),
        "Chosen by search": trees.selections(found),
        "VTAB mean": trees.vtab_means(found),
    }
    if json:
        names = ("runs", "means", "searches", "vtab_means")
        write_json({name: records(frame) for name, frame in zip(names, tables.values(), strict=True)})
        return
    for title, frame in tables.items():
        # A column in which no row has anything tells nothing; JSON has it all the same.
        told = [column for column in frame.columns if not frame[column].isin([None, ""]).all()]
        shown = [column for column in told if title != "Runs" or column in (*SHOWN, "folder")]
        if not frame.empty:
            write_table(frame[shown], as_json=False, title=title)


def backbones(json: Json = False) -> None:
    """List the backbones that need no hub, and how to name all others.

    Example: `vptft-analyze backbones`
    """
    import pandas as pd

    from vptft.models.backbones import EMBEDDED

    rows = [{"backbone": name, "pretraining": item.pretraining, "about": item.about} for name, item in EMBEDDED.items()]
    rows += [
        {"backbone": "timm/NAME", "pretraining": "by tag", "about": "any timm model with its hub weights; the paper's "
         "is timm/vit_base_patch16_224.orig_in21k"},
        {"backbone": "ARCHITECTURE@FILE", "pretraining": "by tag", "about": "local .npz, .safetensors or .pth weights "
         "of a timm architecture"},
    ]  # fmt: skip
    write_table(pd.DataFrame(rows), as_json=json)


def extractors(json: Json = False) -> None:
    """List the feature spaces that distances can be taken in.

    Example: `vptft-analyze extractors`
    """
    import pandas as pd

    from vptft.features.extractors import known

    rows = [{"extractor": name, "about": about} for name, about in known().items()]
    rows.append({"extractor": "any backbone", "about": "as `backbones` names it, with :SIZE where it takes any"})
    write_table(pd.DataFrame(rows), as_json=json)
