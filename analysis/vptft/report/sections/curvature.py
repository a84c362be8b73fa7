"""How curved the loss is around each solution."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from vptft.report.figures.curvature import draw_curvature, draw_densities, main_scaling
from vptft.report.sections.columns import METHOD, Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.storage import slug
from vptft.why.landscape.curvature.measure import ENOUGH, Curvature

CAUTION = (
    "Raw flatness can be rescaled away without changing the function (Dinh et al. 2017); the scaled columns cannot, "
    "but methods that move different parameters still have curvatures of different kinds. Descriptive: no verdict "
    "rests on it."
)
SCALED = {
    "element": "every parameter scaled by its own size",
    "filter": "every filter scaled by its own norm",
    "none": "raw: rescaling the network changes it",
}
SHOWN = ("eigenvalue", "trace", "sharpness", "m-sharpness")


def _pictures(results: Sequence[Curvature], context: Context) -> Iterator[Picture]:
    for task in dict.fromkeys(result.task for result in results):
        own = [result for result in results if result.task == task]
        yield Picture(
            name=f"curvature-{slug(task)}",
            figure=draw_curvature(own),
            alt=f"Largest and smallest Hessian eigenvalues, trace and sharpness by method and parameter space: {task}.",
            caption=f"{task}: Hessian of the loss, {SCALED[main_scaling(own)]}: extreme eigenvalues on a "
            "symmetric logarithmic axis, trace, m-sharpness; bars are ranges over batches, seeds and runs.",
            task=task,
        )
        for space, figure in draw_densities(own).items():
            yield Picture(
                name=f"density-{slug(f'{task} {space}')}",
                figure=figure,
                alt=f"Spectral density of the Hessian in the {space} by method: {task}.",
                caption=f"{task}: where the eigenvalues of the Hessian lie, {space}, by stochastic Lanczos quadrature: "
                "the share of eigenvalues a unit of the axis; lines are means over probes, batches and runs, bands "
                "their range.",
                task=task,
            )


def over_runs(results: Sequence[Curvature]) -> pd.DataFrame:
    """Every number over the runs of a task and method: the mean, and the range over batches, seeds and runs.

    A reading of fewer than three runs is of these, and with fewer than three batches too a picture.
    """
    whole = pd.concat(
        [result.summary().assign(task=result.task, method=result.method) for result in results], ignore_index=True
    )
    by = ["task", "method", "space", "matrix", "scaling", "quantity", "rank"]
    out = whole.groupby(by, sort=False, as_index=False).agg(
        value=("value", "mean"), lowest=("lowest", "min"), highest=("highest", "max"), n_runs=("value", "size"),
        n_batches=("n_batches", "min"),
    )  # fmt: skip
    of_one = np.where(out["n_batches"] < ENOUGH, "picture", "average of a run")
    return out.assign(reading=np.where(out["n_runs"] < ENOUGH, of_one, "average over runs"))


def _tables(results: Sequence[Curvature]) -> list[Table]:
    scaling = main_scaling(results)
    whole = over_runs(results)
    return [
        table(
            whole[(whole["scaling"] == scaling) & whole["quantity"].isin(SHOWN) & (whole["rank"].isin((-1, 0, 1)))],
            f"Curvature, {SCALED[scaling]}, mean over runs and batches with their range: eigenvalue 1 is the "
            "largest, −1 the smallest.",
            [
                Column("task", "task"),
                METHOD,
                Column("parameters", "space"),
                Column("matrix", "matrix"),
                Column("quantity", "quantity"),
                Column("rank", "rank", "d"),
                Column("value", "value", ".3g", ("lowest", "highest")),
                Column("runs", "n_runs", "d"),
                Column("batches", "n_batches", "d"),
                Column("reading", "reading"),
            ],
        )
    ]


ANALYSIS = Analysis(
    key="curvature", kind=Curvature, heading="Curvature", caution=CAUTION, command="landscape --what curvature",
    many=True, pictures=_pictures, tables=_tables, name=lambda result: f"{result.analysis}: {result.label}",
)  # fmt: skip
