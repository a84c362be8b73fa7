"""Images with the maps of both models: kinds of map, layers and heads, chosen by the reader."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from PIL import Image

from vptft.report.figures.attention import COLOURS, class_name
from vptft.report.sections.parts import Widget
from vptft.why.attention.maps import OUTCOMES, AttentionMaps
from vptft.why.attention.methods import METHODS
from vptft.why.attention.score_settings import RANDOM, SIDES
from vptft.why.attention.scores import AttentionScores

LOSSLESS = 112
"""Images up to so many pixels a side are kept as they are; larger ones as JPEG, or a page would be of 10s of MB."""
MASSES = {"patch_mass": "patches", "cls_mass": "class token", "register_mass": "registers", "prompt_mass": "prompts"}


def attention_viewer(
    results: Sequence[AttentionScores | AttentionMaps], quadrants: Mapping[str, str] | None = None
) -> Widget:
    """Data of the viewer: every image that was kept, by task.

    Parameters
    ----------
    results
        Of one pair of runs each. Images are those that were drawn by the result's seed; none is left out.
    quadrants
        Which quadrant a task is in, in words.
    """
    made = [_of_scores(each) if isinstance(each, AttentionScores) else _of_maps(each) for each in results]
    sets = [each | {"quadrant": (quadrants or {}).get(each["task"], "")} for each in made]
    return Widget(
        kind="attention",
        label="Where each model looks, image by image",
        data={"colours": colour_table(COLOURS), "outcomes": list(OUTCOMES), "sets": sets},
    )


def colour_table(name: str) -> str:
    """256 colours of a map, three bytes each."""
    colours = mpl.colormaps[name](np.linspace(0, 1, 256))[:, :3]
    return _text(np.round(255 * colours))


Rows = Mapping[tuple[str, ...], Mapping[str, Any]]
"""Rows of a table by image, side and kind of map."""


def _of_scores(result: AttentionScores) -> dict[str, Any]:
    kinds = [kind for kind in result.kinds if kind != RANDOM]
    places = [result.kinds.index(kind) for kind in kinds]
    maps = result.maps[result.drawn][:, :, places].astype(np.float64)
    names = list(result.images()["image"])
    shown = [names[i] for i in result.drawn]
    failed = result.failed()
    scored = _by(result.table[result.table["image"].isin(shown)], "image", "side", "map")
    masses = _by(result.masses[result.masses["image"].isin(shown)], "image", "side", "map")
    options = result.settings.get("options", {})

    def told(column: str) -> list[list[list[float | None]]]:
        """A column of the shown images by image, side and kind."""
        return [[[_told(scored.get((name, side, kind)), column) for kind in kinds] for side in SIDES] for name in shown]

    return {
        "task": result.task,
        "drawn": f"{result.task}: at most {options.get('shown')} of each outcome, drawn by seed {options.get('seed')}.",
        "grid": list(maps.shape[-2:]),
        "kinds": [_kind(kind, failed.get(kind)) for kind in kinds],
        "images": [
            _image(
                name, result.pixels[i], {side: scored[name, side, RANDOM] for side in SIDES},
                result.settings.get("classes"),
            )
            for i, name in enumerate(shown)
        ],
        "maps": _quantised(maps, over=(1, 3, 4)),
        "made": np.isfinite(maps).all(axis=(1, 3, 4)).tolist(),
        "masses": [[[_masses(masses.get((name, side, kind))) for kind in kinds] for side in SIDES] for name in shown],
        "object": told("on_object"),
        "gap": told("gap"),
        "layers": result.head_maps.shape[2],
        "heads": result.head_maps.shape[3],
        "head_maps": _quantised(result.head_maps.astype(np.float64), over=(1, 2, 3, 4, 5)),
        "prompt_share": np.round(result.head_shares.astype(np.float64), 4).tolist(),
    }  # fmt: skip


def _of_maps(result: AttentionMaps) -> dict[str, Any]:
    rows = _by(result.table, "image", "method")
    names = list(dict.fromkeys(result.table["image"]))
    maps = result.maps[:, :, None].astype(np.float64)
    return {
        "task": result.task,
        "drawn": f"{result.task}: {result.settings.get('drawn', 'drawn by seed')}.",
        "grid": list(maps.shape[-2:]),
        "kinds": [_kind("rollout", None)],
        "images": [
            _image(name, result.pixels[i], {side: rows[name, side] for side in SIDES}, result.settings.get("classes"))
            for i, name in enumerate(names)
        ],
        "maps": _quantised(maps, over=(1, 3, 4)),
        "made": [[True] for _ in names],
        "masses": [[[_masses(rows[name, side])] for side in SIDES] for name in names],
        "object": [[[_told(rows[name, side], "on_object")] for side in SIDES] for name in names],
        "gap": [[[None] for _ in SIDES] for _ in names],
        "layers": result.share.shape[1],
        "heads": 1,
        "head_maps": None,
        "prompt_share": [],
    }


def _by(table: pd.DataFrame, *names: str) -> Rows:
    return {tuple(str(row[name]) for name in names): row for row in table.to_dict("records")}  # type: ignore[misc]  # pandas calls its keys hashable, not str


def _kind(name: str, failed: str | None) -> dict[str, str | None]:
    """What is said of a kind; ``failed`` is empty where it passes its sanity checks, None where it was not checked."""
    method = METHODS[name]
    about = f"{method.about[:1].upper()}{method.about[1:]}. {method.caution}"
    return {"name": name, "title": name.replace("_", " "), "about": about, "failed": failed}


def _image(name: str, pixels: np.ndarray, of: Mapping[str, Mapping[str, Any]], classes: Any) -> dict[str, Any]:
    """One image with what both models take it for; ``of`` holds a row a side."""
    label = int(of["vpt"]["label"])
    predicted = [int(of[side]["predicted"]) for side in SIDES]
    return {
        "id": name,
        "source": _source(pixels),
        "label": class_name(classes, label),
        "predicted": [class_name(classes, each) for each in predicted],
        "right": [each == label for each in predicted],
        "outcome": str(of["vpt"]["outcome"]),
    }


def _source(pixels: np.ndarray) -> str:
    kind = "png" if max(pixels.shape) <= LOSSLESS else "jpeg"
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **({} if kind == "png" else {"quality": 88}))
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _quantised(maps: np.ndarray, *, over: tuple[int, ...]) -> str:
    """Root of each map as a byte, 255 at the largest value over the axes named; what is negative or missing is 0."""
    with np.errstate(invalid="ignore"):
        shown = np.where(np.isfinite(maps), np.maximum(maps, 0), 0)
    largest = shown.max(axis=over, keepdims=True)
    return _text(np.round(255 * np.sqrt(shown / np.where(largest > 0, largest, 1))))


def _text(values: np.ndarray) -> str:
    return base64.b64encode(values.astype(np.uint8).tobytes()).decode()


def _masses(row: Mapping[str, Any] | None) -> dict[str, float] | None:
    found = {label: _number(row[name]) for name, label in MASSES.items()} if row else {}
    return {name: mass for name, mass in found.items() if mass is not None} or None


def _told(row: Mapping[str, Any] | None, column: str) -> float | None:
    return _number(row[column]) if row else None


def _number(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
