"""Made-up runs with chosen accuracies, for tests of design choices."""

import numpy as np

from vptft.when.sensitivity.specifications import Trained

N = 200


def trained(side, accuracy, draw=0, *, task="t", choices=None, shared=None, pretraining="supervised", trials=(), n=N):
    """A run that is right on the first images, so that two runs of equal accuracy are right on the same."""
    return Trained(
        side=side, task=task, pretraining=pretraining, choices=choices or {}, shared=shared or {"epochs": 20},
        draw=draw, correct=np.arange(n) < round(accuracy * n), groups=np.arange(n), trials=trials,
    )  # fmt: skip


def factorial(gaps, *, draws=3, task="t", noise=0.0, seed=0, **other):
    """FT at 50% and VPT at 50% plus ``gaps[length][init]`` points, with ``noise`` points a VPT run."""
    rng = np.random.default_rng(seed)
    runs = [trained("ft", 0.5, draw, task=task, **other) for draw in range(draws)]
    for length, of_length in gaps.items():
        for init, gap in of_length.items():
            runs += [
                trained(
                    "vpt", 0.5 + (gap + noise * rng.normal()) / 100, draw, task=task,
                    choices={"prompt length": length, "prompt initialisation": init}, **other,
                )
                for draw in range(draws)
            ]  # fmt: skip
    return runs
