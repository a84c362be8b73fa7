"""The kinds of attention map, one table, and the one call that makes them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
import torch

from vptft.errors import SettingsError, UnknownNameError
from vptft.models.tuned import TunedModel
from vptft.why.attention.explanation import Explanation, Part, gathered
from vptft.why.attention.gradcam import gradcam
from vptft.why.attention.integrated import integrated_gradients
from vptft.why.attention.raw import cls_attention
from vptft.why.attention.relevance import gradient_rollout, relevance
from vptft.why.attention.rollout import rollout
from vptft.why.attention.source import Score, Source, evaluating

BATCH = 16


@dataclass(frozen=True, kw_only=True)
class MapMethod:
    """A way to say which patches a model looks at.

    Attributes
    ----------
    name
        What :func:`explain` takes.
    about
        One line for ``--help`` and reports.
    compute
        Maps of one batch, with the method's settings as keywords.
    of_attention
        Whether it reads attention matrices, which methods that do share.
    needs_class
        Whether it explains a class; the others give one map an image, whatever the class.
    needs_gradient
        Whether it differentiates.
    signed
        Whether values can be negative: the map is their positive part, what speaks for the class.
    caution
        How the map misleads.
    """

    name: str
    about: str
    compute: Callable[..., Part]
    of_attention: bool
    needs_class: bool
    needs_gradient: bool
    signed: bool
    caution: str


def _method(name: str, compute: Callable[..., Part], about: str, caution: str, **flags: bool) -> MapMethod:
    defaults = {"of_attention": True, "needs_class": False, "needs_gradient": False, "signed": False}
    return MapMethod(name=name, compute=compute, about=about, caution=caution, **{**defaults, **flags})


METHODS: Mapping[str, MapMethod] = {
    method.name: method
    for method in (
        _method(
            "cls_attention",
            cls_attention,
            "attention of what the head reads, in the last layer or another",
            "A late token is no longer what stood at its place: this is no map of the image.",
        ),
        _method(
            "rollout",
            rollout,
            "attention of all layers put on one another, prompts as leaves (Abnar and Zuidema 2020)",
            "Where content could have come from, not what decided the class: values and MLPs are not seen.",
        ),
        _method(
            "gradient_rollout",
            gradient_rollout,
            "rollout of the attention that speaks for the class",
            "Each row counts alike, however small its gradient.",
            needs_class=True,
            needs_gradient=True,
        ),
        _method(
            "relevance",
            relevance,
            "attention times its gradient, layer on layer (Chefer et al. 2021)",
            "Attention that speaks against the class is left out.",
            needs_class=True,
            needs_gradient=True,
        ),
        _method(
            "gradcam",
            gradcam,
            "patches at the last attention, weighted by the class's gradient (Selvaraju et al. 2017)",
            "One weight a channel for the whole image, at a layer whose tokens have mixed already.",
            of_attention=False,
            needs_class=True,
            needs_gradient=True,
            signed=True,
        ),
        _method(
            "integrated_gradients",
            integrated_gradients,
            "pixels' gradients on the way from the mean colour, summed to patches (Sundararajan et al. 2017)",
            "Explains the change from the baseline; read with its completeness gap.",
            of_attention=False,
            needs_class=True,
            needs_gradient=True,
            signed=True,
        ),
    )
}
"""Every method by name."""


def explain(
    model: TunedModel,
    images: torch.Tensor,
    *,
    method: str = "rollout",
    target: np.ndarray | None = None,
    against: np.ndarray | None = None,
    batch_size: int = BATCH,
    **settings: Any,
) -> Explanation:
    """Make one method's maps of a model.

    Parameters
    ----------
    model
        A plain vision transformer with or without prompts; its modes, flags and gradients are left as they are.
    images
        Normalised, ``(n, 3, H, W)``, on the model's device.
    method
        A name in :data:`METHODS`.
    target
        Class that is explained, ``(n,)``: the true one, the predicted one, any. VPT and FT compare where it is the same
        for both. Methods that explain no class take none into account.
    against
        Classes whose logit is subtracted, ``(n,)``: with :func:`strongest_other` of the target, what speaks for it
        rather than for the next best.
    batch_size
        Images at once. Relevance holds all layers' attention of a batch twice.
    **settings
        The method's own.

    Raises
    ------
    NotApplicable
        On backbones without global self-attention, as Swin and convolutional ones; see each method for more.
    SettingsError
        A class is needed and none is given, or a setting the method has not.
    """
    return explain_each(
        model,
        images,
        methods=(method,),
        target=target,
        against=against,
        batch_size=batch_size,
        settings={method: settings},
    )[method]


def explain_each(
    model: TunedModel,
    images: torch.Tensor,
    *,
    methods: Sequence[str],
    target: np.ndarray | None = None,
    against: np.ndarray | None = None,
    batch_size: int = BATCH,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
) -> dict[str, Explanation]:
    """Make several methods' maps, those of attention from one pass over the model.

    Parameters are :func:`explain`'s; ``settings`` holds each method's own, by its name.
    """
    chosen = [_known(name) for name in methods]
    _check(chosen, images, target)
    # What needs gradients goes first: its forward pass has the attention that the others read.
    order = sorted(chosen, key=lambda method: not (method.needs_gradient and method.of_attention))
    keep = sum(method.of_attention for method in chosen) > 1
    parts: dict[str, list[Part]] = {method.name: [] for method in chosen}
    of_class = any(method.needs_class for method in chosen)
    with evaluating(model):
        for start in range(0, len(images), batch_size):
            part = slice(start, start + batch_size)
            x = images[part]
            score = None
            if of_class and target is not None:
                score = Score(_classes(target[part], x), None if against is None else _classes(against[part], x))
            source = Source(model, x, score, keep=keep)
            for method in order:
                own = (settings or {}).get(method.name, {})
                parts[method.name].append(_computed(method, source, own))
    depth = len(model.vit.blocks)
    return {
        method.name: gathered(
            parts[method.name],
            method=method.name,
            target=target if method.needs_class else None,
            against=against if method.needs_class else None,
            n_layers=depth if method.of_attention else 0,
            notes=(method.caution,),
        )
        for method in chosen
    }


def strongest_other(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Class of the largest logit that is not the target's, ``(n,)``, of logits ``(n, n_classes)``.

    To explain two models for the same contrast, take it from one of them, or from the mean of their logits, for both.
    """
    if logits.shape[1] < 2:
        raise SettingsError("With one class there is no other to set it against.")
    others = np.array(logits, dtype=np.float64)
    others[np.arange(len(others)), target] = -np.inf
    return others.argmax(axis=1)


def _known(name: str) -> MapMethod:
    if name not in METHODS:
        raise UnknownNameError("map method", name, METHODS)
    return METHODS[name]


def _check(methods: Sequence[MapMethod], images: torch.Tensor, target: np.ndarray | None) -> None:
    if not len(images):
        raise SettingsError("There are no images to explain.")
    lacking = [method.name for method in methods if method.needs_class and target is None]
    if lacking:
        raise SettingsError(f"{', '.join(lacking)} explains a class, and no target is given.")
    if target is not None and len(target) != len(images):
        raise SettingsError(f"There are {len(images)} images and {len(target)} targets.")


def _computed(method: MapMethod, source: Source, settings: Mapping[str, Any]) -> Part:
    takes = [name for name in signature(method.compute).parameters if name != "source"]
    if unknown := [name for name in settings if name not in takes]:
        raise SettingsError(f"{method.name} has no setting {', '.join(unknown)}; it has {', '.join(takes) or 'none'}.")
    return method.compute(source, **settings)


def _classes(chosen: np.ndarray, x: torch.Tensor) -> torch.Tensor:
    return torch.from_numpy(np.asarray(chosen, dtype=np.int64)).to(x.device)
