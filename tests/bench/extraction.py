"""Speed from files to features: the same PNGs through pytorch-fid, through ours, and through a bare model loop."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import pytorch_fid.fid_score
import torch
from pytorch_fid import inception as peer

from bench.distances import own_home
from bench.timing import Options, Rival, compare, say, timed, verdict
from vptft.data.folders import read_folder
from vptft.data.images import ImageSet
from vptft.data.suite import reference_set
from vptft.features import extraction
from vptft.features.extractors import Extractor, load_extractor

BATCH, PIXELS = 50, 128
MANY, FEW = 500, 100
LONGEST = 720.0
"""Seconds that the paired repetitions with the many images may take."""


def end_to_end(options: Options) -> None:
    """Folder to features, one thread, batch 50, random weights."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        weights = write_weights(root / "weights.pth")
        extractor = load_extractor("inception", weights=weights, legacy_resize=True)
        network = peer_network(weights)
        count = 4 if options.quick else _affordable(root, extractor, network, options)
        files = write_images(root / f"{count}", count)
        images = read_folder(root / f"{count}")
        inputs = [extractor.prepare(images.read(i)) for i in range(count)]
        batches = [torch.stack(inputs[i : i + BATCH]) for i in range(0, count, BATCH)]
        ours, theirs, bare = compare(
            f"End to end, {count} PNGs of {PIXELS} px, batch {BATCH}, InceptionV3 with random weights",
            partial(_ours, images, extractor),
            [
                Rival("pytorch-fid's get_activations", partial(_theirs, files, network), 1.7),
                Rival("bare loop over prepared tensors, within 5%", partial(_bare, batches, extractor), 1 / 1.05),
            ],
            repetitions=options.repetitions,
        )
        apart = float(np.abs(ours - theirs).max())
        say(f"  features (sd {theirs.std():.3f}) are within {apart:.1e} of pytorch-fid's (bar: 1e-3): "
            f"{verdict(apart <= 1e-3)}; within {np.abs(ours - bare).max():.1e} of the bare loop's")  # fmt: skip


def write_images(folder: Path, count: int) -> list[str]:
    """Write crops of photographs as PNGs of one size, the only ones that pytorch-fid takes; return their paths."""
    folder.mkdir()
    crops = reference_set(count)
    for i in range(count):
        crops.read(i).resize((PIXELS, PIXELS)).save(folder / f"{i:04d}.png")
    return sorted(map(str, folder.glob("*.png")))


def write_weights(path: Path) -> Path:
    """Write random weights, under which every layer keeps the signal's size and no batch normalisation is trivial."""
    torch.manual_seed(0)
    with (
        mock.patch.object(peer, "load_state_dict_from_url"),
        mock.patch.object(torch.nn.Module, "load_state_dict"),
    ):
        network = peer.fid_inception_v3()
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if isinstance(module, torch.nn.BatchNorm2d):
            for shift in (module.running_mean, module.bias):
                torch.nn.init.normal_(shift, std=0.2)
            for scale in (module.running_var, module.weight):
                torch.nn.init.uniform_(scale, 0.5, 1.5)
    torch.save(network.state_dict(), path)
    return path


def peer_network(weights: Path) -> torch.nn.Module:
    """pytorch-fid's own network as it runs it."""
    state = torch.load(weights, weights_only=True)
    with mock.patch.object(peer, "load_state_dict_from_url", return_value=state):
        return peer.InceptionV3([peer.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).eval()


def _affordable(root: Path, extractor: Extractor, network: torch.nn.Module, options: Options) -> int:
    """Say and return how many images the repetitions take, from the time of a few."""
    files = write_images(root / "probe", 2 * BATCH)
    images = read_folder(root / "probe")
    calls: list[Callable[[], object]] = [partial(_theirs, files, network), partial(_ours, images, extractor)]
    # The bare loop is taken to cost what ours does.
    theirs, ours = (timed(call).wall * MANY / len(files) for call in calls)
    whole = (theirs + 2 * ours) * (options.repetitions + 1)
    count = MANY if whole <= LONGEST else FEW
    say(f"  {MANY} images would take about {whole / 60:.0f} min in all, so {count} are timed")
    return count


def _ours(images: ImageSet, extractor: Extractor) -> np.ndarray:
    """What a user calls, with nothing in the cache: it hashes, reads, writes every batch and the whole."""
    with own_home(), mock.patch.object(extraction, "BATCH", BATCH):
        return extraction.extract(images, extractor).values


def _theirs(files: list[str], network: torch.nn.Module) -> np.ndarray:
    with mock.patch.object(pytorch_fid.fid_score, "tqdm", lambda batches: batches):
        return pytorch_fid.fid_score.get_activations(files, network, batch_size=BATCH, num_workers=0)


@torch.inference_mode()
def _bare(batches: list[torch.Tensor], extractor: Extractor) -> np.ndarray:
    return np.concatenate([extractor.embed(batch).numpy() for batch in batches])
