"""Integrated Gradients (Sundararajan, Taly and Yan 2017, equation 1) through captum, pixels summed to patches."""

import torch

from vptft.errors import SettingsError
from vptft.why.attention.explanation import Part
from vptft.why.attention.source import Score, Source

STEPS = 50


def integrated_gradients(source: Source, *, steps: int = STEPS, baseline: float = 0.0, at_once: int = 64) -> Part:
    """Attributions of one batch with their sign, and how far their sum is from what they should explain.

    Parameters
    ----------
    source
        One batch, with a score.
    steps
        Points on the way from the baseline, Gauss-Legendre. Each costs a forward and a backward pass.
    baseline
        What an image without content is, in normalised units: 0 is the mean colour of the pretraining images.
    at_once
        Images in one pass.

    Notes
    -----
    The attributions of an image sum to the score's change from the baseline to it, if the integral is exact. With
    transformers 50 steps can miss a quarter of it (the gap): the patches' order is then still stable, their sizes not.
    """
    from captum.attr import IntegratedGradients

    if steps < 2:
        raise SettingsError(f"An integral takes at least 2 steps, not {steps}.")
    model, score = source.model, source.score
    assert score is not None
    x = source.x.detach()
    rows, columns = model.layout.grid
    classes = (score.target,) if score.against is None else (score.target, score.against)

    def explained(images: torch.Tensor, *of: torch.Tensor) -> torch.Tensor:
        return Score(*of)(model(images))

    pixels = IntegratedGradients(explained).attribute(
        x,
        baselines=baseline,
        additional_forward_args=classes,
        n_steps=steps,
        internal_batch_size=max(at_once, len(x)),
    )
    with torch.no_grad():
        change = explained(x, *classes) - explained(torch.full_like(x, baseline), *classes)
    height, width = x.shape[2] // rows, x.shape[3] // columns
    values = pixels.unflatten(3, (columns, width)).unflatten(2, (rows, height)).sum(dim=(1, 3, 5))
    return Part(values, gap=values.sum(dim=(1, 2)) - change, change=change)
