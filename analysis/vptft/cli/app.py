"""The commands, by name; each is wired in the module it is listed with."""

import typer

from vptft.cli import (
    advise,
    attention,
    checkpoints,
    datasize,
    distances,
    features,
    gallery,
    landscape,
    objective,
    overfitting,
    profile,
    published,
    quadrants,
    quickstart,
    runs,
    sweeps,
    tasks,
    why,
)
from vptft.cli.options import guarded

app = typer.Typer(
    name="vptft-analyze",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="When and why: visual prompt tuning (VPT) or full finetuning (FT)?",
    epilog="Start with: `vptft-analyze quickstart`. Data go to stdout, progress to stderr. Exit codes: 0 done, "
    "1 failed, 2 usage, 130 interrupted; an interrupted command goes on when it is given again.",
)


def _version(asked: bool) -> None:
    if asked:
        from vptft import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    """Answer when and why visual prompt tuning (VPT) or full finetuning (FT) wins."""


app.command(rich_help_panel="Start here")(guarded(quickstart.quickstart))
app.command(rich_help_panel="Start here")(guarded(advise.advise))
app.command(rich_help_panel="Start here")(guarded(why.why))
app.add_typer(distances.app, name="fid", rich_help_panel="When")
app.command(rich_help_panel="When")(guarded(objective.objective))
app.command(rich_help_panel="When")(guarded(quadrants.quadrants))
app.command(rich_help_panel="When")(guarded(datasize.datasize))
app.command(rich_help_panel="When")(guarded(datasize.sensitivity))
app.add_typer(published.app, name="published", rich_help_panel="When")
app.command(rich_help_panel="Why")(guarded(overfitting.overfitting))
app.command(rich_help_panel="Why")(guarded(landscape.landscape))
app.command(rich_help_panel="Why")(guarded(features.features))
app.command(rich_help_panel="Why")(guarded(attention.attention))
app.command(rich_help_panel="Start here")(guarded(gallery.gallery))
app.command(rich_help_panel="Runs and data")(guarded(runs.train))
app.command(rich_help_panel="Runs and data")(guarded(sweeps.protocol))
app.command(rich_help_panel="Runs and data")(guarded(profile.profile))
app.command(rich_help_panel="Runs and data")(guarded(sweeps.sweep))
app.add_typer(checkpoints.app, name="checkpoints", rich_help_panel="Runs and data")
app.add_typer(runs.app, name="runs", rich_help_panel="Runs and data")
app.command(rich_help_panel="Runs and data")(guarded(runs.methods))
app.command(rich_help_panel="Runs and data")(guarded(runs.backbones))
app.command(rich_help_panel="Runs and data")(guarded(runs.extractors))
app.add_typer(tasks.app, name="tasks", rich_help_panel="Runs and data")
