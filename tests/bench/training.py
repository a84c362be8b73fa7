"""What a training step costs by method, our loop beside a plain one, and features computed once beside every epoch."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import torch
from timm.models.vision_transformer import VisionTransformer
from torch.nn import functional as F

from bench.timing import Options, Rival, compare, say
from vptft.data import registry
from vptft.data.transforms import normalise
from vptft.models.backbones import IMAGENET_MEAN, IMAGENET_STD, Backbone
from vptft.tuning.building import build_model
from vptft.tuning.inputs import Inputs
from vptft.tuning.loop import _State, _train_epoch, logits_of, train
from vptft.tuning.methods import METHODS, Method
from vptft.tuning.optimisation import optimiser
from vptft.tuning.settings import TrainSettings

CLASSES = 10
SIZES = {"ViT-S/16": {"embed_dim": 384, "num_heads": 6}, "ViT-Ti/16": {"embed_dim": 192, "num_heads": 3}}
STEPS: tuple[tuple[str, int, int, float], ...] = (("ViT-S/16", 4, 10, 0.76), ("ViT-Ti/16", 8, 100, 0.95))
"""Network, batch, prompts, and the most that a VPT-deep step may cost of a finetuning step."""


def steps(options: Options) -> None:
    """A VPT-deep step beside a finetuning step in a plain timm loop, 224 px: what the frozen weights save."""
    for name, batch, prompts, most in STEPS[1:] if options.quick else STEPS:
        settings = TrainSettings(image_size=224, batch_size=batch, prompt_length=prompts, lr=1e-3)
        backbone = random_vit(name)
        model = build_model(METHODS["vpt_deep"], backbone, settings, n_classes=CLASSES)
        pixels, labels = noise(batch)
        compare(
            f"VPT-deep step, {name}, 224 px, batch {batch}, {prompts} prompts (bar: at most {most:g} of FT's)",
            ours(model, backbone, settings, pixels, labels),
            [Rival("finetuning in a plain timm loop", plain(name, pixels, labels), bar=1 / most)],
            repetitions=options.repetitions,
        )


def finetuning(options: Options) -> None:
    """An epoch of our loop beside the same epoch of a plain timm loop: what resuming, seeding and curves cost."""
    name, batch, count = "ViT-Ti/16", 8, 8 if options.quick else 32
    settings = TrainSettings(image_size=224, batch_size=batch, epochs=100, lr=1e-5)
    backbone = random_vit(name)
    model = build_model(METHODS["ft"], backbone, settings, n_classes=CLASSES)
    pixels, labels = noise(count)
    state = _State(model=model, optimizer=optimiser(model, settings))
    split = Inputs(values=pixels, labels=labels, ids=(), groups=())
    parts = plain_steps(name, pixels.split(batch), labels.split(batch))

    compare(
        f"Finetuning epoch, {name}, 224 px, batch {batch}, {count} images (bar: at most 1.05 of a plain loop's)",
        lambda: _train_epoch(state, split, backbone, settings),
        [Rival("plain timm loop", lambda: [step() for step in parts], bar=1 / 1.05)],
        repetitions=options.repetitions,
    )


def probe(options: Options) -> None:
    """A linear probe of 20 epochs on features computed once, beside the same with features computed every epoch."""
    count = 8 if options.quick else 60
    settings = TrainSettings(n_train=count, n_val=20, n_test=20, n_curve=20, image_size=56, epochs=20)
    task = registry.task("plain/count")
    backbone = "tiny" if options.quick else "dinov2-s"

    def run(*, fixed: bool) -> None:
        folder = Path(tempfile.mkdtemp(prefix="vptft-bench-"))
        try:
            with (
                mock.patch.dict(os.environ, {"VPTFT_HOME": str(folder / "home")}),
                mock.patch.object(Method, "reads_fixed_features", property(lambda self: fixed)),
            ):
                train(task, METHODS["linear"], backbone=backbone, settings=settings, folder=folder / "run")
        finally:
            shutil.rmtree(folder)

    compare(
        f"Linear probe of 20 epochs, {backbone}, 56 px, {count} training images",
        lambda: run(fixed=True),
        [Rival("features computed every epoch", lambda: run(fixed=False))],
        repetitions=options.repetitions,
    )
    say("  Both start with an empty cache and load the backbone.")


def random_vit(name: str) -> Backbone:
    """A backbone of the size named, at random."""
    torch.manual_seed(0)
    module = VisionTransformer(num_classes=0, **SIZES[name])
    return Backbone(
        name=name, module=module, sha256="", image_size=224, mean=IMAGENET_MEAN, std=IMAGENET_STD, pretraining="random"
    )


def noise(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pixels ``(count, 3, 224, 224)`` uint8 and labels."""
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (count, 3, 224, 224), dtype=torch.uint8, generator=generator)
    return pixels, torch.arange(count) % CLASSES


def ours(
    model: torch.nn.Module, backbone: Backbone, settings: TrainSettings, pixels: torch.Tensor, labels: torch.Tensor
) -> Callable[[], None]:
    """One step of our training."""
    model.train()
    optimizer = optimiser(model, settings)

    def step() -> None:
        loss = F.cross_entropy(logits_of(model, pixels, backbone), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def plain(name: str, pixels: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """One step of finetuning as anyone writes it with timm."""
    return plain_steps(name, [pixels], [labels])[0]


def plain_steps(name: str, pixels: "list[torch.Tensor]", labels: "list[torch.Tensor]") -> list[Callable[[], None]]:
    """Steps of one plain finetuning, a batch each."""
    torch.manual_seed(0)
    model = VisionTransformer(num_classes=CLASSES, **SIZES[name]).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step(x: torch.Tensor, y: torch.Tensor) -> None:
        loss = F.cross_entropy(model(normalise(x, IMAGENET_MEAN, IMAGENET_STD)), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return [lambda x=x, y=y: step(x, y) for x, y in zip(pixels, labels, strict=True)]
