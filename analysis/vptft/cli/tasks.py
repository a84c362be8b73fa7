"""``tasks list``, ``tasks add`` and ``tasks forget``."""

from dataclasses import asdict
from typing import Annotated, Literal

import typer

from vptft.cli.options import Json, guarded, say, write_json, write_table

# The same words as vptft.data.tasks.Objective, which imports torch; a test holds them together.
Objective = Literal["classification", "counting", "distance", "location", "orientation", "azimuth", "elevation"]

app = typer.Typer(no_args_is_help=True, help="The tasks and image sets that have a name.", rich_markup_mode="markdown")


@app.command("list")
@guarded
def list_tasks(json: Json = False) -> None:
    """List every known task: embedded, registered, and where the others come from.

    Example: `vptft-analyze tasks list`
    """
    import pandas as pd

    from vptft.data import registry

    write_table(pd.DataFrame(registry.names()), as_json=json)


@app.command()
@guarded
def add(
    name: Annotated[str, typer.Argument(help="The name to type from now on: imagenet, vtab, dtd, mine.")],
    path: Annotated[
        str,
        typer.Argument(
            help="A folder of images, an ImageFolder, or a VTAB-1k or FGVC folder; a zip or tar file, a folder of "
            "them, or 'train-{000..127}.tar'; a .npy, or ADM's .npz; torchvision:CLASS[:SPLIT][@ROOT]; or "
            "hf:NAME[:SPLIT], NAME a folder or on the Hub."
        ),
    ],
    objective: Annotated[Objective, typer.Option(help="What is asked of an own task's images.")] = "classification",
    json: Json = False,
) -> None:
    """Register your data under a name.

    Examples: `vptft-analyze tasks add imagenet ~/data/imagenet/val`, then `vptft-analyze fid imagenet dtd`;
    `vptft-analyze tasks add cifar torchvision:CIFAR10@~/data`
    """
    from vptft.data import registry

    found = registry.register(name, path, objective=objective)
    classes = f" in {found.classes} classes" if found.classes else ""
    say(f"{found.name}: {found.images} images{classes} in {found.path} ({found.layout}).")
    if found.tasks:
        say(f"Tasks: {', '.join(found.tasks)}.")
    if found.unusable:
        say(f"warning: {found.unusable} more cannot be used; a command that meets them lists each with its reason.")
    if json:
        write_json(asdict(found))


@app.command()
@guarded
def forget(name: Annotated[str, typer.Argument(help="A name that was added.")], json: Json = False) -> None:
    """Forget a registered name; the data stay where they are.

    Example: `vptft-analyze tasks forget imagenet`
    """
    from vptft.data import registry

    registry.forget(name)
    if json:
        write_json({"forgotten": name})
