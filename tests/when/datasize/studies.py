"""Made-up studies of data size with a known line, for tests and simulations."""

import numpy as np

from vptft.evidence.statistics.resampling import PairedDraw
from vptft.when.datasize.cells import Cell


def study(
    rng, *, sizes=(400, 800, 2000, 5000, 10000), crossing=2000.0, slope=-3.0, draws=3, images=300, draw_sd=1.0,
    common_sd=0.0, image_sd=0.3, bend=0.0, task="t", **other,
):  # fmt: skip
    """Cells of a task whose true gap is ``slope`` points a doubling and zero at ``crossing``.

    Each draw adds ``draw_sd`` points a size and ``common_sd`` to all of its sizes; test images differ by ``image_sd``
    (a fraction) alike in all cells, which all share them; ``bend`` adds a quadratic part.
    """
    x = np.log2(np.asarray(sizes, dtype=float))
    true = slope * (x - np.log2(crossing)) + bend * ((x - x.mean()) ** 2 - np.mean((x - x.mean()) ** 2))
    of_image = rng.normal(0, image_sd, images)
    groups = np.arange(images)
    cells = []
    for draw in range(draws):
        common = rng.normal(0, common_sd)
        for n, mean in zip(sizes, true, strict=True):
            points = mean + common + rng.normal(0, draw_sd)
            differences = points / 100 + of_image + rng.normal(0, image_sd / 2, images)
            gap = float(differences.mean())
            cells.append(
                Cell(
                    task=task, n_train=n, accuracy_vpt=float(np.clip(0.5 + gap / 2, 0, 1)),
                    accuracy_ft=float(np.clip(0.5 - gap / 2, 0, 1)), draw=draw,
                    images=PairedDraw(differences=differences, groups=groups),
                    **{"task_group": "g", "pretraining": "supervised", **other},
                )
            )  # fmt: skip
    return cells


def published(rng, *, sizes, crossing, slope, sd, task="t", **other):
    """Published means: one value a size, no draws, no images."""
    gaps = slope * (np.log2(sizes) - np.log2(crossing)) + rng.normal(0, sd, len(sizes))
    return [
        Cell(
            task=task, n_train=int(n), accuracy_vpt=0.5 + gap / 200, accuracy_ft=0.5 - gap / 200,
            **{"task_group": "g", "pretraining": "supervised", **other},
        )
        for n, gap in zip(sizes, gaps, strict=True)
    ]  # fmt: skip
