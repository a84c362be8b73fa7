"""``published``: what the paper's own tables show; ``published audit``: whether they agree with themselves."""

from pathlib import Path
from typing import Annotated, Any

import typer

from vptft.cli.options import (
    LAID_OVER,
    Json,
    Out,
    Venue,
    WithDefault,
    guarded,
    records,
    refuse_page_of,
    say,
    there,
    write_json,
    write_table,
)  # fmt: skip

SHOWN = ("family", "hypothesis", "claim", "effect", "low", "high", "unit", "n", "p", "p_adjusted", "verdict")
"""Columns of the drawn tables; JSON has them all."""


class _AlsoBare(WithDefault):
    """``published`` alone is a command too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the default command where nothing is named."""
        return super().parse_args(ctx, args or [next(iter(self.commands))])


app = typer.Typer(
    cls=_AlsoBare, rich_markup_mode="markdown",
    help="The paper's own tables: what they show of its claims, and whether they agree with themselves.",
)  # fmt: skip


@app.command()
@guarded
def claims(
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--runs",
            help="Run folders, or folders that hold runs, to compare with the printed numbers.",
            callback=there,
        ),
    ] = None,
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Judge every claim of Han et al. (ICLR 2024) by the numbers in its tables: effect, interval, p, verdict.

    With `--runs` (may be repeated) your accuracies are laid over the printed ones, with a test of whether they
    reproduce them. With `-o` a page, figures and tables are written. See also `vptft-analyze published audit --help`.

    Examples: `vptft-analyze published -o reports/published`, `vptft-analyze published --runs checkpoints/vtab`
    """
    from vptft.checkpoints.native import find_runs
    from vptft.provenance import provenance
    from vptft.published import audit, claims, tables
    from vptft.report.assembly import studies
    from vptft.report.assembly.quadrant_tables import published_planes
    from vptft.report.assembly.reproduction import reproduction_of
    from vptft.report.pages.published import build_published
    from vptft.storage import write_json as save_json

    if out:
        refuse_page_of("why", out / "results" / "study.json")
    printed = tables.load()
    result = claims.measure(printed)
    own = reproduction_of(find_runs(runs)) if runs else None
    if out:
        result.save(out / "results" / "published")
        audit.measure(printed).save(out / "results" / "audit")
        for name, plane in published_planes(boundary=None, seed=0).items():
            plane.save(out / "results" / name)
        studies.published_data_size().save(out / "results" / "datasize")
        if own:
            own.save(out / "results" / "reproduction")
        save_json(out / "results" / "provenance.json", provenance())
        say(f"The page: {build_published(out / 'results', out)}")
    if json:
        write_json({"claims": records(result.claims), "reproduction": None if own is None else records(own.frame())})
        return
    write_table(result.claims[list(SHOWN)], as_json=False, title=str(result.settings["rule"]))
    if own:
        write_table(own.frame()[list(LAID_OVER)], as_json=False, title=str(own.settings["rule"]))


@app.command("audit")
@guarded
def audit_command(
    everything: Annotated[bool, typer.Option("--all", help="Also what agrees.")] = False,
    out: Out = None,
    json: Json = False,
) -> None:
    """Recompute every mean, count and percentage that the paper prints from its other numbers; list what differs.

    Discrepancies are data, not a failure: the command exits 0.

    Example: `vptft-analyze published audit`
    """
    from vptft.published import audit, tables

    result = audit.measure(tables.load())
    if out:
        result.save(out / "results" / "audit")
    found = result.frame() if everything else result.discrepancies()
    write_table(found, as_json=json)
    for row in result.counts().to_dict("records"):
        say(f"{row['kind']}: {row['agrees']} agree, {row['rounding']} can by rounding, {row['differs']} differ")
