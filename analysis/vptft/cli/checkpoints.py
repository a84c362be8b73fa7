"""``checkpoints``: what somebody's checkpoint is, as our run, how good it is, and what two of them differ in."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vptft.cli.options import (
    Device,
    Json,
    Runs,
    guarded,
    plain,
    progress,
    records,
    say,
    write_json,
    write_rows,
    write_table,
)

if TYPE_CHECKING:
    from vptft.checkpoints.found import Asked, Normalisation

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode="markdown",
    help="Checkpoints of other programs: inspect, convert, evaluate, and compare the recipes of two.",
)  # fmt: skip

Checkpoint = Annotated[
    Path, typer.Argument(help="A file of weights, a folder that holds one, or one of our run folders.", metavar="PATH")
]
Base = Annotated[
    Path | None,
    typer.Option(
        "--backbone", help="File of the pretrained weights: tells heads and method, and is what adapters need."
    ),
]
Heads = Annotated[int | None, typer.Option(help="Attention heads, where no file tells them.", min=1)]
MethodName = Annotated[
    str | None, typer.Option("--method", help="ft, linear, vpt_deep, mixed ..., where keys and logs do not tell.")
]
Scale = Annotated[float | None, typer.Option(help="Factor of PETL-ViT's adapters, from their configuration file.")]
PromptLength = Annotated[int | None, typer.Option(help="Prompts in use, where a supernet holds more.", min=1)]
PoolingName = Annotated[
    Literal["token", "avg"] | None, typer.Option("--pooling", help="What the head of a timm state dict reads.")
]
Normalise = Annotated[
    Literal["imagenet", "half", "none"] | None,
    typer.Option("--normalise", help="How images are normalised, where the file does not tell."),
]


@app.command()
@guarded
def inspect(
    path: Checkpoint,
    backbone: Base = None,
    heads: Heads = None,
    method: MethodName = None,
    scale: Scale = None,
    prompt_length: PromptLength = None,
    pooling: PoolingName = None,
    json: Json = False,
) -> None:
    """Say what a checkpoint is: network, method, prompts, parameters, recipe, and what could not be known.

    Example: `vptft-analyze checkpoints inspect last_model.pth --backbone ViT-B_16.npz`
    """
    from vptft.checkpoints.inspection import inspect as look

    found = look(path, _asked(backbone, heads, method, scale, prompt_length, pooling))
    recipe, cautions = found.recipe.facts, found.recipe.cautions
    if json:
        write_json(
            {
                **found.about,
                "layers": list(found.layers),
                "taken from": found.sources,
                "recipe": {name: _finite(fact._asdict()) for name, fact in recipe.items()},
                "cautions": [fact._asdict() for fact in cautions],
                "metrics": _finite(found.metrics),
                "not known": found.unknown,
            }
        )
        return
    write_rows(
        [{"": name, "value": str(v), "taken from": found.sources.get(name, "")} for name, v in found.about.items()]
    )
    if found.layers:
        write_rows(found.layers, title="Backbone")
    if recipe:
        rows = [{"": name, "value": str(fact.value), "evidence": fact.evidence} for name, fact in recipe.items()]
        write_rows(rows, title="Recipe")
    if found.metrics:
        write_rows([{"": name, "value": value} for name, value in found.metrics.items()], title="Logged last")
    for fact in cautions:
        say(f"note: {fact.value} ({fact.evidence})")
    for text in found.unknown:
        say(f"note: {text}")


@app.command()
@guarded
def convert(
    path: Checkpoint,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Run folder to be made.")] = None,
    timm: Annotated[
        Path | None, typer.Option("--timm", help="Also, or instead: a plain timm state dict, .safetensors.")
    ] = None,
    task: Annotated[str | None, typer.Option(help="Name of the task, where no log tells it.")] = None,
    backbone: Base = None,
    heads: Heads = None,
    method: MethodName = None,
    scale: Scale = None,
    prompt_length: PromptLength = None,
    pooling: PoolingName = None,
    normalise: Normalise = None,
    json: Json = False,
) -> None:
    """Make one of our run folders of a checkpoint, so that every analysis takes it; the logits stay the same.

    Of one of our runs, `--timm` writes the network as timm has it, what LoRA added merged in.

    Example: `vptft-analyze checkpoints convert last_model.pth --backbone ViT-B_16.npz -o checkpoints/theirs/vpt`
    """
    from vptft.checkpoints.building import build_model
    from vptft.checkpoints.conversion import convert as make
    from vptft.checkpoints.conversion import save_merged
    from vptft.checkpoints.native import load_run
    from vptft.checkpoints.readers import read_checkpoint
    from vptft.errors import CheckpointError

    if out is None and timm is None:
        raise typer.BadParameter("say where to: --out RUN, --timm FILE.safetensors, or both")
    done: dict[str, str] = {}
    if (path / "run.json").is_file():
        if out is not None or timm is None:
            raise CheckpointError(f"{path} is one of our runs already.", "Of a run, --timm writes a timm state dict.")
        save_merged(load_run(path).model(), path, timm)
        done["timm"] = str(timm)
    else:
        reading = read_checkpoint(path, _asked(backbone, heads, method, scale, prompt_length, pooling))
        if timm is not None:
            save_merged(build_model(reading.found), path, timm)
            done["timm"] = str(timm)
        if out is not None:
            run = make(reading, out, normalisation=_normalisation(normalise), task=task)
            done |= {"run": str(run.folder), "method": run.info.method, "task": run.info.task}
            for note in reading.found.notes:
                say(f"note: {note}")
    if json:
        write_json(done)
    else:
        for value in (done.get("run"), done.get("timm")):
            if value is not None:
                typer.echo(value)


@app.command()
@guarded
def evaluate(
    path: Checkpoint,
    task: Annotated[str, typer.Option(help="A task by name (see `tasks list`), whose labels are in training's order.")],
    split: Annotated[Literal["train", "val", "test"], typer.Option(help="Which images.")] = "test",
    n: Annotated[int | None, typer.Option(help="Images [default: all].", min=2)] = None,
    save: Annotated[bool, typer.Option("--save", help="Keep the test predictions in the run folder.")] = False,
    backbone: Base = None,
    heads: Heads = None,
    method: MethodName = None,
    scale: Scale = None,
    prompt_length: PromptLength = None,
    pooling: PoolingName = None,
    normalise: Normalise = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure accuracy on a task; under each normalisation that programs use, where the file does not tell it.

    Images are resized by their shorter side and cropped; programs that squash them to a square give other numbers on
    images that are not square.

    Example: `vptft-analyze checkpoints evaluate checkpoints/theirs/vpt --task photo/count`
    """
    import pandas as pd

    from vptft.checkpoints.evaluation import accuracy_row, candidates
    from vptft.checkpoints.evaluation import evaluate as measure
    from vptft.checkpoints.loading import load
    from vptft.data import registry

    loaded = load(path, _asked(backbone, heads, method, scale, prompt_length, pooling))
    given = _normalisation(normalise) or loaded.normalisation
    whole = split == "test" and n is None and (path / "run.json").is_file()
    if save and not (whole and given is not None and given == loaded.normalisation):
        raise typer.BadParameter("--save keeps all test predictions of a run folder, under its own normalisation")
    images = registry.task(task).load(split, n=n)
    rows = []
    with progress() as start:
        for name, each in candidates(given).items():
            on_batch = start(f"{task} {split}, {name}")
            found = measure(
                loaded.model,
                images,
                image_size=loaded.image_size,
                normalisation=each,
                device=device,
                on_batch=on_batch,
            )
            rows.append(accuracy_row(normalise or name, found))
    if save:
        from vptft.checkpoints.native import keep_predictions, load_run

        keep_predictions(load_run(path), found)
    write_table(pd.DataFrame(rows), as_json=json, title=f"{path} on {task} ({split})")
    if given is None and not json:
        say("How the images were normalised is not known: ask who trained it, rather than take the highest row.")


