"""Seeded synthetic results, made by the real analyses where they take plain numbers; no model is run."""

import numpy as np
import pandas as pd

from vptft.checkpoints import fairness
from vptft.checkpoints.recipe import Fact, Recipe
from vptft.evidence.statistics.resampling import PairedDraw
from vptft.storage import slug, write_json
from vptft.tuning.profile import COSTS, Profile
from vptft.when.distribution.classes import COLUMNS as CLASS_COLUMNS
from vptft.when.distribution.distance import SetDistance
from vptft.when.quadrants import plane
from vptft.when.quadrants.pairs import TaskPair
from vptft.why import overfitting
from vptft.why.attention.maps import OUTCOMES, AttentionMaps
from vptft.why.attention.score_settings import MASSES, SCORES, SIDES
from vptft.why.attention.scores import AttentionScores
from vptft.why.landscape.slices import LossSlice

TASKS = ("photo/category", "photo/count", "plain/category", "plain/count")
GAPS = (0.04, 0.11, -0.12, 0.01)
DISTANCES = (310.0, 325.5, 901.25, 940.0)
HOSTILE = (
    "<script>alert(1)</script>",
    "quotes \" and ' & $x^2$",
    "שלום \N{RIGHT-TO-LEFT OVERRIDE}עולם",
    "<img src=x onerror=alert(2)>" + "n" * 272,
)
"""Names that a page must show as they are and a figure must fit."""


def make_pair(task, gap, distance, *, seeds=1, n=300, data_is_far=None, objective_is_far=None):
    """A task where VPT minus FT is ``gap`` on average over images; who wins a single image is seeded noise."""
    rng = np.random.default_rng(len(task))
    ahead = 0.2 + max(gap, 0), 0.2 - min(gap, 0)
    draws = tuple(
        PairedDraw(
            differences=rng.permutation(np.repeat([1.0, -1.0, 0.0], _parts(n, *ahead))), groups=np.arange(n) // 2
        )
        for _ in range(seeds)
    )
    far_objective = not task.endswith("category") if objective_is_far is None else objective_is_far
    return TaskPair(
        task=task,
        objective="counting" if far_objective else "classification",
        objective_is_far=far_objective,
        pretraining="self-distilled",
        data_is_far=task.startswith("plain") if data_is_far is None else data_is_far,
        distance=distance,
        measure_name="FD (dinov2-s:56)",
        draws=draws,
        accuracy_vpt=0.5 + gap,
        accuracy_ft=0.5,
        few_groups=False,
    )


def _parts(n, ours, theirs):
    return [round(n * ours), round(n * theirs), n - round(n * ours) - round(n * theirs)]


def make_quadrants(tasks=TASKS, gaps=GAPS, distances=DISTANCES, **other):
    pairs = [make_pair(task, gap, far, **other) for task, gap, far in zip(tasks, gaps, distances, strict=True)]
    return plane.measure(pairs, seed=0)


def make_distance(task, value, *, reference="photos", measure_name="FD (dinov2-s:56)", n=300, **other):
    """Distance as of features of ``n`` images a side, with an interval of a tenth of it; ``other`` changes fields."""
    values = {
        "settings": {"seed": 0, "debias": "jackknife"},
        "first": reference,
        "second": task,
        "measure_name": measure_name,
        "route": "features: singular values of the cross-Gram matrix",
        "distance": value * 1.12,
        "debiased": value,
        "se": abs(value) * 0.05,
        "low": value - abs(value) * 0.1 - 4.0,
        "high": value + abs(value) * 0.1,
        "noise_floor": 90.0,
        "noise_floor_n": n // 2,
        "residual_bias": 4.0,
        "variance": 1500.0,
        "kid": value / 1000,
        "kid_se": abs(value) / 10_000,
        "mmd": value / 500,
        "mmd_se": abs(value) / 10_000,
        "mmd_biased": value / 480,
        "precision": 0.4,
        "recall": 0.3,
        "density": 0.5,
        "coverage": 0.2,
        "support_n": n,
        "class_shift": None,
        "class_shift_chance": None,
        "class_shift_p": None,
        "conditional_kid": None,
        "conditional_kid_se": None,
        "n_first": n,
        "n_second": n,
        "dimensions": 384,
        "skipped": [],
        "curve": pd.DataFrame({"n": [], "distance": [], "fitted": []}),
        "drivers": pd.DataFrame([("second", f"{task}#0", "g", 1.5)], columns=["side", "image", "group", "influence"]),
        "classes": pd.DataFrame([], columns=list(CLASS_COLUMNS)).astype(CLASS_COLUMNS),
    }
    return SetDistance(**{**values, **other})


