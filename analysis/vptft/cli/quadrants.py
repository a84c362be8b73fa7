"""``quadrants``: who wins where, from runs, from a table, or from the paper's own numbers."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vptft.cli.options import (
    LAID_OVER,
    Compare,
    Device,
    Json,
    Out,
    Seed,
    Venue,
    all_of,
    progress,
    say,
    say_unpaired,
    write_findings,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from vptft.checkpoints.pairs import RunPair
    from vptft.evidence.results import Result
    from vptft.features.extractors import Extractor
    from vptft.when.distribution.distance import SetDistance
    from vptft.when.quadrants.plane import Quadrants

SHOWN = (
    "task", "objective_is_far", "data_is_far", "distance", "disparity", "gap_points", "low_points", "high_points",
    "winner", "clear", "n_seeds",
)  # fmt: skip
"""Columns of the drawn table; JSON has them all."""
OUTCOMES = ("task", "seed", "n_test", "both", "only_vpt", "only_ft", "neither", "gap_points", "low_points",
            "high_points", "p", "p_holm")  # fmt: skip


def quadrants(
    sources: Annotated[
        list[Path] | None,
        typer.Argument(help="Run folders, folders that hold runs, or one CSV with a row a task.", metavar="[RUNS|CSV]"),
    ] = None,
    published: Annotated[bool, typer.Option("--published", help="The paper's own tables: FGVC, and VTAB-1k.")] = False,
    reference: Annotated[str, typer.Option(help="The pretraining set, or what stands in for it.")] = "photos",
    extractor: Annotated[
        str,
        typer.Option("--extractor", help="inception (what FID means), dinov2-s, dinov2-s:224, timm/NAME (see `fid`)."),
    ] = "dinov2-s",
    weights: Annotated[Path | None, typer.Option(help="File of the Inception weights.")] = None,
    images: Annotated[int, typer.Option(help="Images a set for the distance.", min=2)] = 500,
    disparity: Annotated[
        bool, typer.Option(help="Measure the objectives' disparity (see `objective`); else near or far by the paper.")
    ] = True,
    boundary: Annotated[
        Literal["design", "median", "fitted"] | None,
        typer.Option(help="What parts near from far data; the design's where there is one, else the median."),
    ] = None,
    compare: Compare = None,
    seed: Seed = 0,
    device: Device = "cpu",
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Who wins where: the gap between VPT and FT against data distance and objective, and whether a rule foretells it.

    A CSV has the columns task, accuracy_vpt, accuracy_ft (percent), distance, objective_is_far (true or false), and
    may have disparity, group, objective, pretraining, measure, and n_seeds, the trainings behind each accuracy, without
    which there is no verdict; or seed, with a row a task and training, which gives each gap its interval. With `-o`
    figures come for one column and for two.

    Examples: `vptft-analyze quadrants checkpoints/quickstart -o reports/mine`, `vptft-analyze quadrants --published`,
    `vptft-analyze quadrants mine.csv --boundary fitted`
    """
    from vptft.report.assembly.quadrant_tables import plane_of_csv, published_planes

    given = sources or []
    if compare and (published or (given and given[0].suffix.lower() == ".csv")):
        raise typer.BadParameter("only runs can be compared with the published numbers", param_hint="--compare")
    if published == bool(given):
        raise typer.BadParameter("give runs or a CSV, or --published, and not both")
    results = out / "results" if out else None
    planes: dict[str, Quadrants]
    beside: dict[str, Result] = {}
    if published:
        planes = published_planes(boundary=boundary, seed=seed)
        reference = ""
    elif given[0].suffix.lower() == ".csv" and len(given) == 1:
        planes = {"quadrants": plane_of_csv(given[0], boundary=boundary, seed=seed)}
        reference = ""
    else:
        from vptft.checkpoints.native import find_runs
        from vptft.checkpoints.pairs import pair_runs
        from vptft.features.extractors import load_extractor
        from vptft.report.assembly.outcomes import outcomes_of
        from vptft.report.assembly.quadrants import quadrant_plane
        from vptft.report.assembly.recipes import fairness_of
        from vptft.report.assembly.reproduction import reproduction_of

        runs = find_runs(given)
        pairs = pair_runs(runs)
        say_unpaired(runs, pairs)
        network = load_extractor(extractor, weights=weights, device=device)
        planes = {
            "quadrants": quadrant_plane(
                pairs,
                _distances(pairs, network, reference, images, seed, results),
                disparities=_disparities(pairs, network, seed, results) if disparity else None,
                boundary=boundary,
                seed=seed,
                folder=results / "quadrants" if results else None,
            )
        }
        beside["outcomes"] = outcomes_of(pairs, seed=seed, folder=results / "outcomes" if results else None)
        if compare:
            beside["reproduction"] = reproduction_of(runs, folder=results / "reproduction" if results else None)
        for confound in fairness_of(pairs, folder=results / "fairness" if results else None).differences():
            say(f"warning: the two sides differ in more than the method: {confound}")
    _tell(planes, beside, reference, out, json)


