"""``train``, ``methods``, ``runs list``, ``backbones`` and ``extractors``."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vptft.cli.options import (
    INTERRUPTED,
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

if TYPE_CHECKING:
    from vptft.checkpoints.listed import ListedRun
    from vptft.checkpoints.native import Run
    from vptft.tuning.methods import Method


def train(
    task: Annotated[str, typer.Argument(help="A task by name (see `tasks list`).")],
    method: Annotated[str, typer.Option(help="As `methods` lists them.")] = "vpt_deep",
    backbone: BackboneName = "dinov2-s",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Run folder [default: checkpoints/TASK/METHOD/seedN].")
    ] = None,
    base: Annotated[
        Path | None,
        typer.Option(help="Run to start from, for ft_then_pt and pt_then_ft [default: trained first, beside it]."),
    ] = None,
    recipe: Annotated[str, typer.Option(help="even: alike for all methods; kmnp: KMnP/vpt's own.")] = "even",
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images [default: 20].", min=1)] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images a step [default: 16].", min=1)] = None,
    lr: Annotated[float | None, typer.Option(help="Peak learning rate [default: the method's].")] = None,
    weight_decay: Annotated[float | None, typer.Option(help="Decay of matrices [default: 0.01].", min=0)] = None,
    prompt_length: Annotated[int | None, typer.Option(help="Prompts a layer [default: 10].", min=0)] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the input, pixels [default: 56].", min=1)] = None,
    n_train: Annotated[int | None, typer.Option(help="Training images [default: the task's].", min=2)] = None,
    n_val: Annotated[int | None, typer.Option(help="Validation images [default: the task's].", min=2)] = None,
    n_test: Annotated[int | None, typer.Option(help="Test images [default: the task's].", min=2)] = None,
    snapshots: Annotated[int | None, typer.Option(help="Points of the trajectory to keep [default: 0].", min=0)] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--set", help="Any other setting, NAME=VALUE: prompt_layers=last:3, lora_rank=4, head_lr=0.01."),
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train one run; give the same command again after an interruption and it goes on.

    Example: `vptft-analyze train photo/count --method vpt_deep --epochs 6 --n-train 160`
    """
    from vptft.checkpoints.native import is_complete, load_run
    from vptft.data import registry
    from vptft.storage import slug
    from vptft.tuning.loop import train as train_run
    from vptft.tuning.methods import find_method
    from vptft.tuning.plan_files import settings_from
    from vptft.tuning.recipes import default_rate, with_recipe
    from vptft.tuning.settings import TrainSettings

    named = {
        "epochs": epochs, "batch_size": batch_size, "lr": lr, "weight_decay": weight_decay,
        "prompt_length": prompt_length, "image_size": image_size, "n_train": n_train, "n_val": n_val,
        "n_test": n_test, "snapshots": snapshots,
    }  # fmt: skip
    others_given = settings_from(_pairs(others or []))
    if "seed" in others_given:
        raise typer.BadParameter("seed is an option of its own: --seed.")
    given = {name: value for name, value in named.items() if value is not None} | others_given
    plain = TrainSettings(**given, seed=seed)
    _say_unused(find_method(method), given)
    found = registry.task(task)
    begun: list[Path] = []
    there: list[Path] = []

    def go(name: str, folder: Path, start_from: "Run | None") -> "Run":
        chosen = find_method(name)
        settings = with_recipe(plain, recipe, chosen, given=frozenset(given))
        if "lr" not in given or name != method:  # a rate given is the method's own, not that of what it starts from
            settings = replace(settings, lr=default_rate(recipe, chosen, settings.batch_size))
        if is_complete(folder):
            there.append(folder)
        else:
            begun.append(folder)
        return train_run(
            found, chosen, backbone=backbone, settings=settings, folder=folder, base=start_from, device=device,
            on_epoch=start(f"{name} on {task}", settings.epochs),
        )  # fmt: skip

    folder = out or Path("checkpoints") / slug(task) / find_method(method).name / f"seed{seed}"
    if not folder.name:  # "." has none to put its lock and its base beside
        folder = folder.absolute()
    after = find_method(method).after
    try:
        with progress() as start:
            first = load_run(base) if base is not None else None
            if after is not None and base is None:
                first = go(after, folder.with_name(f"{folder.name}-base") if out else
                           Path("checkpoints") / slug(task) / after / f"seed{seed}", None)  # fmt: skip
            run = go(method, folder, first)
    except KeyboardInterrupt:
        if not begun or is_complete(begun[-1]):
            raise
        _say_kept(begun[-1])
        raise typer.Exit(INTERRUPTED) from None
    summary = {"run": str(run.folder), "task": task, "method": method, "test_accuracy": run.info.test_accuracy}
    for each in there:
        say(f"note: {each} was finished before; it was not trained again.")
    for note in run.info.notes:
        say(f"note: {note}")
    if json:
        write_json(summary)
    else:
        say(f"{method} on {task}: test accuracy {run.info.test_accuracy:.3f}")
        typer.echo(str(run.folder))


