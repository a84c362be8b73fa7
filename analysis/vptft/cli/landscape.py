"""``landscape``, from runs."""

from typing import Annotated

import typer

from vptft.cli.options import Json, Out, Runs, Seed, progress, write_table

Images = Annotated[int, typer.Option("--images", help="Test images, drawn by --seed.", min=1)]


def landscape(
    folders: Runs,
    images: Images = 64,
    points: Annotated[int, typer.Option(help="Odd number of points a side.", min=3)] = 11,
    extent: Annotated[float, typer.Option(help="Largest step, in filter norms.")] = 0.5,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """A two-dimensional slice of the test loss around each run: a picture, not evidence.

    Example: `vptft-analyze landscape checkpoints/quickstart/photo-count -o reports/mine`
    """
    import pandas as pd

    from vptft.checkpoints.native import find_runs
    from vptft.report.assembly.landscape import loss_slice
    from vptft.report.figures.landscape import draw_slices
    from vptft.report.figures.style import save_figure
    from vptft.storage import slug

    runs = find_runs(folders)
    results = []
    with progress() as start:
        done = start("loss slices", len(runs))
        for i, run in enumerate(runs):
            folder = out / "results" / "landscape" / slug(str(run.folder)) if out else None
            results.append(loss_slice(run, n_images=images, points=points, extent=extent, seed=seed, folder=folder))
            done(i + 1, len(runs))
    if out:
        save_figure(draw_slices(results), out / "figures" / "landscape")
    frames = [result.frame().assign(task=result.task, method=result.method) for result in results]
    write_table(pd.concat(frames, ignore_index=True), as_json=json)