def _distances(
    pairs: "Sequence[RunPair]", network: "Extractor", reference: str, images: int, seed: int, results: Path | None
) -> "dict[str, SetDistance]":
    from vptft.report.assembly.distances import distance, statistics
    from vptft.report.assembly.samples import images_up_to
    from vptft.storage import slug
    from vptft.when.distribution.distance import DistanceSettings

    tasks = sorted({pair.vpt.info.task for pair in pairs})
    with progress() as start:
        sets = {
            name: statistics(images_up_to(name, images, seed), network, on_batch=start(name))
            for name in (reference, *tasks)
        }
    return {
        task: distance(
            sets[reference],
            sets[task],
            options=DistanceSettings(seed=seed, components=network.components),
            folder=results / "distance" / slug(task) if results else None,
        )
        for task in tasks
    }


def _disparities(pairs: "Sequence[RunPair]", network: "Extractor", seed: int, results: Path | None) -> dict[str, float]:
    from vptft.report.assembly.objective import objective_disparity, task_features
    from vptft.when.objective.calibration import IMAGES, off_scale

    tasks = sorted({pair.vpt.info.task for pair in pairs})
    with progress() as start:
        found = [
            task_features(task, network, n=IMAGES, draw=seed, on_batch=start(f"labels of {task}")) for task in tasks
        ]
        folder = results / "objective" if results else None
        result = objective_disparity(found, slow=False, seed=seed, folder=folder, on_done=start("disparity"))
    scores = result.scores()
    for row in scores[scores["disparity"].isna()].to_dict("records"):
        say(f"note: no disparity of {row['task']}: {row['note']}")
    for note in off_scale(scores):
        say(f"note: {note}")
    return dict(zip(scores["task"], scores["disparity"].astype(float), strict=True))


def _tell(
    planes: "Mapping[str, Quadrants]", beside: "Mapping[str, Result]", reference: str, out: Path | None, json: bool
) -> None:
    """Write tables, findings and figures of every plane; of few networks, what each pair of them is right on."""
    from vptft.evidence.verdicts import SEEDS_FOR_A_VERDICT
    from vptft.report.figures.distance_bars import draw_distance_bars
    from vptft.report.figures.gaps import draw_gaps
    from vptft.report.figures.quadrants import COLUMN, draw_quadrants
    from vptft.report.figures.style import fitting, page_width, save_figure

    for name, result in planes.items():
        if out:
            result.save(out / "results" / name)
            save_figure(draw_gaps(result), out / "figures" / name.replace("quadrants", "gaps"))
            if result.frame()["distance"].notna().any():
                for suffix, width in (("", page_width()), ("-column", min(fitting(COLUMN), COLUMN))):
                    plane = draw_quadrants(result, reference=reference, width=width)
                    save_figure(plane, out / "figures" / f"{name}{suffix}")
                    bars = draw_distance_bars(result, reference=reference, width=width)
                    save_figure(bars, out / "figures" / f"{name.replace('quadrants', 'distance-bars')}{suffix}")
        for row in result.predictions.to_dict("records"):
            say(
                f"{row['pretraining']}: the paper's rule, {row['boundary']} boundary, names {row['accuracy']:.0%} "
                f"[{row['low']:.0%}, {row['high']:.0%}] of {row['n']} unseen tasks; always VPT {row['always_vpt']:.0%}"
            )
    if json:
        told = {name: all_of(result, "predictions") for name, result in planes.items()}
        write_json({**told, **{name: all_of(result) for name, result in beside.items()}})
        return
    for name, result in planes.items():
        write_table(result.frame()[list(SHOWN)], as_json=False, title=name if len(planes) > 1 else "")
        write_findings(result.findings())
    if "outcomes" in beside:
        networks = beside["outcomes"].frame()
        if networks.groupby("task")["seed"].count().min() < SEEDS_FOR_A_VERDICT:
            title = "Image by image: these networks alone, for too few of them bear a verdict on their methods"
            write_table(networks[list(OUTCOMES)], as_json=False, title=title)
    if "reproduction" in beside:
        laid_over = beside["reproduction"]
        write_table(laid_over.frame()[list(LAID_OVER)], as_json=False, title=str(laid_over.settings["rule"]))
