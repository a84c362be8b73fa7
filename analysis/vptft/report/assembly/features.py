"""From runs to what each left of the pretrained features, and whether that predicts the gap."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vptft.checkpoints.native import Run
from vptft.data import catalogue, registry
from vptft.data.images import ImageSet
from vptft.errors import CheckpointError, DataError, NotApplicable, SettingsError
from vptft.features.layers import LayerFeatures, Where, layer_features
from vptft.models.tuned import TunedModel
from vptft.report.assembly.samples import drawn, labels_of, model_inputs
from vptft.report.assembly.saved import identity, saved_or
from vptft.storage import atomic_path, cache_folder, key_of, lock, read_arrays
from vptft.why.features import explanation, preservation
from vptft.why.features.preservation import OTHER, OWN, REFERENCE, Described, FeaturePreservation, Seen

OTHER_TASKS = ("digits", "photo/category", "plain/category")
"""Where forgetting is measured: real digits, and the suite's classification tasks, less the run's own task."""
LEAST = 12
"""Images of a set."""


@dataclass(frozen=True, kw_only=True)
class FeatureSettings:
    """What is measured of each run.

    Attributes
    ----------
    n_images
        Images of each set, drawn by the seed: the reference, the own task's test images, each other task's.
    reference
        Name or folder of the images that preservation is measured on; ``photos`` is a stand-in for the pretraining set.
    others
        Tasks on which forgetting is measured; the run's own is left out, and what has the same classes.
    layers
        Which, counted from 0; empty for all.
    linear_layers
        How many layers are probed linearly, evenly spaced and ending at the last; k-NN probes all.
    seed
        Of images, folds and permutations.
    """

    n_images: int = 200
    reference: str = "photos"
    others: tuple[str, ...] = OTHER_TASKS
    layers: tuple[int, ...] = ()
    linear_layers: int = 4
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n_images < LEAST or self.linear_layers < 1 or min(self.layers, default=0) < 0:
            raise SettingsError(
                f"Features need {LEAST} images of a set, a layer to probe, and layers from 0 on: {self}."
            )


def features_of(
    run: Run,
    settings: FeatureSettings,
    *,
    folder: Path | None = None,
    on_set: Callable[[int, int], None] = lambda done, total: None,
) -> FeaturePreservation:
    """Compare a run's features with those of the pretrained network it started from.

    Pretrained features and pixels are kept in the cache; runs of one task and backbone share them.

    Raises
    ------
    NotApplicable
        The backbone is no plain vision transformer.
    """
    inputs = {"run": identity(run), **{name: _plain(value) for name, value in asdict(settings).items()}}
    if content := _own_images(settings):
        inputs["content"] = content

    def make(found: dict[str, Any]) -> FeaturePreservation:
        after = run.model()
        before = _pretrained(run)
        layers = _layers(after, settings.layers)
        sets = _sets(run, settings)
        total = len(sets) + 1
        seen = []
        for done, (role, images) in enumerate(sets):
            on_set(done, total)
            # Other tasks are asked for the last layer only.
            seen.append(_seen(run, before, after, images, role, layers[-1:] if role == OTHER else layers))
        on_set(len(sets), total)
        own = next(images for role, images in sets if role == OWN)
        info = run.info
        result = preservation.measure(
            before, after,
            run=Described(
                label=run.label, task=info.task, method=info.method, n_train=info.n_train, seed=info.seed,
                pretraining=info.pretraining, backbone=f"{info.backbone}, {info.image_size} px",
                accuracy=_accuracy(run), few_groups=info.few_groups,
            ),
            sets=seen,
            prompted=(_inputs(run, own), labels_of(own), np.array(own.groups)),
            probed_linearly=layers[:: -max(1, len(layers) // settings.linear_layers)][: settings.linear_layers],
            seed=settings.seed, settings=found,
        )  # fmt: skip
        on_set(total, total)
        return result

    return saved_or(FeaturePreservation, folder, inputs, make)


def preservation_effect(
    results: Sequence[FeaturePreservation], *, folder: Path | None = None
) -> explanation.PreservationEffect:
    """Whether preservation predicts accuracy over these runs."""
    inputs = {"runs": [result.settings.get("key") for result in results]}
    return saved_or(
        explanation.PreservationEffect, folder, inputs, lambda settings: explanation.measure(results, settings=settings)
    )


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _pretrained(run: Run) -> TunedModel:
    """The network as it was pretrained, without prompts."""
    return TunedModel(run.backbone().module, n_classes=1).eval()


def _layers(model: TunedModel, asked: tuple[int, ...]) -> tuple[int, ...]:
    depth = len(model.vit.blocks)
    if max(asked, default=0) >= depth:
        raise SettingsError(f"Layers {asked} are not all among the backbone's {depth}, counted from 0.")
    return tuple(sorted({*asked, depth - 1})) if asked else tuple(range(depth))


def _accuracy(run: Run) -> float:
    if run.info.test_accuracy is None:
        raise NotApplicable(
            f"{run.folder} has no test accuracy.", f"Make it: vptft-analyze checkpoints evaluate {run.folder} --save"
        )
    return run.info.test_accuracy


def _sets(run: Run, settings: FeatureSettings) -> list[tuple[str, ImageSet]]:
    """Sets of images and the part each plays."""
    n, seed = settings.n_images, settings.seed
    reference = _subset(registry.images(settings.reference, seed=seed), n, seed)
    if len(reference) < LEAST:
        raise DataError(f"The reference {settings.reference} holds {len(reference)} images; {LEAST} are needed.")
    found = [(REFERENCE, reference), (OWN, drawn(run, n, seed))]
    for name in dict.fromkeys(settings.others):
        task = registry.task(name)
        # The same classes in other pictures are learned with the run's own: that is transfer, and nothing forgotten.
        if name != run.info.task and list(task.classes) != run.info.classes:
            found.append((OTHER, _subset(task.load("test"), n, seed)))
    return found


def _own_images(settings: FeatureSettings) -> dict[str, str]:
    """Fingerprints of what a user named: the name may stand for other images by another day."""
    embedded = {row.name for row in catalogue.names() if row.group in ("reference", "suite", "observed")}
    found = {}
    if settings.reference not in embedded:
        found[settings.reference] = registry.images(settings.reference, seed=settings.seed).fingerprint()
    for name in settings.others:
        if name not in embedded:
            found[name] = registry.task(name).load("test").fingerprint()
    return found


def _subset(images: ImageSet, n: int, seed: int) -> ImageSet:
    chosen = np.random.default_rng(seed).choice(len(images), size=min(n, len(images)), replace=False)
    return images.subset(np.sort(chosen))


def _seen(
    run: Run, before: TunedModel, after: TunedModel, images: ImageSet, role: str, layers: tuple[int, ...]
) -> Seen:
    inputs = _inputs(run, images)
    network = [run.info.backbone_sha256, run.info.image_size, run.info.mean, run.info.std]
    key = key_of("layers", images.fingerprint(), network, list(layers))
    kept = _cached(key, lambda: layer_features(before, inputs, layers=layers)) if network[0] else layer_features(
        before, inputs, layers=layers
    )  # fmt: skip
    found = kept if _same_function(before, after) else layer_features(after, inputs, layers=layers)
    if not all(np.isfinite(each).all() for each in found.values()):
        raise CheckpointError(f"{run.folder} gives features of {images.name} that are not finite: did it diverge?")
    return Seen(
        name=images.name, role=role, before=kept, after=found,
        groups=np.array(images.groups), labels=None if role == REFERENCE else labels_of(images),
    )  # fmt: skip


def _same_function(before: TunedModel, after: TunedModel) -> bool:
    """Whether both give the same tokens: no prompts, no adapters, no weight moved, as with a probe."""
    first, second = before.backbone.state_dict(), after.backbone.state_dict()
    return after.prompts is None and first.keys() == second.keys() and all(
        torch.equal(value, second[name]) for name, value in first.items()
    )  # fmt: skip


def _inputs(run: Run, images: ImageSet) -> torch.Tensor:
    return model_inputs(run, _pixels(_Keyed(images.fingerprint(), images), run.info.image_size))


class _Keyed:
    """A set of images that equals another of the same content."""

    def __init__(self, key: str, images: ImageSet) -> None:
        self.key, self.images = key, images

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Keyed) and other.key == self.key


@lru_cache(maxsize=16)
def _pixels(images: _Keyed, size: int) -> torch.Tensor:
    """Pixels of a set: rendering scenes costs more than looking at them, and runs of a task share their test images."""
    path = cache_folder() / "pixels" / f"{key_of(images.key, size)}.npz"
    with lock(path):
        if path.is_file():
            return torch.from_numpy(read_arrays(path)["pixels"])
        pixels = images.images.pixels(size)
        with atomic_path(path) as temporary:
            np.savez(temporary, pixels=pixels.numpy())
    return pixels


def _cached(key: str, make: Callable[[], LayerFeatures]) -> LayerFeatures:
    path = cache_folder() / "layers" / f"{key}.npz"
    with lock(path):
        if not path.is_file():
            made = make()
            with atomic_path(path) as temporary:
                np.savez(temporary, **{f"{kind} {layer}": each for (layer, kind), each in made.items()})  # type: ignore[arg-type]  # numpy's stub wants no str keys
        arrays = read_arrays(path)
    found: LayerFeatures = {}
    for name, values in arrays.items():
        kind, layer = name.split()
        found[Where(int(layer), "cls" if kind == "cls" else "patches")] = values
    return found
