"""Evidence made from a known truth."""

import numpy as np

from vptft.advise.tasks import Block, NewTask, Trained


def made(rng, *, tasks=12, slope=4.0, mean=1.0, between=3.0, noise=0.0, sizes=(300.0,), within=0.0, n_seeds=3):
    """Tasks whose gap is ``mean + slope * (disparity - 1/2)`` plus a residual, one observation a size."""
    out = []
    for i in range(tasks):
        x, own = rng.uniform(), rng.normal(0, between)
        gaps = [mean + slope * (x - 0.5) + own + rng.normal(0, np.hypot(within, np.sqrt(noise))) for _ in sizes]
        out.append(
            Trained(
                task=f"task {i}", gaps=tuple(map(float, gaps)), sizes=tuple(sizes), noise=(noise,) * len(sizes),
                values={"disparity": x, "objective_is_far": float(x > 0.5)}, objective_is_far=bool(x > 0.5),
                data_is_far=bool(i % 2), n_seeds=n_seeds,
            )
        )  # fmt: skip
    return tuple(out)


def block(tasks, **fields):
    return Block(**{"name": "made", "backbone": "tiny", "pretraining": "random", "tasks": tasks, **fields})


def new(**fields):
    values = {"disparity": 0.9, "objective_is_far": 1.0, "log2_n": float(np.log2(300))}
    return NewTask(**{
        "task": "mine", "backbone": "tiny", "pretraining": "random", "n_train": 300, "values": values,
        "objective_is_far": True, "data_is_far": True, **fields,
    })  # fmt: skip
