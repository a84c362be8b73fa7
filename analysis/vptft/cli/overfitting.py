"""``overfitting``, from runs."""

from typing import Annotated

import typer

from vptft.cli.options import Json, Out, Runs, write_table

Images = Annotated[int, typer.Option("--images", help="Test images, drawn by --seed.", min=1)]


def overfitting(folders: Runs, out: Out = None, json: Json = False) -> None:
    """Training and test loss per epoch, and how far the test loss rises after its minimum.

    Example: `vptft-analyze overfitting checkpoints/quickstart -o reports/mine`
    """
    from vptft.checkpoints.native import find_runs
    from vptft.report.assembly.overfitting import curves
    from vptft.report.figures.overfitting import draw_overfitting
    from vptft.report.figures.style import save_figure

    result = curves(find_runs(folders), folder=out / "results" / "overfitting" if out else None)
    if out:
        save_figure(draw_overfitting(result), out / "figures" / "overfitting")
    write_table(result.runs, as_json=json)
