"""``quickstart``: train, measure, report, on the embedded suite; a list of steps, each of which resumes."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vptft.cli.options import BackboneName, Device, Json, progress, say, write_json

if TYPE_CHECKING:
    from vptft.checkpoints.native import Run
    from vptft.report.assembly.study import Step
    from vptft.tuning.plan import Plan
    from vptft.tuning.sweep import Job

REFERENCE = "photos"
DISTANCE, N_SLICE, SLICE_POINTS, N_ATTENTION = 300, 16, 7, 24
"""Images of a distance where the plan takes all; images and points a side of slices; images of attention maps."""


def quickstart(
    full: Annotated[
        bool, typer.Option("--full", help="The whole suite: ten tasks, searched learning rates, three seeds; hours.")
    ] = False,
    backbone: BackboneName = "dinov2-s",
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the page.")] = Path("reports/quickstart"),
    runs: Annotated[Path, typer.Option(help="Folder of the runs.")] = Path("checkpoints/quickstart"),
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train VPT and FT on the embedded suite with a real backbone, measure both, and write one HTML page.

    About 10 minutes on two cores; interrupted, the same command goes on. `--full` runs the suite at its standard
    size into folders of its own.

    Example: `vptft-analyze quickstart` and open reports/quickstart/index.html
    """
    from dataclasses import replace

    from vptft.models.backbones import load_backbone
    from vptft.tuning import protocols
    from vptft.tuning.cells import final_runs
    from vptft.tuning.engines import Here
    from vptft.tuning.sweep import run_sweep

    plan = replace(protocols.SUITE if full else protocols.QUICK, backbone=backbone)
    if full:
        out, runs = out.with_name(f"{out.name}-{plan.name}"), runs.with_name(f"{runs.name}-{plan.name}")
    load_backbone(backbone, plan.settings.image_size)  # what is wrong with it would be wrong with every run
    cells = plan.cells()
    with progress() as start:
        overall = start(f"quickstart, {plan.name}", 100)
        done = -1

        def on_start(job: "Job") -> Callable[[int, int], None]:
            nonlocal done
            done += 1
            before, bar = done, start(f"{job.cell.method} on {job.cell.task}, seed {job.cell.settings.seed}")

            def update(epochs: int, total: int) -> None:
                bar(epochs, total)
                overall(round(1000 * TRAINING_SHARE * (before + epochs / total) / len(cells)), 1000)

            return update

        run_sweep(cells, runs, engine=Here(on_start), device=device, retry=True)
        finished = final_runs(cells, runs)
        steps = measuring(plan, finished, runs, out, device)
        weight, passed = sum(step.weight for step in steps), 0.0
        for step in steps:
            bar = start(step.label)
            bar(0, 1)
            step.go()
            passed += step.weight
            bar(1, 1)
            overall(round(1000 * (TRAINING_SHARE + (1 - TRAINING_SHARE) * passed / weight)), 1000)
    page = out / "index.html"
    if json:
        write_json({"page": str(page), "runs": str(runs)})
    else:
        say(f"The page: {page}")
        typer.echo(str(page))


TRAINING_SHARE = 0.6
"""Part of the whole time that goes into training; for the time left only."""


def measuring(plan: "Plan", runs: "Sequence[Run]", folder: Path, out: Path, device: str) -> "list[Step]":
    """Return what is measured and written after training, in order."""
    from vptft.report.assembly.study import RunStudy, Sizes, Step, facts_of
    from vptft.report.pages.page import build_page
    from vptft.storage import write_json

    study = RunStudy(
        runs=runs, out=out, reference=REFERENCE, device=device,
        sizes=Sizes(
            distance=plan.sizes[0] or DISTANCE, slice_images=N_SLICE, slice_points=SLICE_POINTS, maps=N_ATTENTION
        ),
    )  # fmt: skip

    def page() -> None:
        write_json(study.results / "study.json", facts_of(study, folder, size=plan.name))
        title = f"VPT or full finetuning? The embedded suite, size {plan.name}"
        build_page(study.results, out / "index.html", title=title, figures=out / "figures")

    return [*study.steps(), Step("page", 8, page)]
