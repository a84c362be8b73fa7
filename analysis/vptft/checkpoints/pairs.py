"""Pairing runs: VPT and FT of the same task, seed, size and backbone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vptft.checkpoints.native import Run
from vptft.errors import CheckpointError, SettingsError


@dataclass(frozen=True, kw_only=True)
class RunPair:
    """A VPT run and an FT run that differ in the method."""

    vpt: Run
    ft: Run


def pair_runs(runs: Iterable[Run], *, method: str = "vpt_deep", against: str = "ft") -> list[RunPair]:
    """Pair runs by task, training size, seed, image size and backbone; runs without a partner are left out.

    Raises
    ------
    CheckpointError
        Two runs stand for the same cell, or no pair is found.
    """
    cells: dict[tuple[object, ...], dict[str, Run]] = {}
    for run in runs:
        if run.info.method not in (method, against):
            continue
        info = run.info
        cell = cells.setdefault((info.task, info.n_train, info.seed, info.image_size, info.backbone_sha256), {})
        if info.method in cell:
            raise CheckpointError(
                f"Two {info.method} runs of the same task, size and seed: {cell[info.method].folder} and {run.folder}.",
                "Give folders that hold one of them.",
            )
        cell[info.method] = run
    pairs = [RunPair(vpt=cell[method], ft=cell[against]) for cell in cells.values() if len(cell) == 2]
    if not pairs:
        raise CheckpointError(
            f"No pair of {method} and {against} with the same task, training size, seed, image size and backbone.",
            "`vptft-analyze runs FOLDER` lists what is there.",
        )
    return pairs


def unpaired(runs: Iterable[Run], pairs: Sequence[RunPair]) -> list[Run]:
    """Runs of the paired methods that found no partner, so nothing that is paired tells of them."""
    paired = {run.folder for pair in pairs for run in (pair.vpt, pair.ft)}
    methods = {run.info.method for pair in pairs for run in (pair.vpt, pair.ft)}
    return [run for run in runs if run.info.method in methods and run.folder not in paired]


def unlike_seeds(pairs: Sequence[RunPair]) -> list[str]:
    """What differs between runs that count as seeds of one method, task and size: then their spread is not of seeds."""
    cells: dict[tuple[object, ...], list[Run]] = {}
    for run in (run for pair in pairs for run in (pair.vpt, pair.ft)):
        info = run.info
        cells.setdefault((info.method, info.task, info.n_train, info.image_size, info.backbone_sha256), []).append(run)
    told = []
    for (method, task, *_), runs in cells.items():
        known = [{**run.info.settings, **run.info.options} for run in runs]
        shared = set.intersection(*map(set, known)) - {"seed", "key"}
        differ = [name for name in known[0] if name in shared and any(each[name] != known[0][name] for each in known)]
        if differ:
            said = "; ".join(
                f"{name} {', '.join(map(str, dict.fromkeys(str(k[name]) for k in known)))}" for name in differ
            )
            told.append(f"runs of {method} on {task} count as seeds and differ in more: {said}")
    return told


def require_one_setting(pairs: Sequence[RunPair]) -> None:
    """Refuse pairs of a task that differ in more than their seed: what is pooled over seeds must be of one setting.

    Raises
    ------
    SettingsError
        A task has several training sizes, image sizes or backbones.
    """
    found: dict[str, set[tuple[int | None, int, str]]] = {}
    for pair in pairs:
        info = pair.vpt.info
        found.setdefault(info.task, set()).add((info.n_train, info.image_size, info.backbone))
    for task, settings in found.items():
        if len(settings) > 1:
            told = "; ".join(f"{n} images, {size} px, {backbone}" for n, size, backbone in sorted(settings, key=str))
            raise SettingsError(
                f"{task} has runs of several settings, which are no seeds of one: {told}.",
                "Give the folders of one setting; `vptft-analyze datasize` and `sensitivity` compare several.",
            )
