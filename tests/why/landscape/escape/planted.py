"""Points of known truth: a small network, and labels by a teacher that is that network with an extension opened."""

import pandas as pd
import torch

from oracles.vit import make_vit
from vptft.models.tuned import TunedModel
from vptft.why.landscape.escape.extensions import LowRank, MoreNeurons, extend
from vptft.why.landscape.escape.points import StartingPoint
from vptft.why.landscape.evaluation import Sample


def network(kind="cls", n_classes=3, seed=0):
    """A network of three blocks whose logits are 0 on average over images and spread by about 2."""
    model = TunedModel(make_vit(kind, depth=3, seed=seed), n_classes=n_classes).eval()
    torch.manual_seed(seed)
    torch.nn.init.normal_(model.head.weight)
    with torch.no_grad():
        model.head.weight.mul_(2 / model(images(64, 77)).std(dim=0, keepdim=True).T)
        model.head.bias.sub_(model(images(64, 77)).mean(dim=0))
    return model


def images(count, seed):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def opened(model, name, seed):
    """The network with an extension as it is drawn from ``seed``, and open: it computes something else."""
    extended = extend(model, name, prompts=4, seed=seed)
    generator = torch.Generator().manual_seed(99)
    with torch.no_grad():
        for gate in extended.gates:
            gate.fill_(1.0)
        for module in extended.model.modules():
            if isinstance(module, LowRank):
                module.b.copy_(torch.randn(module.b.shape, generator=generator))
            if isinstance(module, MoreNeurons):
                module.out.copy_(torch.randn(module.out.shape, generator=generator))
    return extended.model


def point(teacher="none", *, seed=0, task="t", start="finetuned", drawn=None):
    """A point of a network whose images are labelled by a teacher; ``drawn`` is the seed of what the teacher has."""
    model = network()
    labelling = model if teacher == "none" else opened(model, teacher, seed * 1_000_003 if drawn is None else drawn)

    def sample(split, count, of):
        x = images(count, of)
        with torch.no_grad():
            return Sample(split=split, images=x, labels=labelling(x).argmax(dim=1))

    return StartingPoint(
        task=task, pretraining="random", start=start, seed=seed, model=model, train=sample("train", 48, 1 + seed),
        held_out=sample("val", 24, 1001), fresh=sample("test", 48, 1002),
    )  # fmt: skip


def tables(effects, *, extensions=("prompts", "lora", "neurons", "none"), variants=("alone", "joint"), **other):
    """An escape test's table where each extension removes what ``effects[extension][task, seed]`` says of fresh loss.

    A fifth of it is removed on the training images; accuracy gains ten points a nat.
    """
    rows = []
    for name in extensions:
        for (task, seed), value in effects[name].items():
            for variant in variants:
                if name == "none" and variant == "alone":
                    continue
                rows.append({
                    "task": task, "pretraining": "random", "start": "finetuned", "seed": seed, "extension": name,
                    "variant": variant, "parameters": 0 if name == "none" else 100, "lr": 0.1, "network_lr": 0.01,
                    "gradient_network": 0.5, "gradient_backbone": 0.4, "gradient_head": 0.3, "gradient_extension": 0.2,
                    "loss_train_before": 1.0, "accuracy_train_before": 0.5, "loss_fresh_before": 2.0,
                    "accuracy_fresh_before": 0.4, "loss_train": 1.0 - value / 5, "accuracy_train": 0.5,
                    "loss_fresh": 2.0 - value, "accuracy_fresh": 0.4 + value / 10, **other,
                })  # fmt: skip
    return pd.DataFrame(rows)
