"""From what a reader found to the TunedModel every analysis takes."""

from collections.abc import Mapping

import torch

from vptft.checkpoints.found import Found
from vptft.errors import NotApplicable, WeightsError
from vptft.models.adapters import attach
from vptft.models.heads import make_head
from vptft.models.shape import check_names
from vptft.models.tuned import TunedModel


def build_model(found: Found) -> TunedModel:
    """Build the model in evaluation mode; tensors are copied, in float32.

    Raises
    ------
    NotApplicable
        The checkpoint holds no model: additions without their base, a backbone without a head, or a network that is
        neither a plain vision transformer nor a Swin.
    WeightsError
        Heads unknown, tensors missing, left over, of another shape, or not finite; each is named.
    """
    if found.not_applicable or found.shape is None:
        raise NotApplicable(f"No model can be built from {found.path}. {found.not_applicable}")
    if not found.head:
        raise NotApplicable(f"{found.path} is a backbone without a head: pass it as --backbone.")
    check_names(found.backbone, found.shape, source=found.path)
    backbone = found.shape.build()
    backbone.load_state_dict(_checked(found.backbone, found))
    if found.adapter_kind is not None:
        attach(backbone, _checked(found.adapters, found), kind=found.adapter_kind, scale=found.adapter_scale)
    head = make_head(_checked(found.head, found))
    first = next(p for name, p in head.named_parameters() if name in ("weight", "hidden.0.weight"))
    if first.shape[1] != found.shape.features:
        raise WeightsError(
            f"{found.path}: the head takes {first.shape[1]} features, the backbone gives {found.shape.features}."
        )
    spec, both = None if found.prompts is None else found.prompts.spec, found.shape.pooling == "token and avg"
    model = TunedModel(backbone, n_classes=1, prompts=spec, head=head, patches_too=both)
    if found.prompts is not None and model.prompts is not None:
        model.prompts.load_state_dict(_checked(found.prompts.tensors, found))
    return model.eval()


def _checked(state: Mapping[str, torch.Tensor], found: Found) -> dict[str, torch.Tensor]:
    """Tensors in float32, unless one holds something that is no number."""
    tensors = {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    broken = [name for name, value in tensors.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise WeightsError(f"{found.path} holds NaN or infinite values in {', '.join(broken[:4])}.")
    return tensors
