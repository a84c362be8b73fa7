"""From a pair of runs to where each looks."""

from pathlib import Path
from typing import Any

from vptft.checkpoints.pairs import RunPair
from vptft.report.assembly.samples import drawn, labels_of, masks_of, model_inputs
from vptft.report.assembly.saved import identity, saved_or
from vptft.why.attention import maps


def attention_maps(pair: RunPair, *, n_images: int, seed: int, folder: Path | None = None) -> maps.AttentionMaps:
    """Rollout of both models on test images drawn by ``seed``, never picked."""
    inputs = {
        "vpt": identity(pair.vpt),
        "ft": identity(pair.ft),
        "n_images": n_images,
        "seed": seed,
        "drawn": f"{n_images} test images without replacement, seed {seed}",
    }

    def make(settings: dict[str, Any]) -> maps.AttentionMaps:
        images = drawn(pair.vpt, n_images, seed)
        size = pair.vpt.info.image_size
        pixels = images.pixels(size)
        return maps.measure(
            pair.vpt.model(),
            pair.ft.model(),
            images=model_inputs(pair.vpt, pixels),
            pixels=pixels,
            labels=labels_of(images),
            ids=images.ids,
            task=pair.vpt.info.task,
            masks=masks_of(images, size),
            settings={**settings, "classes": pair.vpt.info.classes},
        )

    return saved_or(maps.AttentionMaps, folder, inputs, make)
