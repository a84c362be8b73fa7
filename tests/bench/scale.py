"""Sets too large to keep: what their statistics hold, and from measured costs what the largest would take."""

import tempfile
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bench.extraction import write_weights
from bench.timing import Options, say, typical, verdict
from vptft.data.folders import read_folder
from vptft.data.suite.photographs import photographs, picture
from vptft.features.extraction import BATCH, Features
from vptft.features.extractors import Extractor, load_extractor
from vptft.features.spaces import FeatureSpace
from vptft.features.statistics import Statistics, read_statistics
from vptft.features.streaming import CHUNK

LARGEST_STATE = 100e6
SPACE = FeatureSpace(extractor="drawn", weights="", resize="none", dtype="float32")
WIDTH, HEIGHT, QUALITY = 500, 375, 98
"""Of a typical ImageNet file; at this quality a crop of the photographs has about as many bytes as one, 100 kB."""
SETS = {"ImageNet-21k": 14_197_122, "LAION-400M": 413_000_000}
GPUS = (8, 256)


def memory(options: Options) -> None:
    """State of streamed statistics: as arrays in memory and as a file, again after ten times as many images."""
    d, chunks = (256, (6, 60)) if options.quick else (2048, (12, 125, 1250))
    sizes, state, done = [], None, 0
    with tempfile.TemporaryDirectory() as folder:
        for stop in chunks:
            for number in range(done, stop):
                found = _chunk(number, d)
                state = state.merge(found) if state else found.shrunk()
            done = stop
            state.save(Path(folder) / "state.npz")
            sizes.append((state.n, _held(state), (Path(folder) / "state.npz").stat().st_size))
    for n, held, file in sizes:
        say(f"State of {n:,} images, d={d}: {held / 1e6:.1f} MB in memory, {file / 1e6:.1f} MB as a file "
            f"(bar: under {LARGEST_STATE / 1e6:.0f} MB): {verdict(max(held, file) < LARGEST_STATE)}")  # fmt: skip
    (_, first, first_file), (_, last, last_file) = sizes[0], sizes[-1]
    same = first == last and abs(last_file - first_file) < 100
    say(f"  the same whatever N (file: {last_file - first_file:+d} bytes, the digits of N): {verdict(same)}")
    say(f"  and while one chunk of {CHUNK} is merged in, at most {_peak(state, _chunk(done, d)) / 1e6:.0f} MB more")


def large_sets(options: Options) -> None:
    """Measure what an image costs at every stage, and say what the largest sets would take, and what holds them up."""
    with tempfile.TemporaryDirectory() as folder:
        costs = _measured(Path(folder), options)
    say(f"Cost of `fid stats`, {WIDTH}x{HEIGHT} JPEG of {costs.megabytes * 1e3:.0f} kB, InceptionV3 at 299 px, d=2048")
    say("  MEASURED here, one core, ms an image:")
    for stage in ("list", "hash", "decode", "prepare", "update", "save"):
        say(f"    {stage:8} {1e3 * getattr(costs, stage):8.3f}  {_ABOUT[stage]}")
    say(f"    network  {1e3 * costs.network:8.1f}  on this core; a GPU is assumed below")
    say(f"  MEASURED, s a shard: merge {costs.merge:.2f} (reading its file of {costs.state:.0f} MB and merging it in)")
    hashed = "the whole set" if costs.hashes_whole else "its own files"
    say(f"  MEASURED: every call of `--shard I/N` hashes {hashed}; READ in its code: it lists the whole set")
    say(f"  ASSUMED: {options.gpu_rate:,.0f} images/s a GPU through the network, {options.cores} cores a GPU with a "
        f"process each, {options.read_rate:.0f} MB/s a GPU of reading, {options.shards} shards a process, files of "
        "one size")  # fmt: skip
    for line in _table(costs, options):
        say(f"    {line}")
    say("  Hours of a stage are those it alone would take. A process does one thing after another; merging comes last.")
    say("  parts: every process is given files of its own (tars, sub-folders); --shard: I/N of one folder.")


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Seconds an image, but for ``merge``: seconds a shard; MB an image, and MB a shard's ``state``."""

    list: float
    hash: float
    decode: float
    prepare: float
    network: float
    update: float
    save: float
    merge: float
    megabytes: float
    state: float
    hashes_whole: bool


_ABOUT = {
    "list": "finding the file and reading its header",
    "hash": "SHA-256 of the file, which names the result",
    "decode": "to RGB",
    "prepare": "antialiased resize to 299 px",
    "update": f"scatter and sample, a chunk of {CHUNK} merged into the state",
    "save": f"state to disk, once a chunk of {CHUNK}",
}


