"""Preservations written down rather than measured: what many runs would give."""

import numpy as np
import pandas as pd

from vptft.why.features import drift, written
from vptft.why.features.preservation import OTHER, OWN, REFERENCE, TABLE, FeaturePreservation


def preserved(method, cka, accuracy, *, task="photo/count", seed=0, forgotten=0.1, layers=3, prompts=False, **fields):
    """One run: CKA falls over layers to ``cka``; k-NN on another task falls by ``forgotten``."""
    rows = []
    for layer in range(layers):
        now = 1 - (1 - cka) * (layer + 1) / layers
        for kind in ("cls", "patches"):
            named = ("photos", REFERENCE, layer, kind)
            rows += [(*named, "cka", now, np.nan, 0.0), (*named, "subspace_overlap", now**2, np.nan, 0.1)]
            rows += [(*named, "procrustes", np.sqrt(2 - 2 * max(now, 0)), np.nan, np.sqrt(2))]
            rows += [(*named, "neighbour_overlap", now / 2, np.nan, 0.05)]
            rows += [(f"{task} (test)", OWN, layer, kind, "cka", now - 0.1, np.nan, 0.0)]
    for name in ("digits (test)", "faces (test)"):
        rows += [(name, OTHER, layers - 1, "cls", probe, 0.8 - forgotten, 0.8, np.nan) for probe in ("knn", "linear")]
    parts = ["embedding", *(f"block {i}" for i in range(layers)), "norm"]
    moved = [(part, 0.01 * (i + 1), 3.0, 20.0, 24.0, 100) for i, part in enumerate(parts)] if method == "ft" else []
    wrote = [
        (layer, kind, 0.2 + layer / 10, 0.5, 0.3, 0.1, 0.4) for layer in range(layers) for kind in ("cls", "patches")
    ]
    return FeaturePreservation(
        settings={"key": f"{method} {task} {seed}"}, label=f"{method} {task} seed {seed}", task=task, method=method,
        accuracy=accuracy / 100, read="cls", table=pd.DataFrame(rows, columns=list(TABLE)),
        drift=pd.DataFrame(moved, columns=list(drift.COLUMNS)),
        written=pd.DataFrame(wrote if prompts else [], columns=list(written.COLUMNS)), notes=[],
        **{"n_train": 300, "seed": seed, "pretraining": "self-distilled", "backbone": "tiny, 32 px",
           "few_groups": False, **fields},
    )  # fmt: skip


LADDER = {"ft": 0.3, "adapter": 0.4, "partial_k": 0.5, "lora": 0.6, "vpt_deep": 0.7, "bias": 0.8, "linear": 1.0}


def ladder(answer, *, tasks=6, seeds=3, noise=0.5, methods=LADDER, spread=0.03, rng=0, **fields):
    """Runs of a ladder of methods whose accuracy is ``answer(cka)`` plus a level of the task and noise."""
    rng = np.random.default_rng(rng)
    found = []
    for i in range(tasks):
        level = rng.uniform(20, 50)
        for method, dose in methods.items():
            cka = dose if dose == 1.0 else dose + spread * rng.normal()
            for seed in range(seeds):
                accuracy = level + answer(cka) + noise * rng.normal()
                found.append(
                    preserved(method, cka, accuracy, task=f"task {i}", seed=seed, prompts="vpt" in method, **fields)
                )
    return found