def _say_kept(folder: Path) -> None:
    """Say what an interruption left of a run."""
    from vptft.tuning.loop import RESUME_SECONDS, epochs_kept

    epochs = epochs_kept(folder)
    if epochs:
        say(f"Interrupted. What is finished is kept, {epochs} epoch(s) of {folder}; the same command goes on there.")
        return
    say(
        f"Interrupted. Nothing is kept of {folder} yet: that begins with the first epoch that ends after "
        f"{RESUME_SECONDS:g} s. The same command starts it again."
    )


def _say_unused(method: "Method", given: Mapping[str, object]) -> None:
    """Say which settings neither the method nor what it starts from has: they change nothing."""
    from vptft.tuning.methods import find_method
    from vptft.tuning.settings import OPTIONS

    own = method.options | (find_method(method.after).options if method.after else frozenset())
    for name in sorted(given.keys() & (OPTIONS - own)):
        say(f"note: {method.name} has no {name}, so it changes nothing.")


def _pairs(words: list[str]) -> dict[str, str]:
    pairs = [word.partition("=") for word in words]
    for name, equals, _ in pairs:
        if not name or not equals:
            raise typer.BadParameter(f"--set takes NAME=VALUE; got {name!r}.")
    return {name: value for name, _, value in pairs}


def methods(json: Json = False) -> None:
    """List the tuning methods: what each tunes, and which settings are its own.

    Example: `vptft-analyze methods`
    """
    import pandas as pd

    from vptft.tuning.methods import METHODS, known

    rows = [
        {
            "method": name,
            "tunes": about,
            "learning rates": ", ".join(f"{rate:g}" for rate in METHODS[name].learning_rates)
            if name in METHODS
            else "",
            "own settings": ", ".join(sorted(METHODS[name].options)) if name in METHODS else "",
        }
        for name, about in known().items()
    ]
    write_table(pd.DataFrame(rows), as_json=json)


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
    means = trees.summaries(found)
    means["std"] = means["std"].where(means["n"] > 1)  # one run has no spread
    tables = {
        "Runs": trees.table(found),
        "Mean over seeds, on test": means,
        "Chosen by search": trees.selections(found),
        "VTAB mean": trees.vtab_means(found),
    }
    if json:
        names = ("runs", "means", "searches", "vtab_means")
        write_json({name: records(frame) for name, frame in zip(names, tables.values(), strict=True)})
        return
    tables["Runs"] = trees.table(_without_remarks(found))
    for title, frame in tables.items():
        # A column in which no row has anything tells nothing; JSON has it all the same.
        told = [column for column in frame.columns if not (frame[column].isna() | (frame[column] == "")).all()]
        shown = [column for column in told if title != "Runs" or column in (*SHOWN, "folder")]
        if not frame.empty:
            write_table(frame[shown], as_json=False, title=title)


def _without_remarks(runs: "Sequence[ListedRun]") -> "list[ListedRun]":
    """Return runs without the notes that are no problem; JSON and ``run.json`` have them."""
    from vptft.checkpoints.listed import OURS

    if not any(run.producer == OURS for run in runs):
        return list(runs)
    from vptft.tuning.rebuild import ELSEWHERE  # imports torch, as the listing of our own runs has done

    return [
        replace(run, problems=tuple(each for each in run.problems if not each.startswith(ELSEWHERE))) for run in runs
    ]


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
