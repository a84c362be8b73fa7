"""``profile``: what methods and runs cost."""

from typing import Annotated

import typer

from vptft.cli.options import BackboneName, Device, Json, Out, Seed, progress, say, write_table


def _numbers(text: str) -> list[int]:
    """Read ``1,8``, each number once."""
    try:
        return list(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no list of whole numbers such as 1,8.") from error


def profile(
    names: Annotated[
        list[str],
        typer.Argument(
            help="Methods, and folders that are or hold runs; a folder called as a method is written ./NAME.",
            metavar="METHOD|RUN...",
        ),
    ],
    backbone: BackboneName = "dinov2-s",
    batch_size: Annotated[str, typer.Option(help="Images at a time; several with commas.")] = "16",
    prompt_length: Annotated[
        str, typer.Option(help="Prompts a layer; several with commas [default: 10, or the run's own].")
    ] = "",
    image_size: Annotated[int, typer.Option(help="Side of the input in pixels; a run has its own.", min=1)] = 56,
    classes: Annotated[int, typer.Option(help="Outputs of the head; a run has its own.", min=1)] = 10,
    repeats: Annotated[int, typer.Option(help="Times each is measured, in rounds over all.", min=1)] = 5,
    threads: Annotated[int, typer.Option(help="Threads on a CPU; its time is their sum.", min=1)] = 1,
    seed: Seed = 0,
    device: Device = "cpu",
    out: Out = None,
    json: Json = False,
) -> None:
    """Parameters, storage, time and memory of methods, by batch size and prompt length; accuracy too for runs.

    Times are of this machine: those of a CPU say nothing of a GPU.

    Example: `vptft-analyze profile ft vpt_deep lora --batch-size 1,8 --prompt-length 10,50 -o reports/costs`
    """
    from vptft.report.figures.profile import draw_profile
    from vptft.report.figures.style import save_figure
    from vptft.tuning.profile import measure
    from vptft.tuning.settings import TrainSettings
    from vptft.tuning.subjects import subjects_of

    settings = TrainSettings(image_size=image_size)
    subjects = subjects_of(names, backbone=backbone, n_classes=classes, settings=settings)
    with progress() as start:
        result = measure(
            subjects,
            batch_sizes=_numbers(batch_size),
            prompt_lengths=_numbers(prompt_length),
            repeats=repeats,
            threads=threads,
            seed=seed,
            device=device,
            on_turn=start("profile"),
        )
    for note in result.notes():
        say(note)
    if out:
        result.save(out / "results" / "profile")
        save_figure(draw_profile(result), out / "figures" / "profile")
    write_table(result.frame() if json else result.summary(), as_json=json)