@app.command()
@guarded
def compare(
    vpt: Annotated[
        Path, typer.Argument(help="A VPT run: our folder, or a folder with a log of theirs.", metavar="VPT")
    ],
    ft: Annotated[Path, typer.Argument(help="The FT run it is compared with.", metavar="FT")],
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for the result.")] = None,
    json: Json = False,
) -> None:
    """List what differs between a VPT and an FT run besides the method, with file and line, and how to remove it.

    Example: `vptft-analyze checkpoints compare theirs/deep theirs/ft`
    """
    from vptft.checkpoints.fairness import measure
    from vptft.checkpoints.recipe import read_recipe

    result = measure([(read_recipe(vpt), read_recipe(ft))])
    if out is not None:
        result.save(out)
    (finding,) = result.findings()
    frame = result.frame().drop(columns="pair")
    if json:
        write_json({"verdict": finding.verdict, "reason": finding.reason, "remarks": records(frame)})
        return
    for row in frame[frame["kind"] != "caution"].to_dict("records"):
        what = "not told by both" if row["kind"] == "unknown" else row["severity"]
        typer.echo(plain(f"{row['aspect']} ({what}): {row['why']}"))
        for side, name in (("vpt", "VPT"), ("ft", "FT")):
            evidence = f"   [{row[f'evidence_{side}']}]" if row[f"evidence_{side}"] else ""
            typer.echo(plain(f"    {name}: {row[side]}{evidence}"))
        typer.echo(f"    {row['remedy']}")
    for row in frame[frame["kind"] == "caution"].to_dict("records"):
        side = "vpt" if row["vpt"] else "ft"
        say(f"note: {side.upper()}: {row[side]} ({row[f'evidence_{side}']})")
    typer.echo(f"C0, the comparison is fair: {finding.verdict}; {plain(finding.reason)}.")


