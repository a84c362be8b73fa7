"""Speed of loss slices: against their bare forward passes, and of VPT-deep with points folded into the batch."""

import copy
from collections.abc import Iterable

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer
from torch.func import functional_call
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench.timing import Options, Rival, compare, say, typical
from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.why.landscape.directions import Plane, random_plane
from vptft.why.landscape.evaluation import PlaneLosses, Sample
from vptft.why.landscape.parameters import Parameters, moved, space

OVERHEAD, FASTER = 1.10, 1.25
"""A slice takes at most the first times its forward passes; folded VPT-deep is at least the second times faster."""
LARGE, LARGE_IMAGES = 51, 256
A100, UTILISATION = 19.5e12, 0.4
"""FLOP/s of an A100 in float32 (NVIDIA's data sheet), and the part of it that is assumed to be reached."""


def small_vit(*, size: int, width: int, depth: int, heads: int, patch: int) -> VisionTransformer:
    """Random ViT for one image size."""
    torch.manual_seed(0)
    return VisionTransformer(
        img_size=size, patch_size=patch, embed_dim=width, depth=depth, num_heads=heads, num_classes=0
    )  # fmt: skip


def vit_s() -> VisionTransformer:
    """ViT-S/14 at 98 px: 49 patches."""
    return small_vit(size=98, width=384, depth=12, heads=6, patch=14)


def with_head(model: TunedModel) -> TunedModel:
    """The model in evaluation mode, with a head that is not zero: else all losses are equal."""
    torch.nn.init.normal_(model.head.weight, std=0.02)
    return model.eval()


def sample_for(model: TunedModel, count: int) -> Sample:
    """Noise, of the model's image size."""
    generator = torch.Generator().manual_seed(0)
    side = model.vit.patch_embed.img_size[0]
    images = torch.randn(count, 3, side, side, generator=generator)
    return Sample(split="test", images=images, labels=torch.arange(count) % 10)


def slice_overhead(options: Options) -> None:
    """All weights move on a grid: ours against the bare forward passes, and against the ways of the peers."""
    sizes = [("tiny ViT (d 64, 4 layers)", small_vit(size=32, width=64, depth=4, heads=4, patch=4), 64, 11)]
    if not options.quick:
        sizes.append(("ViT-S/14, 98 px", vit_s(), 64, 3))
    for name, vit, count, side in sizes:
        _overhead(name, with_head(TunedModel(vit, n_classes=10)), count, 3 if options.quick else side, options)


def _overhead(name: str, model: TunedModel, count: int, side: int, options: Options) -> None:
    sample, axis, parameters = sample_for(model, count), np.linspace(-1, 1, side), space(model, "all")
    plane = random_plane(parameters, seed=0)
    given = compare(
        f"{side}x{side} slice of all weights, {name}, {count} images",
        lambda: ours(model, parameters, plane, axis, sample),
        [
            Rival("its bare forward passes", lambda: bare(model, sample, side**2), 1 / OVERHEAD),
            Rival("deepcopy and load_state_dict", lambda: by_loading(model, plane, axis, sample)),
            Rival("functional_call", lambda: by_call(model, plane, axis, sample)),
        ],
        repetitions=options.repetitions,
    )
    _agree(given[0], given[2:])


def folded_slice(options: Options) -> None:
    """Prompts and head of VPT-deep move: ours against each point by itself, prompts concatenated."""
    for length in (10,) if options.quick else (10, 50):
        spec = PromptSpec(length=length, layers=tuple(range(12)))
        _folded(with_head(TunedModel(vit_s(), n_classes=10, prompts=spec)), length, options)


