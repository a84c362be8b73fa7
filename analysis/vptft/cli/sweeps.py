"""``sweep`` and ``protocol``: many trainings from a plan; and what both print."""

import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vptft.cli.options import BackboneName, Device, Json, progress, say, write_json, write_rows
from vptft.storage import slug

if TYPE_CHECKING:
    from vptft.tuning.plan import Cell, Plan
    from vptft.tuning.sweep import Job, Progress

Engine = Literal["here", "workers", "ray"]
Emit = Literal["plan", "commands"]

Root = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the runs [default: checkpoints/NAME].")]
EngineName = Annotated[
    Engine | None,
    typer.Option(help="here, workers (processes of this machine), ray (a cluster). [default: workers if more than 1]"),
]
Workers = Annotated[int, typer.Option(help="Processes of this machine.", min=1)]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say which cells there are and how long they will take.")]
Retry = Annotated[bool, typer.Option("--retry", help="Train cells again that failed before.")]
Status = Annotated[bool, typer.Option("--status", help="Say what is there, and train nothing.")]
Gpus = Annotated[float, typer.Option(help="GPUs a cell takes on Ray; a part of one will do.", min=0)]
Cpus = Annotated[float, typer.Option(help="CPUs a cell takes on Ray.", min=0.1)]
Address = Annotated[str | None, typer.Option(help="Address of the Ray cluster; one is started here without it.")]