UNKNOWN = dict.fromkeys(
    ("se", "low", "high", "noise_floor", "residual_bias", "kid", "kid_se", "n_first", "n_second")
) | {"noise_floor_n": 0}  # fmt: skip
"""What a distance between two files of moments does not have."""


def make_curves(tasks=TASKS, methods=("ft", "vpt_deep"), seeds=(0,), epochs=6):
    rng = np.random.default_rng(1)
    histories = [_history(task, method, seed, epochs, rng) for task in tasks for method in methods for seed in seeds]
    return overfitting.measure(histories, settings={})


def _history(task, method, seed, epochs, rng):
    epoch = np.arange(1, epochs + 1)
    rate = {"ft": 0.9}.get(method, 0.45) * rng.uniform(0.8, 1.2)
    train = 2.1 * np.exp(-rate * epoch) + 0.01
    test = 1.0 + 1.2 * np.exp(-rate * epoch) + 0.05 * rate * epoch + rng.normal(0, 0.02, epochs)
    parts = [
        pd.DataFrame({"epoch": epoch, "split": split, "loss": loss, "accuracy": 1 - loss / 3})
        for split, loss in (("train", train), ("test", test))
    ]
    return pd.concat(parts, ignore_index=True).assign(task=task, method=method, seed=seed)


def make_slice(task, method, *, points=7, label=None):
    axis = np.linspace(-0.5, 0.5, points)
    steep = 8.0 if method == "ft" else 3.0
    rows = [(a, b, 0.4 + steep * (a**2 + 0.6 * b**2 + 0.3 * a * b)) for a in axis for b in axis]
    return LossSlice(
        settings={"points": points, "extent": 0.5, "seed": 0, "n_images": 32},
        label=label or f"{method} {task} seed 0",
        task=task,
        method=method,
        table=pd.DataFrame(rows, columns=["a", "b", "loss"]),
    )


def make_attention(task, *, n=12, layers=12, grid=4, size=56, classes=None):
    rng = np.random.default_rng(len(task))
    maps = rng.gamma(1.0, size=(n, 2, grid, grid))
    maps /= maps.sum(axis=(2, 3), keepdims=True)
    y, x = np.mgrid[:size, :size]
    disc = (x - rng.uniform(15, 40, (n, 1, 1))) ** 2 + (y - rng.uniform(15, 40, (n, 1, 1))) ** 2 < 12**2
    pixels = np.where(disc[..., None], rng.integers(120, 255, (n, 1, 1, 3)), rng.integers(0, 90, (n, 1, 1, 3)))
    share = rng.dirichlet(np.ones(layers), size=n) * rng.uniform(0.2, 0.5, (n, 1))
    label, outcome = rng.integers(0, 8, n), [OUTCOMES[i % 4] for i in range(n)]
    tables = []
    for method in ("vpt", "ft"):
        prompt = share.sum(axis=1) if method == "vpt" else np.zeros(n)
        tables.append(
            pd.DataFrame(
                {
                    "image": [f"{task}#{i}" for i in range(n)],
                    "label": label,
                    "method": method,
                    "predicted": rng.integers(0, 8, n),
                    "outcome": outcome,
                    "patch_mass": 0.7 * (1 - prompt),
                    "cls_mass": 0.3 * (1 - prompt),
                    "register_mass": 0.0,
                    "prompt_mass": prompt,
                    "map_entropy_bits": 3.0,
                    "on_object": rng.uniform(0, 1, n),
                    "object_area": disc.mean(axis=(1, 2)),
                }
            )
        )
    return AttentionMaps(
        settings={"drawn": f"{n} test images without replacement, seed 0", "n_images": n, "seed": 0}
        | ({"classes": list(classes)} if classes else {}),
        task=task,
        table=pd.concat(tables, ignore_index=True),
        maps=maps.astype(np.float32),
        pixels=pixels.astype(np.uint8),
        share=share.astype(np.float32),
    )