def _folded(model: TunedModel, length: int, options: Options) -> None:
    side, count = (3, 4) if options.quick else (5, 8)
    naive = copy.deepcopy(model)
    naive.prefix_form = False
    sample, axis, parameters = sample_for(model, count), np.linspace(-1, 1, side), space(model, "prompts and head")
    plane = random_plane(parameters, seed=0)
    given = compare(
        f"{side}x{side} slice of prompts and head, VPT-deep, ViT-S/14, 98 px, {length} prompts, {count} images",
        lambda: ours(model, parameters, plane, axis, sample),
        [
            Rival(
                "naive: concatenated, a state loaded a point", lambda: by_loading(naive, plane, axis, sample), FASTER
            ),
            Rival("key/value prefix, not folded", lambda: ours(model, parameters, plane, axis, sample, fold=False)),
        ],
        repetitions=options.repetitions,
    )  # fmt: skip
    _agree(given[0], given[1:])


def large_grid(options: Options) -> None:
    """What 51x51 points of ViT-S at 98 px on 256 images take: two cores from a measured pass, an A100 estimated."""
    count = 4 if options.quick else 32
    model = TunedModel(vit_s(), n_classes=10).eval()
    images = sample_for(model, count).images

    @torch.no_grad()
    def forward() -> torch.Tensor:
        return model(images)

    seconds = typical(forward, repetitions=options.repetitions, clock="cpu") / count
    with FlopCounterMode(display=False) as counter:
        forward()
    flops = counter.get_total_flops() / count
    passes = LARGE**2 * LARGE_IMAGES
    say(f"{LARGE}x{LARGE} points, ViT-S/14 at 98 px, {LARGE_IMAGES} images: {passes:,} passes of an image,")
    say(f"  {flops / 1e9:.2f} GFLOP each (a multiplication and an addition are two)")
    say(f"  two cores, measured per image ({1000 * seconds:.1f} ms of one): {passes * seconds / 2 / 3600:.2f} h")
    say(
        f"  one A100, ESTIMATE from FLOPs at {UTILISATION:.0%} of {A100 / 1e12:g} TFLOP/s (float32): "
        f"{passes * flops / (A100 * UTILISATION) / 60:.1f} min"
    )


def ours(
    model: TunedModel, parameters: Parameters, plane: Plane, axis: np.ndarray, sample: Sample, *, fold: bool = True
) -> np.ndarray:
    """Mean losses on the grid, as a slice has them."""
    with moved(model, parameters):
        at = PlaneLosses(model, parameters, plane, sample, fold=fold)
        return np.stack([at.row(float(a), axis).loss.mean(axis=1) for a in axis])


@torch.no_grad()
def bare(model: TunedModel, sample: Sample, count: int) -> float:
    """As many forward passes, with their loss, and nothing between them."""
    return sum(F.cross_entropy(model(sample.images), sample.labels).item() for _ in range(count))


@torch.no_grad()
def by_loading(model: TunedModel, plane: Plane, axis: np.ndarray, sample: Sample) -> np.ndarray:
    """Load a state dict into a copy at every point (Li et al. 2018's release)."""
    own = copy.deepcopy(model)
    out = []
    for place in _places(plane, axis):
        own.load_state_dict({**model.state_dict(), **place})
        out.append(F.cross_entropy(own(sample.images), sample.labels).item())
    return np.array(out).reshape(len(axis), -1)


@torch.no_grad()
def by_call(model: TunedModel, plane: Plane, axis: np.ndarray, sample: Sample) -> np.ndarray:
    """Call the module with other parameters."""
    out = [
        F.cross_entropy(functional_call(model, place, sample.images), sample.labels).item()
        for place in _places(plane, axis)
    ]
    return np.array(out).reshape(len(axis), -1)


def _places(plane: Plane, axis: np.ndarray) -> Iterable[dict[str, torch.Tensor]]:
    assert plane.second is not None
    for a in map(float, axis):
        for b in map(float, axis):
            yield {
                name: start + a * plane.first[name] + b * plane.second[name] for name, start in plane.origin.items()
            }  # fmt: skip


def _agree(ours: object, others: list[object]) -> None:
    worst = max(float(np.abs(np.asarray(other) / np.asarray(ours) - 1).max()) for other in others)
    say(f"  largest relative difference of the losses: {worst:.1e}")
