"""``datasize`` and ``sensitivity``: what more data, and other choices, do to the verdict."""

from pathlib import Path
from typing import Annotated

import typer

from vptft.cli.options import (
    Json,
    Out,
    Runs,
    Seed,
    SomeRuns,
    Venue,
    all_of,
    say,
    say_unpaired,
    write_findings,
    write_json,
    write_table,
)

SHOWN = ("task", "n_least", "n_most", "n_draws", "slope_points", "slope_low", "slope_high", "says")
GROUPS = ("pretraining", "task_group", "n_tasks", "slope_points", "slope_low", "slope_high", "p", "p_holm", "says")
VERDICTS = (
    "task",
    "n_specifications",
    "n_draws",
    "draw_sd_points",
    "median_points",
    "least_points",
    "most_points",
    "says",
)


def datasize(
    folders: SomeRuns = None,
    published: Annotated[bool, typer.Option("--published", help="The paper's own tables instead of runs.")] = False,
    least_sizes: Annotated[int, typer.Option(help="Sizes a task needs to count in a mean over tasks.", min=2)] = 3,
    region: Annotated[
        float, typer.Option(help="Points over the measured range that are practically no change.", min=0)
    ] = 1.0,
    curves: Annotated[bool, typer.Option("--curves", help="Fit and extrapolate power-law learning curves.")] = False,
    seed: Seed = 0,
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Whether FT closes the gap as data grow, and at how many images it overtakes, with intervals.

    Examples: `vptft-analyze datasize checkpoints/datasize -o reports/mine`, of runs that `protocol datasize` made;
    `vptft-analyze datasize --published`
    """
    from vptft.checkpoints.native import find_runs
    from vptft.checkpoints.pairs import pair_runs
    from vptft.report.assembly import studies
    from vptft.report.figures.datasize import draw_datasize
    from vptft.report.figures.style import save_figure

    if published == bool(folders):
        raise typer.BadParameter("give runs, or --published, and not both")
    folder = out / "results" / "datasize" if out else None
    if published:
        result = studies.published_data_size(least_sizes=least_sizes, region=region, curves=curves, seed=seed)
        if folder:
            result.save(folder)
    else:
        runs = find_runs(folders or [])
        pairs = pair_runs(runs)
        say_unpaired(runs, pairs)
        result = studies.data_size(
            pairs, least_sizes=least_sizes, region=region, curves=curves, seed=seed, folder=folder
        )
    if out:
        save_figure(draw_datasize(result), out / "figures" / "datasize")
    if json:
        write_json(all_of(result, "tasks", "groups", "curves"))
        return
    write_table(result.tasks[list(SHOWN)], as_json=False, title="The gap (VPT - FT) a doubling of n, in points")
    write_table(result.groups[list(GROUPS)], as_json=False, title="Over tasks")
    if curves:
        write_table(result.curves, as_json=False, title="Learning curves, extrapolated to 2 and 10 times the largest n")
    write_findings(result.findings())


def sensitivity(
    folders: Runs,
    conclusions: Annotated[
        Path | None,
        typer.Option(
            help="CSV of task,winner (vpt or ft) to hold the runs to [default: the paper's rule, for suite "
            "tasks; else the reference specification]."
        ),
    ] = None,
    seed: Seed = 0,
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Whether the verdict survives the design choices: every setting that was run, and what decides the gap.

    Example: `vptft-analyze sensitivity checkpoints/prompts -o reports/mine`, of runs that `protocol prompts` made
    """  # fmt: skip
    from vptft.checkpoints.native import find_runs
    from vptft.report.assembly import studies
    from vptft.report.figures.sensitivity import draw_shares, draw_specifications, parts_of
    from vptft.report.figures.style import save_figure

    said = studies.read_conclusions(conclusions) if conclusions else None
    result = studies.sensitivity(
        find_runs(folders), conclusions=said, seed=seed, folder=out / "results" / "sensitivity" if out else None
    )
    if out:
        for part in range(parts_of(result) if len(result.choices) else 0):
            name = f"specifications-{part + 1}" if part else "specifications"
            save_figure(draw_specifications(result, part=part), out / "figures" / name)
        if len(result.shares):
            save_figure(draw_shares(result), out / "figures" / "variance_shares")
    if result.reason:
        say(result.reason)
    if json:
        write_json({**all_of(result, "choices", "verdicts", "shares", "budgets"), "reason": result.reason})
        return
    write_table(result.verdicts[list(VERDICTS)], as_json=False, title="Does the conclusion hold?")
    if len(result.shares):
        write_table(result.shares, as_json=False, title="Variance of the gap, by what makes it")
    if len(result.budgets):
        write_table(result.budgets, as_json=False, title="The gap on validation, by trials of the learning rate")
