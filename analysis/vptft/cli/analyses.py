"""``overfitting``, ``landscape`` and ``attention``: one analysis each, from runs."""

from pathlib import Path
from typing import Annotated

import typer

from vptft.cli.options import Json, Out, Runs, Seed, progress, records, write_json, write_table

Images = Annotated[int, typer.Option("--images", help="Test images, drawn by --seed.", min=1)]


def overfitting(folders: Runs, out: Out = None, json: Json = False) -> None:
    """Training and test loss per epoch, and how far the test loss rises after its minimum.

    Example: `vptft-analyze overfitting checkpoints/quickstart -o reports/mine`
    """
    from vptft.checkpoints.native import find_runs
    from vptft.report import assemble
    from vptft.report.figures.overfitting import draw_overfitting
    from vptft.report.figures.style import save_figure

    result = assemble.curves(find_runs(folders), folder=out / "results" / "overfitting" if out else None)
    if out:
        save_figure(draw_overfitting(result), out / "figures" / "overfitting")
    write_table(result.runs, as_json=json)


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
    from vptft.report import assemble
    from vptft.report.figures.landscape import draw_slices
    from vptft.report.figures.style import save_figure
    from vptft.storage import slug

    runs = find_runs(folders)
    results = []
    with progress() as start:
        done = start("loss slices", len(runs))
        for i, run in enumerate(runs):
            folder = out / "results" / "landscape" / slug(str(run.folder)) if out else None
            results.append(
                assemble.loss_slice(run, n_images=images, points=points, extent=extent, seed=seed, folder=folder)
            )
            done(i + 1, len(runs))
    if out:
        save_figure(draw_slices(results), out / "figures" / "landscape")
    frames = [result.frame().assign(task=result.task, method=result.method) for result in results]
    write_table(pd.concat(frames, ignore_index=True), as_json=json)


def attention(
    vpt: Annotated[Path, typer.Argument(help="Run folder of a model with prompts.", metavar="VPT_RUN")],
    ft: Annotated[Path, typer.Argument(help="Run folder of the finetuned model.", metavar="FT_RUN")],
    images: Images = 32,
    seed: Seed = 0,
    out: Out = None,
    json: Json = False,
) -> None:
    """Prompt-aware attention rollout of VPT beside FT, on the same drawn images.

    Example: `vptft-analyze attention checkpoints/photo-count/vpt_deep/seed0 checkpoints/photo-count/ft/seed0
    -o reports/mine`, of runs that `train photo/count` made
    """
    from vptft.checkpoints.native import load_run
    from vptft.checkpoints.pairs import RunPair
    from vptft.report import assemble
    from vptft.report.figures.attention import draw_attention, draw_prompt_share
    from vptft.report.figures.style import save_figure
    from vptft.storage import slug

    pair = RunPair(vpt=load_run(vpt), ft=load_run(ft))
    target = out / "results" / "attention" / slug(pair.vpt.info.task) if out else None
    result = assemble.attention_maps(pair, n_images=images, seed=seed, folder=target)
    if out:
        save_figure(draw_attention(result), out / "figures" / "attention")
        save_figure(draw_prompt_share(result), out / "figures" / "prompt_share")
    if json:
        write_json({"settings": dict(result.settings), "rows": records(result.frame())})
    else:
        write_table(result.frame(), as_json=False)
