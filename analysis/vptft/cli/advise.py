"""``advise``: prompts or full finetuning for a task that was not trained on yet, and how sure that is."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vptft.cli.options import (
    BackboneName,
    Device,
    Json,
    Out,
    Seed,
    progress,
    records,
    say,
    there,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from vptft.advise.measure import Advice
    from vptft.advise.record import Record
    from vptft.advise.tasks import Block
    from vptft.report.assembly.advice.tasks import Scheme

WHY = ("predictor", "about", "value", "least", "most", "points", "sd_points", "note")
PREDICTED = (
    "block", "decides", "n_tasks", "predictors", "predicted_points", "low80_points", "high80_points", "p_vpt",
    "advised",
)  # fmt: skip
RECORD = ("block", "predictors", "n", "forced_right", "n_won", "advised_right", "advised", "rmse_points",
          "rmse_of_mean_points")  # fmt: skip


def advise(
    task: Annotated[
        str | None, typer.Argument(help="A task, or a folder with a sub-folder a class.", metavar="[FOLDER|TASK]")
    ] = None,
    backbone: BackboneName = "dinov2-s",
    runs: Annotated[
        list[Path] | None,
        typer.Option(help="VPT and FT runs on other tasks, as evidence; may be repeated.", callback=there),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(help="Limits a method must keep: storage=5MB, memory=, parameters=, step=200ms, forward=."),
    ] = None,
    look_ahead: Annotated[
        int, typer.Option(help="Epochs of a short VPT and FT, here and on each task of the runs; 0 for none.", min=0)
    ] = 0,
    score: Annotated[
        bool, typer.Option("--score", help="No task: how such advice has done, each known task foretold from others.")
    ] = False,
    objective: Annotated[
        Literal["near", "far"] | None,
        typer.Option(help="Whether labels name kinds of things (near) or places, counts, angles (far)."),
    ] = None,
    n_train: Annotated[int | None, typer.Option(help="Training images [default: the task's own].", min=1)] = None,
    reference: Annotated[str, typer.Option(help="The pretraining set, or what stands in for it.")] = "photos",
    images: Annotated[int, typer.Option(help="Images a set for features.", min=20)] = 500,
    feature_size: Annotated[
        int | None, typer.Option(help="Pixels a side for features [default: the backbone's in `fid`].", min=1)
    ] = None,
    image_size: Annotated[
        int | None, typer.Option(help="Pixels a side for costs and look-ahead [default: that of the runs].", min=1)
    ] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    out: Out = None,
    json: Json = False,
) -> None:
    """Advise on prompts or full finetuning for a task of one's own: predicted gap, interval, reasons, costs.

    Evidence: runs of this backbone, and where it was pretrained as theirs the paper's tables; each with its record.

    Examples: `vptft-analyze advise ./my-images --runs checkpoints/suite --budget storage=5MB -o reports/mine`,
    `vptft-analyze advise --score --runs checkpoints/suite`
    """
    from vptft.advise.budget import Budget
    from vptft.report.assembly.advice.tasks import named_task

    if score == bool(task):
        raise typer.BadParameter("give a folder or task, or --score, and not both")
    limits = Budget.parse(budget or [])
    found = None if task is None else named_task(task)
    size = image_size or _size_of(runs, backbone)
    with progress() as bars:
        start = _once_begun(bars)
        scheme = None
        if found is not None or runs:
            scheme = _scheme(backbone, feature_size, reference, images, seed, device, start, look_ahead, size)
        blocks = _evidence(runs or [], scheme, backbone, task, size if task else None)
        if found is None or task is None or scheme is None:
            _tell_record(blocks, scheme, out, json)
            return
        from vptft.report.assembly.advice.result import advice, costs_of
        from vptft.report.assembly.advice.tasks import new_task, with_data_side

        new = with_data_side(new_task(task, scheme, n_train=n_train, objective=objective), blocks)
        folder = out / "results" if out else None
        costs = costs_of(
            backbone, n_classes=len(found.classes), image_size=size, device=device,
            folder=folder / "profile" if folder else None, tell=start,
        )  # fmt: skip
        result = advice(
            new, blocks, costs=costs, budget=limits, scheme=scheme, folder=folder / "advice" if folder else None
        )
    _tell(result, out, json)


def _once_begun(bars: Any) -> Any:
    """Bars that appear when there is something to do: what is kept from before shows none."""

    def start(label: str) -> Any:
        begun: list[Any] = []

        def update(done: int, total: int) -> None:
            if not begun:
                begun.append(bars(label))
            begun[0](done, total)

        return update

    return start


def _scheme(
    backbone: str, feature_size: int | None, reference: str, images: int, seed: int, device: str, start: Any,
    epochs: int, image_size: int,
) -> "Scheme":  # fmt: skip
    from vptft.features.extractors import load_extractor
    from vptft.report.assembly.advice.look_ahead import settings_for
    from vptft.report.assembly.advice.tasks import Scheme

    return Scheme(
        extractor=load_extractor(f"{backbone}:{feature_size}" if feature_size else backbone, device=device),
        reference=reference, images=images, seed=seed, device=device, tell=start,
        look_ahead=settings_for(epochs, image_size=image_size, seed=seed) if epochs else None,
    )  # fmt: skip


def _size_of(runs: list[Path] | None, backbone: str) -> int:
    """Pixels a side of the runs' images; without runs, the standard size or what timm's models were made for."""
    from vptft.checkpoints.native import find_runs
    from vptft.tuning.settings import TrainSettings

    sizes = [run.info.image_size for run in find_runs(runs) if run.info.backbone == backbone] if runs else []
    plain = 224 if backbone.startswith("timm/") or "@" in backbone else TrainSettings().image_size
    return max(sizes, default=plain)


def _evidence(
    runs: list[Path], scheme: "Scheme | None", backbone: str, task: str | None, size: int | None
) -> "list[Block]":
    from vptft.advise.regression import LEAST
    from vptft.checkpoints.native import find_runs
    from vptft.errors import CheckpointError
    from vptft.features.pretraining import pretraining_of_extractor
    from vptft.report.assembly.advice.printed import published_evidence
    from vptft.report.assembly.advice.runs import evidence_of_runs
    from vptft.report.assembly.advice.tasks import names_of

    leave_out = names_of(task) if task else frozenset[str]()
    own = []
    if runs:
        find_runs(runs)  # a folder without a run is a mistake; runs that are no evidence for this are none
    try:
        own = evidence_of_runs(runs, scheme, leave_out=leave_out, image_size=size) if runs and scheme else []
    except CheckpointError as error:
        if not task:
            raise
        say(f"note: your runs are no evidence: {error.problem} {error.hint or ''}".rstrip())
    for block in own:
        if len(block.tasks) < LEAST:
            say(f"note: your runs hold both methods on {len(block.tasks)} other tasks; {LEAST} would be evidence.")
    pretraining = own[0].pretraining if own else pretraining_of_extractor(backbone)
    return own + published_evidence(backbone, pretraining, leave_out=leave_out)


def _tell(result: "Advice", out: Path | None, json: bool) -> None:
    """Write the advice: tables or JSON on stdout, how to read them on stderr."""
    from vptft.report.figures.advice import draw_advice
    from vptft.report.figures.style import save_figure

    if out:
        save_figure(draw_advice(result), out / "figures" / "advice")
    names = ("task", "backbone", "pretraining", "n_train", "recommendation", "reason", "choice", "paper", "record",
             "notes")  # fmt: skip
    if json:
        tables = ("predictions", "reasons", "costs", "settling", "evidence")
        write_json({
            **{name: getattr(result, name) for name in names},
            **{name: records(getattr(result, name)) for name in tables}, "settings": dict(result.settings),
        })  # fmt: skip
        return
    typer.echo(f"{result.task}, {result.backbone}, {result.n_train} training images: {result.reason}")
    typer.echo(f"To do: {result.choice}")
    typer.echo(f"The paper's rule: {result.paper or 'names none, a side is not known'}")
    typer.echo(f"Track record: {result.record}")
    write_table(result.predictions[list(PREDICTED)], as_json=False, title="Predicted gap (VPT - FT), points")
    shown = result.reasons[result.reasons["block"] == result.predictions["block"].iloc[0]]
    write_table(shown[list(WHY)], as_json=False, title="Why: points each predictor adds; range over the evidence")
    write_table(_readable(result.costs), as_json=False, title="Costs on this machine")
    write_table(result.settling.round(2), as_json=False, title="What would settle it: what each leaves of the gap's "
                "variance, and how probably a method is then named")  # fmt: skip
    say(f"rule: {result.settings['rule']}")
    say(f"prior: {result.settings['prior']}")
    for note in result.notes:
        say(f"note: {note}")


def _readable(costs: Any) -> Any:
    """Costs in millions, MB (10^6 bytes) and milliseconds."""
    import pandas as pd

    return pd.DataFrame({
        "method": costs["method"], "tuned (M)": costs["parameters_tuned"] / 1e6,
        "stored a task (MB)": costs["stored_bytes"] / 1e6, f"step of {costs['batch_size'].max()} (ms)":
        costs["step_ms"], "forward (ms/image)": costs["forward_ms"], "peak in training (MB)": costs["peak_bytes"] / 1e6,
        "over budget": costs["over_budget"],
    })  # fmt: skip


def _tell_record(blocks: "list[Block]", scheme: "Scheme | None", out: Path | None, json: bool) -> None:
    """Write how the advice has done."""
    from vptft.report.assembly.advice.result import track_record
    from vptft.report.figures.advice import draw_record
    from vptft.report.figures.style import save_figure

    result: Record = track_record(blocks, scheme=scheme, folder=out / "results" / "advice_record" if out else None)
    if out:
        save_figure(draw_record(result), out / "figures" / "advice-record")
    if json:
        tables = ("summary", "regrets", "calibration")
        write_json({
            "settings": dict(result.settings), "lines": list(result.lines().values()), "tasks": records(result.frame()),
            **{name: records(getattr(result, name)) for name in tables},
        })  # fmt: skip
        return
    for line in result.lines().values():
        typer.echo(line)
    write_table(result.summary[list(RECORD)], as_json=False, title="Each task foretold from the others")
    write_table(result.regrets, as_json=False, title="Mean regret, points: of the advice, of the rule, difference")
    write_table(result.calibration, as_json=False, title="Share of measured gaps that the interval held")
    say(f"rule: {result.settings['rule']}")
    say(f"prior: {result.settings['prior']}")
