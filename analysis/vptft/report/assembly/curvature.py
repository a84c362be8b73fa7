"""From runs to the curvature of their loss, one space and batch at a time; what is finished is not measured again."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from vptft.checkpoints.native import Run
from vptft.report.assembly.landscape import Split, sample_of
from vptft.report.assembly.pieces import Arrays, Pieces, Progress, kept
from vptft.report.assembly.saved import identity, saved_or
from vptft.why.landscape.curvature.measure import (
    COLUMNS,
    DEFAULTS,
    DENSITY,
    Cell,
    Curvature,
    CurvatureSettings,
    Found,
    measure,
)


def curvature(
    run: Run,
    *,
    n_images: int = 64,
    split: Split = "train",
    seed: int = 0,
    options: CurvatureSettings = DEFAULTS,
    folder: Path | None = None,
    on_cell: Progress = lambda done, total: None,
) -> Curvature:
    """Curvature around a run.

    Parameters
    ----------
    run
        Whose. Its weights must be there.
    n_images
        Images of *each* batch; so many times ``options.batches`` are drawn, or all where there are fewer.
    split, seed
        From which set, drawn by which seed: runs of one seed and training draw get the same images.
    options
        What is measured. For a ViT-S at 56 px and 64 images a product takes 1.6 CPU seconds in the prompts and 4 to 5
        in the whole network, where 50 products and their basis are 4 minutes of one core and 5 GB.
    folder
        Where the result is kept. Finished cells are kept in the cache until the whole is made.
    on_cell
        Called with (cells done, cells in all).
    """
    inputs = {**options.to_json(), "run": identity(run), "n_images": n_images, "split": split, "seed": seed}

    def make(found: dict[str, Any]) -> Curvature:
        pieces = Pieces(found["key"])

        def mapped(one: Callable[[Cell], Found], cells: Sequence[Cell]) -> Iterable[Found]:
            def some(missing: Sequence[Cell]) -> Iterable[tuple[Cell, Arrays]]:
                return ((cell, _arrays(one(cell))) for cell in missing)

            done = kept(
                pieces, cells, name=lambda cell: f"{cell.space}-{cell.batch}", make=some, on_piece=on_cell
            )  # fmt: skip
            return [_tables(arrays) for arrays in done]

        result = measure(
            run.model(), sample=sample_of(run, split, n_images * options.batches, seed), label=run.label,
            task=run.info.task, method=run.info.method, options=options, mapped=mapped, settings=found,
        )  # fmt: skip
        if folder is not None:
            result.save(folder)
        pieces.clear()
        return result

    return saved_or(Curvature, folder, inputs, make)


def _arrays(found: Found) -> Arrays:
    """Columns of both tables; text as numpy's own, which needs no pickle."""
    return {
        f"{part} {name}": table[name].to_numpy(dtype=str if kind == "str" else kind)
        for part, table, columns in (("table", found.table, COLUMNS), ("density", found.density, DENSITY))
        for name, kind in columns.items()
    }


def _tables(arrays: Arrays) -> Found:
    return Found(*(
        pd.DataFrame({name: arrays[f"{part} {name}"] for name in columns}).astype(dict(columns))
        for part, columns in (("table", COLUMNS), ("density", DENSITY))
    ))  # fmt: skip