def hours(costs: Costs, images: int, gpus: int, *, in_parts: bool, options: Options) -> dict[str, float]:
    """Hours that every stage alone would take, and ``total``."""
    processes = gpus * options.cores
    mine = images / processes
    listed = mine if in_parts else images * options.shards
    hashed = images * options.shards if costs.hashes_whole and not in_parts else mine
    stages = {
        "list": listed * costs.list,
        "hash": hashed * costs.hash,
        "decode": mine * (costs.decode + costs.prepare),
        "statistics": mine * (costs.update + costs.save),
        "network": images / gpus / options.gpu_rate,
        # Hashing reads every byte, and decoding reads it again.
        "reading": (mine + hashed) * options.cores * costs.megabytes / options.read_rate,
        "merge": processes * options.shards * costs.merge,
    }
    alone = sum(stages[name] for name in ("list", "hash", "decode", "statistics")) + mine / options.gpu_rate
    total = max(alone, stages["network"], stages["reading"]) + stages["merge"]
    return {name: seconds / 3600 for name, seconds in {**stages, "total": total}.items()}


def _table(costs: Costs, options: Options) -> Iterator[str]:
    header = ("list", "hash", "decode", "statistics", "network", "reading", "merge", "total")
    yield f"{'hours':14}{'GPUs':>5} {'given':8}" + "".join(f"{name:>11}" for name in header) + "  bottleneck"
    for name, images in SETS.items():
        for gpus in GPUS:
            for in_parts in (True, False):
                found = hours(costs, images, gpus, in_parts=in_parts, options=options)
                most = max(header[:-1], key=found.__getitem__)
                cells = "".join(f"{found[stage]:11.2f}" for stage in header)
                yield f"{name:14}{gpus:5d} {'parts' if in_parts else '--shard':8}{cells}  {most}"


def _measured(folder: Path, options: Options) -> Costs:
    count = 8 if options.quick else 2 * BATCH
    root = folder / "images"
    root.mkdir()
    _write_photographs(root, count)
    images = read_folder(root)
    extractor = load_extractor("inception", weights=write_weights(folder / "weights.pth"))
    opened = [images.read(i) for i in range(count)]
    batch = torch.stack([extractor.prepare(image) for image in opened[:BATCH]])
    state, chunk = _full_state(), _chunk(99, 2048)
    take = partial(typical, repetitions=options.repetitions)
    whole, quarter = take(images.fingerprint), take(images.subset(range(count // 4)).fingerprint)
    file = folder / "state.npz"
    state.save(file)
    return Costs(
        list=take(partial(read_folder, root)) / count,
        hash=whole / count,
        decode=take(partial(_each, images.read, range(count))) / count,
        prepare=take(partial(_each, extractor.prepare, opened)) / count,
        network=take(partial(_network, extractor, batch)) / len(batch),
        update=take(partial(_folded, state, chunk)) / CHUNK,
        # Disks are waited for: the clock, not the CPU.
        save=take(partial(state.save, file), clock="wall") / CHUNK,
        merge=take(lambda: state.merge(read_statistics(file)), clock="wall"),
        megabytes=sum(each.stat().st_size for each in root.iterdir()) / count / 1e6,
        state=file.stat().st_size / 1e6,
        hashes_whole=quarter > whole / 2,
    )


def _write_photographs(root: Path, count: int) -> None:
    """Write crops at the photographs' own scale: enlarged ones would decode too fast."""
    pictures = [picture(photo.name) for photo in photographs("reference")]
    fitting = [each for each in pictures if each.width >= WIDTH and each.height >= HEIGHT]
    rng = np.random.default_rng(0)
    for i in range(count):
        whole = fitting[i % len(fitting)]
        left, top = rng.integers(whole.width - WIDTH + 1), rng.integers(whole.height - HEIGHT + 1)
        whole.crop((left, top, left + WIDTH, top + HEIGHT)).save(root / f"{i:04d}.jpg", quality=QUALITY)


def _each(act: Callable[[object], object], items: list[object] | range) -> None:
    for item in items:
        act(item)


@torch.inference_mode()
def _network(extractor: Extractor, batch: torch.Tensor) -> torch.Tensor:
    return extractor.embed(batch)


def _folded(state: Statistics, chunk: Statistics) -> Statistics:
    """What streaming does with a chunk, from its features on."""
    assert chunk.features is not None
    return state.merge(Statistics.of(chunk.features))


def _full_state() -> Statistics:
    """A state whose sample is full."""
    state = _chunk(0, 2048).shrunk()
    for number in range(1, 6):
        state = state.merge(_chunk(number, 2048))
    return state


def _chunk(number: int, d: int) -> Statistics:
    """Statistics of one chunk of drawn features; the ids are all of one length, so that files can be compared."""
    values = np.random.default_rng(number).normal(size=(CHUNK, d)).astype(np.float32)
    ids = tuple(f"{number:06d}/{i:06d}.jpg" for i in range(CHUNK))
    return Statistics.of(
        Features(name="drawn", distance_name="FD", space=SPACE, values=values, ids=ids, groups=ids, labels=None)
    )


def _held(state: Statistics) -> int:
    """Bytes of arrays and names."""
    assert state.scatter is not None
    assert state.features is not None
    names = sum(len(each) for each in (*state.features.ids, *state.features.groups))
    return state.mean.nbytes + state.scatter.nbytes + state.features.values.nbytes + names


def _peak(state: Statistics, chunk: Statistics) -> int:
    """Bytes that one merge takes beyond what is held before it."""
    tracemalloc.start()
    state.merge(chunk)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak
