"""``attention``, from runs."""

from pathlib import Path
from typing import Annotated

import typer

from vptft.cli.options import Json, Out, Seed, records, write_json, write_table

Images = Annotated[int, typer.Option("--images", help="Test images, drawn by --seed.", min=1)]


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
    from vptft.report.assembly.attention import attention_maps
    from vptft.report.figures.attention import draw_attention, draw_prompt_share
    from vptft.report.figures.style import save_figure
    from vptft.storage import slug

    pair = RunPair(vpt=load_run(vpt), ft=load_run(ft))
    target = out / "results" / "attention" / slug(pair.vpt.info.task) if out else None
    result = attention_maps(pair, n_images=images, seed=seed, folder=target)
    if out:
        save_figure(draw_attention(result), out / "figures" / "attention")
        save_figure(draw_prompt_share(result), out / "figures" / "prompt_share")
    if json:
        write_json({"settings": dict(result.settings), "rows": records(result.frame())})
    else:
        write_table(result.frame(), as_json=False)