MAP_KINDS = ["rollout", "gradcam", "random"]
MAP_SCORES = ("on_object", "gini", "faithfulness_tokens")


def make_scores(task="photo/count", draw=0, *, n=16, layers=3, heads=2, classes=("a", "b" * 60, "c")):
    rng = np.random.default_rng(draw)
    maps = rng.gamma(0.5, size=(n, 2, len(MAP_KINDS), 4, 4))
    maps /= maps.sum(axis=(3, 4), keepdims=True)
    outcome = [OUTCOMES[i % 4 if i < 8 else 0] for i in range(n)]
    names, groups = [f"image {i}" for i in range(n)], [f"tile {i // 2}" for i in range(n)]
    tables, masses, curves, checks = [], [], [], []
    for s, side in enumerate(SIDES):
        for kind in MAP_KINDS:
            measured = {name: rng.uniform(0.2, 0.4, n) + 0.1 * (1 - s) for name in MAP_SCORES}
            scores = dict.fromkeys(SCORES, np.nan) | measured
            tables.append(
                pd.DataFrame({
                    "image": names, "group": groups, "label": np.arange(n) % 3, "target": 0, "side": side,
                    "map": kind, "predicted": 0, "outcome": outcome, "sampled": True, "flat": False,
                    "gap": np.nan, "object_area": 0.1, **scores,
                })
            )  # fmt: skip
            share = np.linspace(0, 1, 5)
            curves += [
                {"side": side, "map": kind, "way": "tokens", "share": x, "deletion": 1 - x, "insertion": x, "n": n}
                for x in share
            ]
        masses.append(pd.DataFrame({"image": names, "side": side, "map": "rollout", **dict.fromkeys(MASSES, 0.25)}))
        for kind, ends, of in (("rollout", 0.8, 1.0), ("gradcam", 0.1, 0.2)):
            checks += [
                {"side": side, "map": kind, "changed": "weights", "depth": d, "similarity": 1 - d * (1 - ends), "n": 4}
                for d in (0.0, 0.5, 1.0)
            ]
            checks.append({"side": side, "map": kind, "changed": "class", "depth": np.nan, "similarity": of, "n": 4})
    head = pd.DataFrame(
        [
            (s, layer, h, 1 + layer + draw, 4 - 0.1 * h, 0.05 * layer, 0.1 * layer)
            for s in SIDES
            for layer in range(layers)
            for h in range(heads)
        ],
        columns=[
            "side",
            "layer",
            "head",
            "distance_patches",
            "entropy_bits",
            "prompt_share",
            "query_prompt_share",
        ],
    )
    drawn = np.array([0, 4, 1, 5, 2, 6, 3, 7])
    agreement = tables[0][["image", "group"]].assign(map="gradcam", spearman=0.5, top_overlap=0.5)
    return AttentionScores(
        settings={"seed": 0, "options": {"target": "true", "seed": 0, "shown": 2}, "classes": list(classes)}, task=task,
        pretraining="self-distilled", draw=draw, kinds=MAP_KINDS, table=pd.concat(tables, ignore_index=True),
        masses=pd.concat(masses, ignore_index=True), agreement=agreement,
        between=pd.DataFrame({"side": [], "map": [], "other": [], "spearman": []}), sanity=pd.DataFrame(checks),
        curves=pd.DataFrame(curves), heads=head, maps=maps.astype(np.float32), drawn=drawn,
        pixels=rng.integers(0, 255, (len(drawn), 56, 56, 3), dtype=np.uint8),
        head_maps=rng.random((len(drawn), 2, layers, heads, 4, 4), dtype=np.float32),
        head_shares=rng.random((len(drawn), 2, layers, heads), dtype=np.float32),
    )  # fmt: skip