def sweep(
    plan: Annotated[Path, typer.Argument(help="A plan: YAML (see `protocol NAME --emit plan`).", metavar="PLAN")],
    out: Root = None,
    engine: EngineName = None,
    workers: Workers = 1,
    only: Annotated[
        list[str] | None, typer.Option(help="Train this cell alone, by the folder --dry-run names; may be repeated.")
    ] = None,
    dry_run: DryRun = False,
    status: Status = False,
    emit: Annotated[
        Literal["commands"] | None,
        typer.Option(help="commands: write one command a cell, in waves, for a Slurm array; train nothing."),
    ] = None,
    retry: Retry = False,
    gpus: Gpus = 0,
    cpus: Cpus = 1,
    address: Address = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Train every cell of a plan that is missing: tasks x methods x sizes x seeds, with their searches.

    A cell that fails is reported and does not stop the rest; the same command goes on after an interruption, and does
    nothing where everything is there.

    Example: `vptft-analyze sweep plan.yaml --workers 2`
    """
    from vptft.tuning.plan_files import read_plans
    from vptft.tuning.sizes import check_known

    plans = read_plans(plan)
    check_known(task for each in plans for task in each.tasks)
    cells = {folder: cell for each in plans for folder, cell in each.cells().items()}
    root = out or Path("checkpoints") / slug(plans[0].name)
    if emit == "commands":
        on = "" if device == "cpu" else f" --device {shlex.quote(device)}"
        _write_commands(cells, f"vptft-analyze sweep {shlex.quote(str(plan))} -o {shlex.quote(str(root))}{on}")
        return
    _go(
        cells, root, budgets=_budgets(plans), engine=_engine(engine, workers, cpus, gpus, address), workers=workers,
        only=frozenset(only or ()), dry_run=dry_run, status=status, retry=retry, device=device, as_json=json,
    )  # fmt: skip


def protocol(
    name: Annotated[
        str, typer.Argument(help="suite, suite-98, vtab1k, datasize, oneshot, controls, prompts, overfitting.")
    ],
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Tasks, or collections of them [default: the protocol's].")
    ] = None,
    methods: Annotated[str | None, typer.Option(help="Methods, by commas [default: the protocol's].")] = None,
    backbone: BackboneName = "dinov2-s",
    recipe: Annotated[str, typer.Option(help="even, or kmnp: KMnP/vpt's own, confounds and all.")] = "even",
    image_size: Annotated[int | None, typer.Option(help="Side of the input [default: the protocol's].", min=1)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the training images.", min=1)] = None,
    seeds: Annotated[int | None, typer.Option(help="Only so many of its seeds.", min=1)] = None,
    n_train: Annotated[int | None, typer.Option(help="Training images [default: the protocol's].", min=2)] = None,
    n_val: Annotated[int | None, typer.Option(help="Validation images [default: the protocol's].", min=2)] = None,
    n_test: Annotated[int | None, typer.Option(help="Test images [default: the protocol's].", min=2)] = None,
    out: Root = None,
    engine: EngineName = None,
    workers: Workers = 1,
    dry_run: DryRun = False,
    status: Status = False,
    emit: Annotated[
        Literal["plan"] | None, typer.Option(help="plan: write it as YAML for `sweep`; train nothing.")
    ] = None,
    retry: Retry = False,
    gpus: Gpus = 0,
    cpus: Cpus = 1,
    address: Address = None,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Run a standard study: VTAB-1k, data sizes, one shot, the paper's controls, choices about prompts, the suite.

    Every method gets as many trials on validation; no choice looks at test images.

    Example: `vptft-analyze protocol controls photo/count plain/count --workers 2`
    """
    from vptft.data import registry
    from vptft.tuning.plan import Arm
    from vptft.tuning.plan_files import file_of
    from vptft.tuning.protocols import find_protocol, fitted
    from vptft.tuning.sizes import check_known

    found = find_protocol(name)
    if found.sizes and (n_train is not None or n_val is not None):
        raise typer.BadParameter(f"{name} takes no --n-train or --n-val: it has its own sizes, {found.sizes}.")
    arms = [Arm(method=each.strip()) for each in (methods.split(",") if methods else found.methods)]
    named = [member for each in (tasks or found.tasks) for member in registry.members(each)]
    check_known(named)
    plans, left_out = found.plans(named, arms, backbone)
    plans = [
        fitted(
            plan, recipe=recipe, image_size=image_size, epochs=epochs, seeds=seeds, n_train=n_train, n_val=n_val,
            n_test=n_test,
        )
        for plan in plans
    ]  # fmt: skip
    for line in left_out:
        say(f"left out: {line}")
    if emit == "plan":
        typer.echo("---\n".join(file_of(plan) for plan in plans), nl=False)
        return
    cells = {folder: cell for plan in plans for folder, cell in plan.cells().items()}
    _go(
        cells, out or Path("checkpoints") / name, budgets=_budgets(plans),
        engine=_engine(engine, workers, cpus, gpus, address), workers=workers, only=frozenset(), dry_run=dry_run,
        status=status, retry=retry, device=device, as_json=json,
    )  # fmt: skip


def _engine(name: Engine | None, workers: int, cpus: float, gpus: float, address: str | None) -> Callable[..., Any]:
    """Return what makes the engine, given what is called when a cell starts; nothing is started before."""

    def make(on_start: "Callable[[Job], Callable[[int, int], None]]") -> Any:
        from vptft.tuning import engines

        if name == "ray":
            return engines.Ray(address=address, cpus=cpus, gpus=gpus)
        if name == "workers" or (name is None and workers > 1):
            return engines.Workers(workers)
        return engines.Here(on_start)

    return make


def _go(
    cells: "Mapping[str, Cell]",
    root: Path,
    *,
    budgets: Mapping[str, int],
    engine: Callable[..., Any],
    workers: int,
    only: frozenset[str],
    dry_run: bool,
    status: bool,
    retry: bool,
    device: str,
    as_json: bool,
) -> None:
    from vptft.tuning.sweep import look, run_sweep, to_train

    _say_budgets(budgets)
    before = look(cells, root)
    _check_own_tasks(cells, before, root)
    if status and not dry_run:
        _write(cells, before, root, as_json)
        return
    wanted = to_train(cells, before, only=only, retry=retry)
    left = _left_out(cells, wanted)
    if dry_run:
        _estimated(cells, before, wanted, left, root, workers, device, as_json)
        return
    kept = {folder: cell for folder, cell in cells.items() if folder not in left}
    with progress() as start:
        overall = start(f"{len(kept)} cells", len(kept))

        def on_start(job: "Job") -> Callable[[int, int], None]:
            return start(f"{job.cell.kind}: {job.cell.method} on {job.cell.task}, seed {job.cell.settings.seed}")

        running = engine(on_start)
        try:
            found = run_sweep(
                kept, root, engine=running, device=device, retry=retry, only=only - left,
                on_cell=lambda states: overall(len(kept) - states.count("missing"), len(kept)),
            )  # fmt: skip
        finally:
            if hasattr(running, "close"):
                running.close()
    found.states = before.states | found.states
    _write(cells, found, root, as_json)
    asked = [state for folder, state in found.states.items() if not only or folder in only]
    if left or {"failed", "blocked"} & set(asked):
        raise typer.Exit(1)


def _check_own_tasks(cells: "Mapping[str, Cell]", before: "Progress", root: Path) -> None:
    """Refuse runs that were made when a name of the user's own stood for other images."""
    if "done" not in before.states.values():
        return  # what reads runs takes seconds to import
    from vptft.tuning.cells import check_images

    check_images(cells, before, root)


def _left_out(cells: "Mapping[str, Cell]", wanted: "Sequence[str]") -> set[str]:
    """Say which of the cells to be trained ask for more images than there are, and return these cells' folders."""
    from vptft.tuning.sizes import out_of_reach

    left, reasons = out_of_reach(cells, wanted)
    for reason in reasons:
        say(f"left out: {reason}")
    return left


def _budgets(plans: "Sequence[Plan]") -> dict[str, int]:
    """Trials of each method over all plans; of plans that differ, the most."""
    told: dict[str, int] = {}
    for plan in plans:
        for method, count in plan.budgets().items():
            told[method] = max(count, told.get(method, 0))
    return told


def _say_budgets(budgets: Mapping[str, int]) -> None:
    trials = ", ".join(f"{method} {count}" for method, count in budgets.items())
    if any(budgets.values()):
        equal = "equal" if len(set(budgets.values())) == 1 else "NOT EQUAL, which favours the larger"
        say(f"Trials on validation, {equal}: {trials}.")


def _estimated(
    cells: "Mapping[str, Cell]",
    before: "Progress",
    wanted: "Sequence[str]",
    left: set[str],
    root: Path,
    workers: int,
    device: str,
    as_json: bool,
) -> None:
    from vptft.tuning.estimates import estimate, hours, to_rebuild

    states = before.states
    missing = [cells[folder] for folder in wanted if folder not in left]
    again = to_rebuild(cells, missing, root)
    seconds = estimate([*again, *missing], device=device)
    if as_json:
        write_json([{**_row(cell, states[folder]), "seconds": seconds.get(folder)} for folder, cell in cells.items()])
        return
    rows: dict[tuple[str, str, str], dict[str, Any]] = {}
    redone = {cell.folder for cell in again}
    for cell in [*again, *missing]:
        kind = "rebuild" if cell.folder in redone else cell.kind
        row = rows.setdefault(
            (cell.task, cell.method, kind),
            {"task": cell.task, "method": cell.method, "kind": kind, "cells": 0, "minutes": 0.0},
        )
        row["cells"] += 1
        row["minutes"] += (seconds[cell.folder] or 0.0) / 60
    write_rows(list(rows.values()), title="To be trained")
    untimed = sum(each is None for each in seconds.values())
    what = f"{len(missing)} of {len(cells)} cells are missing"
    if left:
        what += f" and can be trained ({len(left.intersection(wanted))} cannot)"
    if again:
        what += f", {len(again)} that others start from lack their weights and are trained again"
    said = f"{what}: {hours(seconds, workers):.2f} h on {workers} worker(s)"
    say(said + (f", and {untimed} that could not be timed here." if untimed else "."))


def _write_commands(cells: "Mapping[str, Cell]", command: str) -> None:
    """One command a line, wave by wave: those of one wave need nothing of each other."""
    from vptft.tuning.sweep import waves

    for number, wave in enumerate(waves(cells), start=1):
        typer.echo(f"# wave {number}: {len(wave)} cells; start it when the wave before has ended")
        for folder in wave:
            typer.echo(f"{command} --only {shlex.quote(folder)}")


def _write(cells: "Mapping[str, Cell]", found: "Progress", root: Path, as_json: bool) -> None:
    if as_json:
        rows = [
            {**_row(cell, found.states[folder]), "problem": found.problems.get(folder)}
            for folder, cell in cells.items()
        ]
        write_json({"root": str(root), "cells": rows})
        return
    counts: dict[tuple[str, str], dict[str, Any]] = {}
    for folder, cell in cells.items():
        row = counts.setdefault(
            (cell.method, cell.kind),
            {
                "method": cell.method,
                "kind": cell.kind,
                "done": 0,
                "diverged": 0,
                "failed": 0,
                "blocked": 0,
                "missing": 0,
            },
        )
        row[found.states[folder]] += 1
    write_rows(list(counts.values()), title=str(root))
    for folder, problem in found.problems.items():
        say(f"{found.states[folder]}: {folder}: {problem}")


def _row(cell: "Cell", state: str) -> dict[str, Any]:
    return {
        "folder": cell.folder, "kind": cell.kind, "task": cell.task, "method": cell.method,
        "n_train": cell.settings.n_train, "seed": cell.settings.seed, "state": state,
    }  # fmt: skip
