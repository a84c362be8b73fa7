"""From pairs of runs to what differs in their recipes, and what a page says of a study besides its results."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vptft.checkpoints import fairness
from vptft.checkpoints.fairness import Fairness
from vptft.checkpoints.native import Run
from vptft.checkpoints.pairs import RunPair
from vptft.checkpoints.recipe import of_run
from vptft.provenance import provenance
from vptft.report.assembly.saved import identity, saved_or
from vptft.tuning.plan import Plan


def fairness_of(pairs: Sequence[RunPair], *, folder: Path | None = None) -> Fairness:
    """What differs between the two sides of each pair besides the method."""
    inputs = {"runs": [[identity(pair.vpt), identity(pair.ft)] for pair in pairs]}

    def make(settings: dict[str, Any]) -> Fairness:
        return fairness.measure([(of_run(pair.vpt), of_run(pair.ft)) for pair in pairs], settings=settings)

    return saved_or(Fairness, folder, inputs, make)


def study_summary(
    plan: Plan, runs: Sequence[Run], pairs: Sequence[RunPair], folder: Path, *, reference: str
) -> dict[str, Any]:
    """What a page says about a study besides its results: settings, runs, confounds, provenance."""
    info = runs[0].info
    settings = plan.settings
    shown = ("task", "method", "seed", "test_accuracy", "parameters_tuned", "parameters_total")
    return {
        "size": plan.name,
        "backbone": info.backbone,
        "backbone_sha256": info.backbone_sha256,
        "pretraining": info.pretraining,
        "reference": reference,
        "n_train": info.n_train,
        "n_test": settings.n_test,
        "epochs": settings.epochs,
        "image_size": settings.image_size,
        "batch_size": settings.batch_size,
        "prompt_length": settings.prompt_length,
        "seeds": list(plan.seeds),
        "searched": plan.search is not None,
        "learning_rates": {
            f"{run.info.method} on {run.info.task}": run.info.settings["lr"]
            for run in runs
            if run.info.seed == plan.seeds[0]
        },
        "notes": [
            f"{run.info.method} on {run.info.task}, seed {run.info.seed}: {n}" for run in runs for n in run.info.notes
        ],
        "confounds": fairness_of(pairs).differences(),
        "runs": [
            {**{name: getattr(run.info, name) for name in shown}, "folder": str(run.folder.relative_to(folder))}
            for run in runs
        ],
        "provenance": provenance(),
    }
