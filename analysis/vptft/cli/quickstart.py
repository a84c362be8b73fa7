"""``quickstart``: train, measure, report, on the embedded suite; a list of steps, each of which resumes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vptft.cli.options import BackboneName, Device, Json, progress, say, write_json

if TYPE_CHECKING:
    from vptft.checkpoints.native import Run
    from vptft.checkpoints.pairs import RunPair
    from vptft.tuning.plan import Plan
    from vptft.tuning.sweep import Job

REFERENCE = "photos"
N_SLICE, SLICE_POINTS, SLICE_EXTENT, N_ATTENTION = 16, 7, 0.5, 24
"""Images, points a side and extent of slices; images of attention maps."""


@dataclass(frozen=True)
class Step:
    """A part of the quickstart: its label, its share of the time, and what it does."""

    label: str
    weight: float
    go: Callable[[], object]


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


def measuring(plan: "Plan", runs: "Sequence[Run]", folder: Path, out: Path, device: str) -> list[Step]:
    """Return what is measured and written after training, in order."""
    from vptft.checkpoints.pairs import pair_runs
    from vptft.data import registry
    from vptft.features.extractors import load_extractor
    from vptft.report.assembly.attention import attention_maps
    from vptft.report.assembly.distances import distance, statistics
    from vptft.report.assembly.landscape import loss_slice
    from vptft.report.assembly.overfitting import curves
    from vptft.report.assembly.quadrants import quadrant_plane
    from vptft.report.assembly.recipes import fairness_of, study_summary
    from vptft.report.pages.page import build_page
    from vptft.storage import slug, write_json
    from vptft.when.distribution.distance import DistanceSettings

    results = out / "results"
    pairs = pair_runs(runs)
    first = [pair for pair in pairs if pair.vpt.info.seed == plan.seeds[0]]
    info = runs[0].info

    def measured() -> dict[str, Any]:
        network = load_extractor(f"{info.backbone}:{info.image_size}", device=device)
        n = plan.sizes[0]
        origin = statistics(registry.images(REFERENCE, n=n), network)
        return {
            task: distance(
                origin,
                statistics(registry.images(f"{task}:train", n=n), network),
                options=DistanceSettings(),
                folder=results / "distance" / slug(task),
            )
            for task in plan.tasks
        }

    def slice_of(run: "Run") -> object:
        target = results / "landscape" / f"{slug(run.info.task)}-{run.info.method}"
        return loss_slice(run, n_images=N_SLICE, points=SLICE_POINTS, extent=SLICE_EXTENT, seed=0, folder=target)

    def maps_of(pair: "RunPair") -> object:
        target = results / "attention" / slug(pair.vpt.info.task)
        return attention_maps(pair, n_images=N_ATTENTION, seed=0, folder=target)

    def page() -> None:
        write_json(results / "study.json", study_summary(plan, runs, pairs, folder, reference=REFERENCE))
        title = f"VPT or full finetuning? The embedded suite, size {plan.name}"
        build_page(results, out / "index.html", title=title, figures=out / "figures")

    return [
        Step("distances", 20, measured),
        Step("recipes", 1, lambda: fairness_of(pairs, folder=results / "fairness")),
        Step("quadrants", 1, lambda: quadrant_plane(pairs, measured(), seed=0, folder=results / "quadrants")),
        Step("curves", 1, lambda: curves(runs, folder=results / "overfitting")),
        *(Step(f"loss slice: {run.label}", 7, partial(slice_of, run)) for p in first for run in (p.vpt, p.ft)),
        *(Step(f"attention: {pair.vpt.info.task}", 3, partial(maps_of, pair)) for pair in first),
        Step("page", 8, page),
    ]
