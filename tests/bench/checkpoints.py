"""Inspecting a large checkpoint: its time and memory beside those of reading the file after the start of torch."""

import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from bench.timing import Options, say, verdict

SLOWER, LARGER = 2.0, 1.2
"""The bars: wall time at most that many times the baseline's, memory above torch's at most that many times the file."""

CLASSES, PROMPTS, PATCH = 100, 10, 16

START = "import torch"
READ = """\
import sys, torch
with open(sys.argv[1], "rb", buffering=0) as file:
    while file.read(1 << 20):
        pass
"""
INSPECT = """\
import sys
from vptft.cli.app import app
app(["checkpoints", "inspect", sys.argv[1]])
"""

# A process's peak counts that of the process it was forked from until it became its own program. This one is small,
# where the bench itself, with torch and the checkpoint behind it, would be what is measured.
LAUNCH = """\
import os, sys, time
start = time.perf_counter()
quiet = (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[quiet])
_, status, usage = os.wait4(child, 0)
print(time.perf_counter() - start, usage.ru_maxrss)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""


class Taken(NamedTuple):
    """What a process took: seconds of the clock, and bytes of memory at its peak."""

    wall: float
    peak: float


def inspect(options: Options) -> None:
    """`checkpoints inspect` of a ViT-B/16 VPT-deep checkpoint of KMnP/vpt, in fresh processes."""
    width, depth, side = (48, 2, 4) if options.quick else (768, 12, 14)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "last_model.pth"
        torch.save({"model": kmnp_deep(width=width, depth=depth, side=side)}, path)
        size = path.stat().st_size
        commands = {"inspect": INSPECT, "read": READ, "start": START}
        for source in commands.values():
            run(source, path)  # warm: the file and the modules are in the page cache for all sides
        rows: dict[str, list[Taken]] = {name: [] for name in commands}
        for number in range(options.repetitions):
            for name in list(commands)[:: -1 if number % 2 else 1]:
                rows[name].append(run(commands[name], path))
    say(f"checkpoints inspect, VPT-deep of width {width}, {depth} layers, {size / 2**20:.0f} MiB, fresh processes:")
    for name, about in (
        ("inspect", "ours"), ("read", "import torch and read the file in 1 MiB pieces"), ("start", "import torch"),
    ):  # fmt: skip
        wall, peak = zip(*rows[name], strict=True)
        say(f"  {about}: wall {_spread(wall)} s; peak {_spread([each / 2**20 for each in peak], 0)} MiB")
    slower = [ours.wall / theirs.wall for ours, theirs in zip(rows["inspect"], rows["read"], strict=True)]
    larger = [(ours.peak - theirs.peak) / size for ours, theirs in zip(rows["inspect"], rows["start"], strict=True)]
    _bar("wall beside reading", slower, SLOWER, "x")
    _bar("memory above import torch", larger, LARGER, "x the file")


def kmnp_deep(*, width: int, depth: int, side: int) -> dict[str, torch.Tensor]:
    """State dict as KMnP/vpt's program names it, with random weights."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}

    def draw(name: str, *shape: int) -> None:
        state[name] = torch.randn(*shape, generator=generator) * 0.02

    def pair(name: str, *shape: int) -> None:
        draw(f"{name}.weight", *shape)
        draw(f"{name}.bias", shape[0])

    root = "enc.transformer."
    draw(f"{root}prompt_embeddings", 1, PROMPTS, width)
    draw(f"{root}deep_prompt_embeddings", depth - 1, PROMPTS, width)
    draw(f"{root}embeddings.cls_token", 1, 1, width)
    draw(f"{root}embeddings.position_embeddings", 1, side**2 + 1, width)
    pair(f"{root}embeddings.patch_embeddings", width, 3, PATCH, PATCH)
    for i in range(depth):
        layer = f"{root}encoder.layer.{i}."
        for name in ("attention_norm", "ffn_norm"):
            pair(f"{layer}{name}", width)
        pair(f"{layer}ffn.fc1", 4 * width, width)
        pair(f"{layer}ffn.fc2", width, 4 * width)
        for name in ("query", "key", "value", "out"):
            pair(f"{layer}attn.{name}", width, width)
    pair(f"{root}encoder.encoder_norm", width)
    pair("head.last_layer", CLASSES, width)
    return state


def run(source: str, path: Path) -> Taken:
    """Run Python source on a file in a fresh process; its output is not shown.

    Raises
    ------
    RuntimeError
        The process failed.
    """
    words = [sys.executable, "-S", "-c", LAUNCH, sys.executable, "-c", source, str(path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"A process failed: {done.stderr}\n{source}")
    wall, peak = map(float, done.stdout.split())
    return Taken(wall, peak * (1 if sys.platform == "darwin" else 1024))


def _spread(values: Sequence[float], digits: int = 2) -> str:
    middle, low, high = (f"{f(values):.{digits}f}" for f in (statistics.median, min, max))
    return f"{middle} [{low}, {high}]"


def _bar(what: str, values: Sequence[float], bar: float, unit: str) -> None:
    holds = statistics.median(values) <= bar
    say(f"  {what} (bar: at most {bar:g}{unit}): {_spread(values)} {verdict(holds)}")