@app.command()
@guarded
def rebuild(
    folders: Runs,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train runs again whose weights were not kept, and put them in place once they are shown to be the same.

    Equal bit for bit on the same kind of machine; elsewhere 95% of the test predictions must agree.

    Example: `vptft-analyze checkpoints rebuild checkpoints/suite/photo-count/ft`
    """
    from vptft.checkpoints.native import find_runs
    from vptft.tuning.rebuild import rebuild as train_again

    rows = []
    with progress() as start:
        for run in find_runs(folders):
            rebuilt = train_again(run, device=device, on_epoch=start(f"rebuild {run.label}"))
            rows.append({"run": str(run.folder), "exact": rebuilt.exact, "agreeing": rebuilt.agreeing})
    if json:
        write_json(rows)
    else:
        write_rows(rows)


@app.command()
@guarded
def formats(json: Json = False) -> None:
    """List the formats that are read, and which were tried on files of their own programs.

    Example: `vptft-analyze checkpoints formats`
    """
    import pandas as pd

    from vptft.checkpoints.found import BY_DESCRIPTION
    from vptft.checkpoints.readers import READERS

    rows = [
        {
            "format": reader.name,
            "reader": "tried on files of theirs" if reader.tried else BY_DESCRIPTION,
            "reads": reader.about,
        }
        for reader in READERS
    ]
    write_table(pd.DataFrame(rows), as_json=json)


def _asked(
    base: Path | None,
    heads: int | None = None,
    method: str | None = None,
    scale: float | None = None,
    prompt_length: int | None = None,
    pooling: Any = None,
) -> "Asked":
    from vptft.checkpoints.found import Asked

    return Asked(heads=heads, method=method, base=base, scale=scale, prompt_length=prompt_length, pooling=pooling)


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    """Values for JSON, which has no infinity: the loss of a diverged run is null."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}


def _normalisation(name: str | None) -> "Normalisation | None":
    from vptft.checkpoints.found import NORMALISATIONS

    return None if name is None else NORMALISATIONS[name]
