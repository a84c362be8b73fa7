"""From what is known of a task and of others to advice, its costs and its track record; what is saved is loaded."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pandas as pd

from vptft.advise import measure as advising
from vptft.advise import record as recording
from vptft.advise.budget import Budget
from vptft.advise.tasks import Block, NewTask
from vptft.report.assembly.advice.tasks import Scheme, Tell
from vptft.report.assembly.saved import saved_or
from vptft.tuning.profile import Profile
from vptft.tuning.profile import measure as measure_costs
from vptft.tuning.settings import TrainSettings
from vptft.tuning.subjects import subjects_of

TUNED = ("vpt_deep", "ft", "linear")
"""Methods whose costs are shown."""


def costs_of(
    backbone: str, *, n_classes: int, image_size: int, device: str, folder: Path | None, tell: Tell
) -> pd.DataFrame:
    """What the methods cost on a backbone here: measured once a folder."""
    inputs = {"backbone": backbone, "n_classes": n_classes, "image_size": image_size, "device": device}

    def make(settings: dict[str, Any]) -> Profile:
        subjects = subjects_of(
            TUNED, backbone=backbone, n_classes=n_classes, settings=TrainSettings(image_size=image_size)
        )
        found = measure_costs(subjects, repeats=3, device=device, on_turn=tell("costs"))
        return replace(found, settings={**found.settings, **settings})

    return saved_or(Profile, folder, inputs, make).frame()


def advice(
    new: NewTask,
    blocks: Sequence[Block],
    *,
    costs: pd.DataFrame,
    budget: Budget,
    scheme: Scheme,
    folder: Path | None = None,
) -> advising.Advice:
    """Advise on a task, by evidence that was measured in the same way."""
    inputs = {
        "new": _plain(new), "blocks": [_plain(block) for block in blocks], "budget": dict(budget.limits),
        "costs": costs[list(advising.COSTS)[:-1]].to_dict("records"), **scheme.inputs(),
    }  # fmt: skip

    def make(settings: dict[str, Any]) -> advising.Advice:
        kept = {name: settings[name] for name in ("key", *scheme.inputs())}
        return advising.measure(new, blocks, costs=costs, budget=budget, settings=kept)

    return saved_or(advising.Advice, folder, inputs, make)


def track_record(
    blocks: Sequence[Block], *, scheme: Scheme | None = None, folder: Path | None = None
) -> recording.Record:
    """Leave each task of each block out."""
    inputs = {"blocks": [_plain(block) for block in blocks], **({} if scheme is None else scheme.inputs())}

    def make(settings: dict[str, Any]) -> recording.Record:
        return recording.measure(blocks, settings={"seed": 0, "key": settings["key"]})

    return saved_or(recording.Record, folder, inputs, make)


def _plain(value: Any) -> Any:
    """A task or block as plain values, for its key."""
    return json.loads(json.dumps(asdict(value)))
