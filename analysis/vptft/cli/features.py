"""``features``, from runs: what tuning left of the pretrained features, and whether that predicts the gap."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vptft.cli.options import Json, Out, Seed, Venue, progress, records, say, write_findings, write_json, write_table

if TYPE_CHECKING:
    from vptft.why.features.explanation import PreservationEffect
    from vptft.why.features.preservation import FeaturePreservation

PRETRAINED = "pretrained"


def features(
    folders: Annotated[
        list[str],
        typer.Argument(
            help="Run folders, or folders that hold runs. The word `pretrained` may stand first: each run is compared "
            "with the network it came from.",
            metavar="[pretrained] RUNS",
        ),
    ],
    images: Annotated[int, typer.Option("--images", help="Images of each set, drawn by --seed.", min=12)] = 200,
    reference: Annotated[
        str, typer.Option(help="Images that preservation is measured on: photos, a registered name or a folder.")
    ] = "photos",
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--other",
            help="Task to measure forgetting on; repeatable; none with the run's own classes is [default: digits, "
            "photo/category, plain/category].",
        ),
    ] = None,
    layers: Annotated[
        str | None, typer.Option(help="Layers, counted from 0, such as 0,5,11 [default: all].", metavar="LAYERS")
    ] = None,
    seed: Seed = 0,
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """What tuning left of the pretrained features: similarity by layer, probes, forgetting, drift, what prompts write.

    With runs of two or more methods on a task: whether preservation predicts accuracy and the gap to FT.

    Example: `vptft-analyze features pretrained checkpoints/suite/photo-count -o reports/mine`
    """
    from vptft.checkpoints.native import find_runs
    from vptft.errors import NotApplicable, VptftError
    from vptft.report.assembly.features import OTHER_TASKS, FeatureSettings, features_of, preservation_effect
    from vptft.storage import slug

    paths = [Path(name) for name in folders[folders[0] == PRETRAINED :]]
    if not paths:
        raise typer.BadParameter("give run folders after the word pretrained")
    settings = FeatureSettings(
        n_images=images, reference=reference, others=tuple(others or OTHER_TASKS), layers=_numbers(layers), seed=seed
    )
    found, left_out = [], []
    with progress() as start:
        for run in find_runs(paths):
            folder = out / "results" / "features" / slug(str(run.folder)) if out else None
            try:
                found.append(features_of(run, settings, folder=folder, on_set=start(run.label)))
            except VptftError as error:
                left_out.append(error)
                say(f"left out: {run.label}: {error.problem} {error.hint}".rstrip())
    if not found:
        raise left_out[0]
    effect = None
    try:
        effect = preservation_effect(found, folder=out / "results" / "feature-preservation" if out else None)
    except NotApplicable as error:
        say(error.problem)
    if out:
        _draw(found, effect, out / "figures")
    if json:
        write_json(_plain(found, effect))
    else:
        _show(found, effect)


def _numbers(text: str | None) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",")) if text else ()
    except ValueError as error:
        raise typer.BadParameter(f"--layers takes numbers such as 0,5,11, not {text!r}") from error


def _draw(found: "Sequence[FeaturePreservation]", effect: "PreservationEffect | None", folder: Path) -> None:
    import numpy as np

    from vptft.report.figures.features import draw_drift, draw_forgetting, draw_layers, draw_written
    from vptft.report.figures.preservation import draw_preservation
    from vptft.report.figures.style import save_figure

    save_figure(draw_layers(found), folder / "features-layers")
    if any(len(each.drift) for each in found):
        save_figure(draw_drift(found), folder / "features-drift")
    if any(len(each.written) for each in found):
        save_figure(draw_written(found), folder / "features-written")
    if any(np.isfinite(each.change("knn")) for each in found):
        save_figure(draw_forgetting(found), folder / "features-forgetting")
    if effect is not None:
        save_figure(draw_preservation(effect), folder / "features-preservation")


def _summary(each: "FeaturePreservation") -> dict[str, Any]:
    return {
        "run": each.label, "n_train": each.n_train, "accuracy": each.accuracy, "cka": each.scalar("cka"),
        "cka_patches": each.scalar("cka", kind="patches"), "neighbours": each.scalar("neighbour_overlap"),
        "cka_own_task": each.scalar("cka", role="own task"), "knn_others_change": each.change("knn"),
        "linear_others_change": each.change("linear"),
        "median_drift": float(each.drift["relative_norm"].median()) if len(each.drift) else 0.0,
    }  # fmt: skip


def _show(found: "Sequence[FeaturePreservation]", effect: "PreservationEffect | None") -> None:
    import pandas as pd

    from vptft.why.features.explanation import CIRCULAR

    table = pd.DataFrame([_summary(each) for each in found])
    write_table(table, as_json=False, title="Preservation, last layer; changes are after less before, above chance")
    for note in dict.fromkeys(f"{each.method}: {note}" for each in found for note in each.notes):
        say(note)
    if found[0].settings.get("reference") == "photos":
        say("photos stands in for the pretraining set, not to be had: crops of five photographs.")
    if effect is None:
        return
    linear = effect.terms[effect.terms["term"] == "linear"]
    columns = ["predictor", "methods", "slope", "low", "high", "p", "partial_r", "n_tasks", "n_methods"]
    write_table(linear[columns], as_json=False, title="Accuracy over preservation within task and size, points for 0.1")
    write_table(effect.contrasts, as_json=False, title="Contrasts over tasks")
    say(CIRCULAR)
    write_findings(effect.findings())


def _plain(found: "Sequence[FeaturePreservation]", effect: "PreservationEffect | None") -> dict[str, Any]:
    from vptft.evidence.findings import to_table

    runs = [
        _summary(each)
        | {"task": each.task, "method": each.method, "seed": each.seed, "notes": each.notes}
        | {name: records(getattr(each, name)) for name in ("table", "drift", "written")}
        for each in found
    ]
    return {"runs": runs} | (
        {}
        if effect is None
        else {name: records(getattr(effect, name)) for name in ("terms", "contrasts")}
        | {"rows": records(effect.frame()), "findings": records(to_table(effect.findings()))}
    )
