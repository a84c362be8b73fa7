"""``overfitting``, from runs and from histories of other programs."""

from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from vptft.cli.options import Json, Out, Seed, SomeRuns, Venue, records, say, write_findings, write_json, write_table

SHOWN = (
    "task", "method", "n_train", "n_seeds", "onset_epoch", "rise_nats", "rise_low", "rise_high", "loss_gap_nats",
    "accuracy_change_points", "accuracy", "verdict",
)  # fmt: skip
CALIBRATION = (
    "accuracy", "nll", "nll_scaled", "confidence_nats", "rise_nats", "rise_left_nats", "temperature", "ece",
    "ece_floor", "l2_debiased",
)  # fmt: skip


def overfitting(
    folders: SomeRuns = None,
    table: Annotated[
        Path | None,
        typer.Option(help="CSV of histories of other programs: task,method,seed,history (a path from the CSV)."),
    ] = None,
    seed: Seed = 0,
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Whether each method overfits, whether confidence alone raises its loss, and whether that explains the gap.

    Example: `vptft-analyze overfitting checkpoints/suite -o reports/mine`
    """
    from vptft.errors import NotApplicable
    from vptft.report.assembly import overfitting as assembly
    from vptft.report.figures.overfitting import draw_overfitting
    from vptft.report.figures.overfitting_gap import draw_overfitting_gap
    from vptft.report.figures.regularisation import draw_regularisation
    from vptft.report.figures.style import save_figure
    from vptft.why.overfitting.onset import RULE

    if not folders and table is None:
        raise typer.BadParameter("give runs, or --table")
    found = assembly.histories_in(folders) if folders else assembly.Found([], [], [])
    others = [*found.others, *(assembly.histories_of(table) if table else [])]
    results = out / "results" if out else None
    result = assembly.curves(
        found.runs, others=others, left_out=found.left_out, folder=results and results / "overfitting"
    )
    calibrated = explained = regularised = None
    if found.runs:
        calibrated = assembly.calibrations(found.runs, result, seed=seed, folder=results and results / "calibration")
        try:
            explained = assembly.explained(found.runs, result, folder=results and results / "overfitting-gap")
        except NotApplicable as error:
            say(error.problem)
        with suppress(NotApplicable):  # an experiment of its own, which most runs are not of
            regularised = assembly.regularised(found.runs, result, folder=results and results / "regularisation")
    if out:
        figures = out / "figures"
        save_figure(draw_overfitting(result), figures / "overfitting")
        save_figure(draw_overfitting(result, scale="linear"), figures / "overfitting-linear")
        if result.frame()["accuracy"].notna().any():
            save_figure(draw_overfitting(result, quantity="accuracy"), figures / "overfitting-accuracy")
        if explained is not None:
            save_figure(draw_overfitting_gap(explained), figures / "overfitting-gap")
        if regularised is not None:
            save_figure(draw_regularisation(regularised), figures / "regularisation")
    for reason in result.settings["left_out"]:
        say(f"left out: {reason}")
    tried = [each for each in (explained, regularised) if each is not None]
    findings = [*result.findings(), *(finding for each in tried for finding in each.findings())]
    if json:
        write_json({
            "settings": dict(result.settings), "rows": records(result.runs), "cells": records(result.cells),
            "printed": records(result.printed),
            "calibration": records(calibrated.frame()) if calibrated is not None else [],
            "explanation": records(explained.terms) if explained is not None else [],
            "regularisation": records(regularised.frame()) if regularised is not None else [],
            "findings": [asdict(each) for each in findings],
        })  # fmt: skip
        return
    write_table(result.cells[list(SHOWN)], as_json=False, title="Held-out loss since its onset, over seeds")
    if calibrated is not None:
        means = calibrated.frame().groupby(["task", "method", "n_train"], as_index=False)[list(CALIBRATION)].mean()
        write_table(means, as_json=False, title="Calibration on test images, mean over seeds")
    if regularised is not None:
        write_table(regularised.overall, as_json=False, title="FT with what keeps it from overfitting, less without")
    if len(result.printed):
        write_table(result.printed, as_json=False, title="Beside the paper's printed counts")
    say(RULE)
    write_findings(findings)
