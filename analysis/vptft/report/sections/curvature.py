"""How curved the loss is around each solution."""

from collections.abc import Iterator, Sequence

import pandas as pd

from vptft.report.figures.curvature import draw_curvature, draw_densities, main_scaling
from vptft.report.sections.columns import Column, table
from vptft.report.sections.parts import Analysis, Context, Picture, Table
from vptft.storage import slug
from vptft.why.landscape.curvature.measure import Curvature

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


def _tables(results: Sequence[Curvature]) -> list[Table]:
    scaling = main_scaling(results)
    whole = pd.concat(
        [result.summary().assign(task=result.task, method=result.method) for result in results], ignore_index=True
    )
    return [
        table(
            whole[(whole["scaling"] == scaling) & whole["quantity"].isin(SHOWN) & (whole["rank"].isin((-1, 0, 1)))],
            f"Curvature, {SCALED[scaling]}, mean over batches: eigenvalue 1 is the largest, −1 the smallest.",
            [
                Column("task", "task"),
                Column("method", "method"),
                Column("parameters", "space"),
                Column("matrix", "matrix"),
                Column("quantity", "quantity"),
                Column("rank", "rank", "d"),
                Column("value", "value", ".3g", ("lowest", "highest")),
                Column("batches", "n_batches", "d"),
                Column("reading", "reading"),
            ],
        )
    ]


ANALYSIS = Analysis(
    key="curvature", kind=Curvature, heading="Curvature", caution=CAUTION, command="landscape --what curvature",
    many=True, pictures=_pictures, tables=_tables, name=lambda result: f"{result.analysis}: {result.label}",
)  # fmt: skip
