r"""Grad-CAM on tokens (Selvaraju et al. 2017, equations 1 and 2, patches in the place of pixels).

With the patch tokens :math:`a_p` that enter the attention of a layer, after its first norm, and the score y,

.. math:: w = \frac1P \sum_p \frac{\partial y}{\partial a_p}, \qquad m_p = \Big(\sum_d w_d a_{p,d}\Big)^+ .

Everything below the layer is a constant, so the network is run once and differentiated from the layer up; frozen
networks are no exception, and no parameter's gradient is touched.
"""

import torch

from vptft.errors import NotApplicable, SettingsError
from vptft.why.attention.explanation import Part
from vptft.why.attention.source import Source


def gradcam(source: Source, *, layer: int = -1) -> Part:
    """Grad-CAM of one batch; values with their sign, so that the map is the positive part.

    Parameters
    ----------
    source
        One batch, with a score.
    layer
        Whose normalised input is looked at: 0 is the first layer, -1 the last. The number of layers stands for the
        last layer's output, which a head that reads the cls token alone cannot see.

    Raises
    ------
    NotApplicable
        When the score does not depend on the patches there: the map would be zero for any image and any weights.
    """
    model = source.model
    depth = len(model.vit.blocks)
    if not -depth <= layer <= depth:
        raise SettingsError(f"Grad-CAM looks at layers 0 to {depth}, the last for the output, not at {layer}.")
    at = layer if layer >= 0 else layer + depth
    if at == depth and model.pooling == "cls":
        raise NotApplicable(
            f"Grad-CAM after layer {depth - 1} is not applicable: the head reads the cls token alone, so no patch of "
            "the last layer's output reaches it, and the gradient is zero whatever the image.",
            f"Look at layer {depth - 1}, whose attention is the last to read patches.",
        )
    with torch.no_grad():
        entered = model.entering(source.x, at)
    seen: list[torch.Tensor] = []

    def look(module: torch.nn.Module, args: tuple[torch.Tensor, ...], output: torch.Tensor) -> torch.Tensor | None:
        if seen:
            return None  # prompts that enter as keys and values pass the same norm, after the tokens
        seen.append(output.detach().requires_grad_())
        return seen[0]

    if at == depth:
        seen.append(entered.requires_grad_())
        logits = model.logits_from(seen[0], at)
    else:
        handle = model.vit.blocks[at].norm1.register_forward_hook(look)
        try:
            logits = model.logits_from(entered, at)
        finally:
            handle.remove()
    assert source.score is not None
    (gradient,) = torch.autograd.grad(source.score(logits).sum(), seen)
    patches, slopes = (each.detach()[:, -model.layout.n_patches :] for each in (seen[0], gradient))
    values = torch.einsum("bd,bpd->bp", slopes.mean(dim=1), patches)
    return Part(values.unflatten(1, model.layout.grid))
