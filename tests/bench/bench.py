"""Speed beside the peer: same inputs, same run, one thread; the median ratio of paired repetitions with its range.

`nox -s bench` runs it. A ratio above 1 means ours is faster.
"""

import statistics
import sys
import time
import warnings
from collections.abc import Callable

import numpy as np
import torch
from pytorch_fid.fid_score import calculate_frechet_distance
from timm.models.vision_transformer import VisionTransformer

from vptft.models.prompts import PromptSpec
from vptft.models.tuned import TunedModel
from vptft.when.distribution.frechet import frechet_distance
from vptft.why.attention.rollout import attention_rollout

REPETITIONS = 5


def ratio(name: str, peer: Callable[[], object], ours: Callable[[], object]) -> None:
    """Time both in turn, in process CPU seconds, and write the paired ratios."""
    ours(), peer()
    pairs = []
    for _ in range(REPETITIONS):
        pairs.append((_seconds(peer), _seconds(ours)))
    ratios = [theirs / mine for theirs, mine in pairs]
    mine = statistics.median(mine for _, mine in pairs)
    sys.stdout.write(
        f"{name}: {statistics.median(ratios):.2f}x [{min(ratios):.2f}, {max(ratios):.2f}], ours {mine:.3f} CPU s\n"
    )
    sys.stdout.flush()


def _seconds(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


def distance_step() -> None:
    """N = 1000 features of 2048 dimensions a side, as an Inception FID of a VTAB task has."""
    rng = np.random.default_rng(0)
    scale = np.arange(1, 2049) ** -0.5
    x, y = rng.normal(size=(1000, 2048)) * scale, rng.normal(size=(1000, 2048)) * scale + 0.01
    moments = [(v.mean(axis=0), np.cov(v, rowvar=False)) for v in (x, y)]

    def peer() -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            return calculate_frechet_distance(*moments[0], *moments[1])

    name = "Frechet distance, N=1000, d=2048, against pytorch-fid's from ready moments"
    ratio(name, peer, lambda: frechet_distance(x, y))


def prompted(length: int, *, prefix_form: bool) -> TunedModel:
    """ViT-Ti/16 at 224 px with deep prompts, backbone frozen."""
    torch.manual_seed(0)
    vit = VisionTransformer(embed_dim=192, num_heads=3, num_classes=0).requires_grad_(False)
    spec = PromptSpec(length=length, layers=tuple(range(12)))
    return TunedModel(vit, n_classes=10, prompts=spec, prefix_form=prefix_form)


def key_value_prefix() -> None:
    """VPT-deep as a key/value prefix against concatenation: a forward pass, and a training step."""
    x = torch.randn(8, 3, 224, 224)
    for length in (10, 100):
        ours, peer = (prompted(length, prefix_form=form) for form in (True, False))

        def forward(model: TunedModel) -> torch.Tensor:
            with torch.inference_mode():
                return model.eval()(x)

        def step(model: TunedModel) -> None:
            model.train()(x).square().sum().backward()

        for name, act in (("forward", forward), ("training step", step)):
            ratio(
                f"VPT-deep {name}, ViT-Ti/16, batch 8, {length} prompts, against concatenation",
                lambda act=act, peer=peer: act(peer),
                lambda act=act, ours=ours: act(ours),
            )


def rollout() -> None:
    """Exact deep rollout in prefix form against a plain concatenated forward pass: what the maps cost."""
    x = torch.randn(8, 3, 224, 224)
    for length in (10, 100):
        ours, peer = (prompted(length, prefix_form=form).eval() for form in (True, False))

        def forward(peer: TunedModel = peer) -> torch.Tensor:
            with torch.inference_mode():
                return peer(x)

        ratio(
            f"Exact VPT-deep rollout, {length} prompts, against one concatenated forward pass",
            forward,
            lambda ours=ours: attention_rollout(ours, x),
        )


if __name__ == "__main__":
    torch.set_num_threads(1)
    for part in (distance_step, key_value_prefix, rollout):
        part()
