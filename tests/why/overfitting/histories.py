"""Made-up histories and pairs of known truth, for tests and simulations."""

import numpy as np
import pandas as pd

from vptft.evidence.statistics.resampling import PairedDraw
from vptft.why.overfitting.over_tasks import Compared
from vptft.why.overfitting.regularisation import Arm


def history(test_loss, *, train_loss=None, val_loss=None, accuracy=None, **names):
    """One run; the training loss is 1 throughout, the accuracy 1 / (1 + loss), where not given."""
    splits = {"train": train_loss or [1.0] * len(test_loss), "test": test_loss}
    splits |= {} if val_loss is None else {"val": val_loss}
    rows = [
        (epoch, split, loss, accuracy[epoch - 1] if accuracy and split == "test" else 1 / (1 + loss))
        for split, losses in splits.items()
        for epoch, loss in enumerate(losses, start=1)
    ]
    frame = pd.DataFrame(rows, columns=["epoch", "split", "loss", "accuracy"])
    return frame.assign(**{"task": "t", "method": "ft", "seed": 0, **names})


def noisy(rng, *, seeds=3, epochs=20, rise=0.0, onset=8, noise=0.1, common=0.0, memory=0.5, falls=True):
    """Held-out and validation losses of seeds ``(seeds, epochs)``: fall, plateau, and a rise of ``rise`` since onset.

    Noise of training remembers the epoch before and reaches both curves; noise of the test images is common to seeds.
    """
    x = np.arange(epochs)
    mean = 1 + (1.2 * np.exp(-x / 2) if falls else 0) + rise * np.clip((x - onset) / (epochs - 3 - onset), 0, 1)
    shared = rng.normal(0, common, epochs)
    training = rng.normal(0, noise, (seeds, epochs))
    for t in range(1, epochs):
        training[:, t] = memory * training[:, t - 1] + np.sqrt(1 - memory**2) * training[:, t]
    return mean + shared + training, mean + training + rng.normal(0, common, (seeds, epochs))


def compared(
    rng, differences, *, slope=0.0, remaining=2.0, task_sd=1.0, seeds=3, seed_sd=1.0, x_noise=0.1, image_sd=0.05,
    tie=0.0, **names,
):  # fmt: skip
    """Pairs of tasks whose gap is ``remaining + slope * difference`` points, with spread of tasks, seeds and images.

    ``tie`` is the correlation of a seed's noise in the difference with that in the gap.
    """
    cells = []
    for i, true in enumerate(differences):
        of_task = remaining + slope * true + rng.normal(0, task_sd)
        of_images = rng.normal(0, image_sd, 400)
        for seed in range(seeds):
            points = of_task + rng.normal(0, seed_sd)
            images = points / 100 + of_images + rng.normal(0, image_sd, 400)
            shared = x_noise * tie * (points - of_task) / seed_sd
            rise = true + shared + rng.normal(0, x_noise * np.sqrt(1 - tie**2))
            cells.append(
                Compared(
                    **{
                        "task": f"task {i:02}", "group": "g", "pretraining": "random", "n_train": 300, "seed": seed,
                        "rise_nats": rise, "loss_gap_nats": rise + 1,
                        "images": PairedDraw(differences=images, groups=np.arange(400)), **names,
                    }
                )
            )  # fmt: skip
    return cells


def arms(rng, *, tasks=4, seeds=3, gain=3.0, gap=5.0, rise=-0.2, vpt=True, names=("label_smoothing 0.1",), **other):
    """FT with a change of that gain beside FT without, and VPT ahead of it by a gap, in points."""
    cells = []
    for name in names:
        for task in range(tasks):
            of_images = rng.normal(0, 0.05, 400)
            for seed in range(seeds):
                gained, ahead = (
                    PairedDraw(
                        differences=points / 100 + rng.normal(0, 0.003) + of_images + rng.normal(0, 0.05, 400),
                        groups=np.arange(400),
                    )
                    for points in (gain, gap)
                )
                named = {"arm": name, "task": f"task {task}", "pretraining": "random", "n_train": 300, "seed": seed}
                numbers = {"rise_change": rise + rng.normal(0, 0.01), "gained": gained, "gap": ahead if vpt else None}
                cells.append(Arm(**{**named, **numbers, **other}))
    return cells