def make_profile(methods=("ft", "vpt_deep", "linear"), *, batches=(1, 8), lengths=(10,), runs=2, **other):
    """Made-up costs of methods, each with accuracies of ``runs`` runs on one task; ``other`` gives columns."""
    rng = np.random.default_rng(len(methods))
    rows = []
    for method in methods:
        for length in lengths:
            tuned, accuracy = 10.0 ** rng.uniform(3, 8), rng.uniform(0.2, 0.9)
            for batch in batches:
                costs = dict.fromkeys(COSTS, 4.0 * tuned) | {"base_bytes": 0.0, "parameters_tuned": tuned}
                costs |= {name: batch * tuned for name in ("activation_bytes", "peak_bytes")}
                for name in ("forward_ms", "step_ms"):
                    time = batch * rng.uniform(1, 90)
                    costs |= {name: time, f"{name}_min": 0.9 * time, f"{name}_max": 1.3 * time}
                about = {"method": method, "variant": "", "backbone": "tiny", "image_size": 32, "n_classes": 3}
                about |= {"prompt_length": length, "batch_size": batch}
                rows += [
                    about | {"run": f"r{run}", "task": "t", "n_train": 100, "accuracy": accuracy + run / 100} | costs
                    for run in range(max(1, runs))
                ]
                rows[-1] |= {"accuracy": rows[-1]["accuracy"] if runs else np.nan}
    table = pd.DataFrame(rows).assign(note="", not_applicable="")
    settings = {"repeats": 3, "threads": 1, "device": "cpu", "time": "process CPU time", "seed": 0}
    return Profile(settings=settings, table=table.assign(**other))


def make_fairness(decays=(0.0, 0.01)):
    """One pair whose weight decays differ, or do not."""
    told = [{"weight decay": Fact(decay, "run.json")} for decay in decays]
    pair = [Recipe(name=m, producer="", method=m, facts=f) for m, f in zip(("vpt_deep", "ft"), told, strict=True)]
    return fairness.measure([tuple(pair)])


def facts(tasks=TASKS, seeds=(0,)):
    """What ``study.json`` holds."""
    return {
        "size": "quick",
        "backbone": "dinov2-s",
        "backbone_sha256": "ab" * 32,
        "pretraining": "self-distilled",
        "reference": "photos",
        "n_train": 160,
        "n_test": 300,
        "epochs": 6,
        "image_size": 56,
        "seeds": list(seeds),
        "searched": False,
        "learning_rates": {f"{method} on {task}": 1e-3 for task in tasks for method in ("ft", "vpt_deep")},
        "confounds": ["weight_decay: 0.0 vs 0.01"],
        "runs": [
            {
                "task": task,
                "method": method,
                "seed": seed,
                "test_accuracy": 0.5,
                "parameters_tuned": 50_000 if method == "vpt_deep" else 21_000_000,
                "parameters_total": 22_000_000,
                "folder": f"{slug(task)}/{method}/seed{seed}",
            }
            for task in tasks
            for method in ("ft", "vpt_deep")
            for seed in seeds
        ],
        "provenance": {"command": "vptft-analyze quickstart", "versions": {"torch": "2.14.1"}, "commit": None},
    }


def save_study(folder, *, tasks=TASKS, gaps=GAPS, distances=DISTANCES, seeds=(0,), classes=None, scores=False):
    """Write a whole study, laid out as the quickstart lays it out."""
    make_fairness().save(folder / "fairness")
    make_quadrants(tasks, gaps, distances, seeds=len(seeds)).save(folder / "quadrants")
    make_curves(tasks, seeds=seeds).save(folder / "overfitting")
    for task, distance in zip(tasks, distances, strict=True):
        make_distance(task, distance).save(folder / "distance" / slug(task))
        make_attention(task, classes=classes).save(folder / "attention" / slug(task))
        if scores:
            make_scores(task, classes=classes or ("a", "b", "c")).save(folder / "attention-scores" / slug(task))
        for method in ("ft", "vpt_deep"):
            make_slice(task, method).save(folder / "landscape" / f"{slug(task)}-{method}")
    write_json(folder / "study.json", facts(tasks, seeds))
    return folder
