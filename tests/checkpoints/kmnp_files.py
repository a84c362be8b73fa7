"""Logs and results as KMnP/vpt writes them, built from what formats say, with values a test chooses."""

from collections import defaultdict

import torch

PREFIX = "[11/23 04:52:38][INFO] visual_prompt: {:4d}: "


def config(
    *, folder="out", name="vtab-dtd", lr=0.25, wd=0.001, batch=64, seed=None, epochs=2, kind="prompt", deep=True,
    mixed=None, location=None, pooling=None, feature="sup_vitb16_imagenet21k",
):  # fmt: skip
    """Their settings as their program prints them, in one line."""
    prompt = f"'NUM_TOKENS': 10, 'DEEP': {deep}" + ("" if mixed is None else f", 'FT_PT_MIXED': {mixed}")
    for option, value in (("LOCATION", location), ("VIT_POOL_TYPE", pooling)):
        prompt += "" if value is None else f", {option!r}: {value!r}"
    return (
        f"CfgNode({{'OUTPUT_DIR': {str(folder)!r}, 'SEED': {seed}, "
        f"'MODEL': CfgNode({{'TRANSFER_TYPE': {kind!r}, 'MLP_NUM': 0, 'PROMPT': CfgNode({{{prompt}}})}}), "
        f"'SOLVER': CfgNode({{'BASE_LR': {lr}, 'WEIGHT_DECAY': {wd}, 'TOTAL_EPOCH': {epochs}, 'OPTIMIZER': 'sgd'}}), "
        f"'DATA': CfgNode({{'NAME': {name!r}, 'FEATURE': {feature!r}, 'BATCH_SIZE': {batch}}})}})"
    )


def messages(*, val=(10.0, 20.0), test=(), trained_on=None, settings=None, **options):
    """What one job logs: top-1 percentages of every epoch, on val and (final runs) on test."""
    name = options.get("name", "vtab-dtd")
    epochs = options.setdefault("epochs", len(val))
    yield "Rank of current process: 0. World size: 1"
    yield "Training with config:"
    yield settings or config(**options)
    for split, size in ((trained_on or ("trainval" if test else "train"), 800), ("val", 200)):
        yield f"Constructing {name} dataset {split}..."
        yield f"Number of images: {size}"
        yield "Number of classes: 47 / 47"
    yield "Total Parameters: 86000\t Gradient Parameters: 900"
    for i, top1 in enumerate(val, start=1):
        yield f"Training {i} / {epochs} epoch, with learning rate {0.5 / i}"
        yield "\tTraining 2/4. train loss: 9.9999,\t0.0133 s / batch. (data: 2.39e-04). ETA=0:00:00, max mem: 0.0 GB "
        yield f"Epoch {i} / {epochs}: avg data time: 3.85e-04, avg batch time: 0.0106, average train loss: {5 / i:.4f}"
        for split, values in (("val", val), ("test", test)):
            if values:
                yield f"Inference ({split}):avg data time: 4.5e-06, avg batch time: 0.0408, average loss: {6 / i:.4f}"
                yield f"Classification results with {split}_{name}: top1: {values[i - 1]:.2f}\ttop5: 100.00\t"
        yield f"Best epoch {i}: best metric: {top1 / 100:.3f}"


def log(*jobs):
    """The text of a log that holds jobs, each given as the options of :func:`messages`."""
    lines = [PREFIX.format(i) + message for job in jobs for i, message in enumerate(messages(**job))]
    return "\n".join(lines) + "\n"


def results(path, *, name="vtab-dtd", val=(10.0, 20.0), test=()):
    """Write ``eval_results.pth`` as their evaluator leaves it: defaultdicts of defaultdicts."""
    found = defaultdict(dict)
    for i, top1 in enumerate(val):
        found[f"epoch_{i}"]["classification"] = {f"val_{name}": {"top1": top1 / 100, "top5": 1.0}}
        if test:
            found[f"epoch_{i}"]["classification"][f"test_{name}"] = {"top1": test[i] / 100, "top5": 1.0}
    torch.save(found, path)


def write_run(root, *, suffix, name="vtab-dtd", lr=0.25, wd=0.001, run=1, feature="sup_vitb16_imagenet21k", **options):
    """Write a run where tune_vtab.py would, and return its folder."""
    folder = root.parent / f"{root.name}{suffix}" / name / feature / f"lr{lr}_wd{wd}" / f"run{run}"
    folder.mkdir(parents=True)
    job = {"folder": folder, "name": name, "lr": lr, "wd": wd, "feature": feature, **options}
    (folder / "logs.txt").write_text(log(job))
    results(folder / "eval_results.pth", name=name, **{k: v for k, v in options.items() if k in ("val", "test")})
    return folder
