"""From runs to the loss around them."""

from pathlib import Path
from typing import Any

import torch

from vptft.checkpoints.native import Run
from vptft.report.assembly.samples import drawn, labels_of, model_inputs
from vptft.report.assembly.saved import identity, saved_or
from vptft.why.landscape import slices


def loss_slice(
    run: Run, *, n_images: int, points: int, extent: float, seed: int, folder: Path | None = None
) -> slices.LossSlice:
    """Two-dimensional slice of the test loss around one run."""
    inputs = {
        "run": identity(run),
        "n_images": n_images,
        "points": points,
        "extent": extent,
        "seed": seed,
        "split": "test",
    }

    def make(settings: dict[str, Any]) -> slices.LossSlice:
        images = drawn(run, n_images, seed)
        return slices.measure(
            run.model(),
            images=model_inputs(run, images.pixels(run.info.image_size)),
            labels=torch.from_numpy(labels_of(images)),
            label=run.label,
            task=run.info.task,
            method=run.info.method,
            points=points,
            extent=extent,
            seed=seed,
            settings=settings,
        )

    return saved_or(slices.LossSlice, folder, inputs, make)
