"""``why``: everything that applies to some runs, on one page."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vptft.cli.options import (
    Compare,
    Device,
    Json,
    Seed,
    SomeRuns,
    progress,
    refuse_page_of,
    say,
    say_unpaired,
    writable,
    write_json,
)

if TYPE_CHECKING:
    from vptft.report.assembly.study import Step
    from vptft.report.pages.report import Written


FEWEST = 30
"""Images from which features and attention say anything."""


def why(
    folders: SomeRuns = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.", callback=writable)] = Path(
        "reports/why"
    ),
    reference: Annotated[
        str, typer.Option(help="Images that stand for pretraining's: a name (see `tasks list`) or a folder.")
    ] = "photos",
    images: Annotated[
        int,
        typer.Option(
            help="Images whose features are compared and whose attention is scored, each run: 30 or more, or 0 to "
            "leave both out; maps of a few images are drawn where the weights are there.",
            min=0,
        ),
    ] = 200,
    scored: Annotated[
        int | None,
        typer.Option(help="Test images whose attention is scored, where it shall be others than --images.", min=0),
    ] = None,
    sample: Annotated[int, typer.Option(help="Images, of those scored, for deletion and insertion.", min=1)] = 30,
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="Also what takes hours: lines between solutions, curvature, the escape test."),
    ] = False,
    compare: Compare = None,
    title: Annotated[str, typer.Option(help="Heading of the page.")] = "VPT or full finetuning: when, and why?",
    venue: Annotated[
        Literal["neurips", "iclr", "icml", "cvpr"] | None,
        typer.Option(help="Draw the files in OUT/figures for that venue's column or text width and letters."),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf/--no-pdf", help="Print the page, by a browser that is installed.")] = True,
    workers: Annotated[
        int, typer.Option(help="Processes that measure beside each other, each with its share of the cores.", min=1)
    ] = 1,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Measure everything that applies to the runs, and write one page that argues, with figures, tables and a PDF.

    Results are kept in OUT/results: interrupted, the same command goes on; a result that is deleted is made again,
    and nothing else. 42 runs of a ViT-S at 56 px took 37 minutes of one core with AVX-512, 90 of a busy one without,
    and 2 the second time. Beside the page: figures (PDF, SVG, PNG), tables (LaTeX, CSV), findings.json with its schema,
    provenance.json, report.pdf. Without RUNS the page is made again from the results in OUT, and nothing is measured.

    Examples: `vptft-analyze why checkpoints/suite -o reports/mine`, `vptft-analyze why -o reports/mine --venue cvpr`
    """
    from vptft.checkpoints.native import find_runs
    from vptft.report.assembly.study import RunStudy, Sizes, facts_of, measure_apart
    from vptft.report.pages.report import write_report
    from vptft.storage import write_json as save_json

    refuse_page_of("published", out / "results" / "published")
    if not folders:
        _tell(write_report(out / "results", out, title=title, pdf=pdf, venue=venue), {}, json)
        return
    scored = images if scored is None else scored
    for option, n in (("--images", images), ("--scored", scored)):
        if 0 < n < FEWEST:
            raise typer.BadParameter(f"{n} is neither 0 nor at least {FEWEST}.", param_hint=option)
    study = RunStudy(
        runs=find_runs(folders),
        out=out,
        reference=reference,
        device=device,
        seed=seed,
        disparity=True,
        thorough=thorough,
        compared_with_paper=compare is not None,
        sizes=Sizes(features=images, scores=scored, scored_curves=sample),
    )
    say_unpaired(study.runs, study.pairs)
    with progress() as start:
        if workers > 1:
            measure_apart(study, workers, start("measured beside each other"))
        steps = list(study.steps())
        overall = start("why", len(steps))
        for i, step in enumerate(steps):
            _go(step, start(step.label))
            overall(i + 1, len(steps))
    for key, reason in study.left_out.items():
        say(f"note: not measured, {key}: {reason}")
    save_json(study.results / "study.json", facts_of(study, folders[0]))
    _tell(write_report(study.results, out, title=title, pdf=pdf, venue=venue), study.left_out, json)


def _tell(written: "Written", left_out: dict[str, str], json: bool) -> None:
    for note in written.notes:
        say(f"note: {note}")
    if json:
        write_json({"page": str(written.page), "left_out": left_out})
    else:
        say(f"The page: {written.page}")
        typer.echo(str(written.page))


def _go(step: "Step", bar: "object") -> None:
    assert callable(bar)
    bar(0, 1)
    step.go()
    bar(1, 1)
