"""Evidence from the paper's tables: gaps without noise, the side of the objective, and the number of images."""

import re
from collections.abc import Collection

import pandas as pd

from vptft.advise.tasks import Block, Trained
from vptft.published import tables

PRINTED = {tables.SUPERVISED: "supervised", tables.MAE: "masked", tables.MOCO: "contrastive"}
"""Pretraining objectives by the tables' names."""
NETWORKS = {tables.VIT: "ViT-B/16", tables.SWIN: "Swin-B"}


OTHER_TRAININGS = ("clip", "beit", "deit", "distil", "augreg_in1k", "max")
"""Parts of names whose network was pretrained in yet another way than the tables' of that kind."""
OF_TRAINING = 0.8
"""Share of VTAB-1k's 1,000 images that is no validation: sizes are of training images alone, as of every other cell."""


def published_evidence(backbone: str, pretraining: str, *, leave_out: Collection[str] = ()) -> list[Block]:
    """Evidence of the paper's tables, a block for each backbone and pretraining; never pooled over them.

    VTAB-1k, and of ViT-B as supervised FGVC and the data-size tables. Of each task the objective's side and n are
    known, of FGVC its FID in another network's features, which is no distance in the backbone's own space. The side of
    the data, for the paper's rule alone: natural near and specialized far on VTAB-1k, whose FIDs are printed as bars
    only; by the median FID on FGVC. Trainings behind a cell are five, their spread is not printed, so it is part of
    the residual.
    """
    printed = tables.load()
    gaps = tables.gaps(printed.accuracies)
    gaps = gaps[~gaps["repeats"] & gaps["setting"].isin(["vtab1k", "data_scale", "fgvc"])]
    gaps = gaps[~gaps["task"].isin(leave_out)]
    gaps["images"] = gaps["images"].where(gaps["setting"] != "vtab1k", OF_TRAINING * gaps["images"])
    fids = printed.fids.set_index("task")["fid"]
    blocks = []
    for key, part in gaps.groupby(["backbone", "pretraining"], sort=False):
        network, source = map(str, key)
        kind = PRINTED[source]
        tasks = tuple(_printed(str(task), rows, fids) for task, rows in part.groupby("task", sort=False))
        blocks.append(
            Block(
                name=f"Han et al. 2024, {NETWORKS[network]}, {source.replace('_', ' ')}", backbone=NETWORKS[network],
                pretraining=kind, tasks=tasks, mismatch=_mismatch(network, kind, backbone, pretraining),
            )
        )  # fmt: skip
    return blocks


def _mismatch(network: str, kind: str, backbone: str, pretraining: str) -> str:
    """Why printed gaps must not decide about a backbone."""
    if kind != pretraining:
        return f"{kind} pretraining, not {pretraining}"
    name = backbone.lower()
    alike = re.search(r"swin_b|swin-b" if network == tables.SWIN else r"vit[_-]?b(ase)?[_-]?(patch)?[_-]?16", name)
    if not alike:
        return f"of {NETWORKS[network]}, another network than {backbone}"
    return f"of {kind} pretraining of another kind" if any(part in name for part in OTHER_TRAININGS) else ""


def _printed(task: str, rows: pd.DataFrame, fids: pd.Series) -> Trained:
    group = rows["group"].iloc[0]
    far = group == "structured"
    side = {"natural": False, "specialized": True}.get(group)
    return Trained(
        task=task, gaps=tuple(rows["gap_points"]), sizes=tuple(rows["images"]), noise=(0.0,) * len(rows),
        values={"objective_is_far": float(far)}, objective_is_far=far,
        data_is_far=bool(fids[task] > fids.median()) if group == "fgvc" else side, n_seeds=5,
    )  # fmt: skip
