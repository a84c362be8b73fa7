"""How curved the loss is around each solution."""

from collections.abc import Iterator, Sequence

from vptft.report.figures.curvature import draw_curvature
from vptft.report.sections.parts import Analysis, Context, Picture
from vptft.why.landscape.curvature.measure import Curvature

CAUTION = (
    "Raw flatness can be rescaled away without changing the function (Dinh et al. 2017); the scaled columns cannot, "
    "but methods that move different parameters still have curvatures of different kinds. Descriptive: no verdict "
    "rests on it."
)


def _pictures(results: Sequence[Curvature], context: Context) -> Iterator[Picture]:
    yield Picture(
        name="curvature",
        figure=draw_curvature(results),
        alt="Largest and smallest Hessian eigenvalues, trace and sharpness by method and parameter space.",
        caption="Hessian of the loss, parameters scaled by their own size: extreme eigenvalues on a symmetric "
        "logarithmic axis, trace, m-sharpness; bars are ranges over batches, seeds and runs.",
    )


ANALYSIS = Analysis(
    key="curvature", kind=Curvature, heading="Curvature", caution=CAUTION, command="landscape --what curvature",
    many=True, pictures=_pictures, name=lambda result: f"{result.analysis}: {result.label}",
)  # fmt: skip
