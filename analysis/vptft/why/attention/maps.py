"""Attention maps of VPT and FT side by side: rollout masses, prompt share, and how much falls on the object."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch

from vptft.errors import SettingsError
from vptft.evidence.findings import Finding
from vptft.evidence.results import Result
from vptft.evidence.statistics.paired import mean_interval
from vptft.models.tuned import TunedModel
from vptft.why.attention.focus import entropy_bits
from vptft.why.attention.localisation import coverage, energy
from vptft.why.attention.rollout import Rollout, attention_rollout

OUTCOMES = ("both right", "only VPT right", "only FT right", "both wrong")


@dataclass(frozen=True, kw_only=True)
class AttentionMaps(Result):
    """Rollout maps of two models on the same images.

    Attributes
    ----------
    table
        One row an image and method; see :meth:`frame`.
    maps
        Patch maps normalised to sum 1, ``(n_images, 2, h, w)``: VPT, then FT. Masses are in ``table``.
    pixels
        The images, ``(n_images, H, W, 3)`` uint8.
    share
        Mass of each layer's prompts in the VPT model, ``(n_images, L)``.
    """

    analysis: ClassVar[str] = "attention"
    task: str
    table: pd.DataFrame
    maps: np.ndarray
    pixels: np.ndarray
    share: np.ndarray

    def frame(self) -> pd.DataFrame:
        """Columns: image, label, method, predicted, outcome, patch_mass, cls_mass, register_mass, prompt_mass,
        map_entropy_bits, and on_object with object_area (fractions of map and image; NaN without a mask).
        """  # noqa: D205
        return self.table

    def findings(self) -> tuple[Finding, ...]:
        """Y4, without a verdict: rollout over a drawn sample of one run a side describes, it does not test."""
        wide = self.table.pivot(index="image", columns="method", values="on_object")
        difference = (wide["vpt"] - wide["ft"]).dropna()
        if difference.empty:
            reason = "no object masks: where the map falls cannot be scored"
            statement = f"Attention on {self.task}"
            return (Finding(hypothesis="Y4", statement=statement, verdict="not applicable", reason=reason),)
        mean = mean_interval(100 * difference.to_numpy())
        known = not np.isnan(mean.low)
        return (
            Finding(
                hypothesis="Y4",
                statement=f"Rollout map on the object, VPT minus FT: {self.task}, {len(difference)} drawn images",
                verdict="inconclusive",
                reason="one run a side: no verdict",
                effect=mean.value,
                low=mean.low if known else None,
                high=mean.high if known else None,
                unit="points",
                n=len(difference),
            ),
        )


def measure(
    vpt: TunedModel,
    ft: TunedModel,
    *,
    images: torch.Tensor,
    pixels: torch.Tensor,
    labels: np.ndarray,
    ids: tuple[str, ...],
    task: str,
    masks: np.ndarray | None = None,
    settings: Mapping[str, Any] | None = None,
) -> AttentionMaps:
    """Roll out both models on the same images.

    Parameters
    ----------
    vpt, ft
        Models with the same image size and grid.
    images, pixels
        Normalised ``(n, 3, H, W)`` float and the same images as ``(n, 3, H, W)`` uint8.
    labels, ids
        True classes ``(n,)`` and identifiers.
    task
        The task's name, for the reader.
    masks
        Object masks ``(n, H, W)`` bool, where the task has them.
    settings
        How the images were drawn; kept with the result.
    """
    if vpt.layout.grid != ft.layout.grid:
        raise SettingsError(f"The models see grids {vpt.layout.grid} and {ft.layout.grid}; they must be equal.")
    rolled = {"vpt": attention_rollout(vpt, images), "ft": attention_rollout(ft, images)}
    with torch.inference_mode():
        predicted = {name: model(images).argmax(1).numpy() for name, model in (("vpt", vpt), ("ft", ft))}
    maps = {name: _normalised(rollout) for name, rollout in rolled.items()}
    outcome = outcomes(predicted["vpt"] == labels, predicted["ft"] == labels)
    tables = [
        pd.DataFrame(
            {
                "image": list(ids),
                "label": labels,
                "method": name,
                "predicted": predicted[name],
                "outcome": outcome,
                **_masses(rolled[name]),
                "map_entropy_bits": entropy_bits(maps[name]),
                **_on_object(maps[name], masks),
            }
        )
        for name in ("vpt", "ft")
    ]
    return AttentionMaps(
        settings=dict(settings or {}),
        task=task,
        table=pd.concat(tables, ignore_index=True),
        maps=np.stack([maps["vpt"], maps["ft"]], axis=1).astype(np.float32),
        pixels=pixels.permute(0, 2, 3, 1).numpy(),
        share=rolled["vpt"].prompt_share.numpy(),
    )


def _normalised(rollout: Rollout) -> np.ndarray:
    patches = rollout.patches.double()
    return (patches / patches.sum(dim=(1, 2), keepdim=True)).numpy()


def _masses(rollout: Rollout) -> dict[str, np.ndarray]:
    return {
        "patch_mass": rollout.patches.sum(dim=(1, 2)).numpy(),
        "cls_mass": rollout.cls.numpy(),
        "register_mass": rollout.registers.numpy(),
        "prompt_mass": rollout.prompt_share.sum(dim=1).numpy(),
    }


def _on_object(maps: np.ndarray, masks: np.ndarray | None) -> dict[str, np.ndarray]:
    """Part of the map on the object, each patch's mass spread evenly over its pixels, and the object's area."""
    if masks is None:
        nothing = np.full(len(maps), np.nan)
        return {"on_object": nothing, "object_area": nothing}
    cover = coverage(masks, (maps.shape[1], maps.shape[2]))
    return {"on_object": energy(maps, cover), "object_area": masks.mean(axis=(1, 2))}


def outcomes(vpt_right: np.ndarray, ft_right: np.ndarray) -> list[str]:
    """Say of each image who is right, from correctness of VPT and FT, ``(n,)`` bool."""
    index = np.where(vpt_right, np.where(ft_right, 0, 1), np.where(ft_right, 2, 3))
    return [OUTCOMES[i] for i in index]
