"""``fid``: distances between sets of images; ``fid stats`` and ``fid merge``: their statistics in shards."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from vptft.cli.options import (
    Device,
    Json,
    Out,
    Seed,
    Venue,
    WithDefault,
    guarded,
    progress,
    records,
    say,
    write_json,
    write_table,
)

if TYPE_CHECKING:
    from vptft.data.images import ImageSet
    from vptft.features.extractors import Extractor
    from vptft.features.statistics import Statistics
    from vptft.when.distribution.distance import DistanceSettings, SetDistance

# The same words as vptft.when.distribution.distance.Debias, which imports scipy; a test holds them together.
Debias = Literal["jackknife", "infinity", "delta"]

SHOWN = (
    "first", "second", "measure_name", "debiased", "low", "high", "distance", "noise_floor", "kid", "kid_se",
    "n_first", "n_second", "skipped",
)  # fmt: skip
"""Columns of the drawn table; JSON has them all."""

Weights = Annotated[Path | None, typer.Option(help="File of the Inception weights.")]
LegacyResize = Annotated[
    bool, typer.Option("--legacy-resize", help="Resize for Inception as pytorch-fid does, without antialiasing.")
]


app = typer.Typer(
    cls=WithDefault, no_args_is_help=True, rich_markup_mode="markdown",
    help="Distances between sets of images: FID with Inception features, FD with any other. `fid A B` compares.",
)  # fmt: skip


@app.command()
@guarded
def compare(
    first: Annotated[
        str,
        typer.Argument(
            help="The reference: a registered name, a task, photos, a folder, an archive, shards, arrays, or an .npz "
            "of statistics.",
            metavar="A",
        ),
    ],
    others: Annotated[
        list[str], typer.Argument(help="Sets to compare A with; suite, vtab for all of it.", metavar="B")
    ],
    extractor: Annotated[
        str | None,
        typer.Option(
            help="Feature spaces, by commas (see `extractors`): inception[:768|192|64], dinov2-s[:SIZE], clip-b32, "
            "efficientnet-lite0, pixels, timm/NAME[:SIZE], ARCHITECTURE@FILE. [default: that of given statistics, or "
            "inception]",
            show_default=False,
        ),
    ] = None,
    alone: Annotated[bool, typer.Option("--alone", help="Do not add a second space beside a single one.")] = False,
    matrix: Annotated[bool, typer.Option("--matrix", help="Every set against every other.")] = False,
    debias: Annotated[Debias, typer.Option(help="How the bias of small sets is taken off.")] = "jackknife",
    components: Annotated[
        int | None, typer.Option(help="Measure in that many principal components of A.", min=1)
    ] = None,
    neighbours: Annotated[int, typer.Option(help="k of precision, recall, density and coverage.", min=1)] = 5,
    per_class: Annotated[bool, typer.Option("--per-class", help="Distances of each class of B too.")] = False,
    weights: Weights = None,
    legacy_resize: LegacyResize = False,
    n: Annotated[int | None, typer.Option(help="Draw that many images of each set.", min=2)] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    venue: Venue = None,
    out: Out = None,
    json: Json = False,
) -> None:
    """Distance of A to each B: exact, debiased, with interval and noise floor; also KID, CMMD, precision and recall.

    Examples: `vptft-analyze fid imagenet dtd` (after `tasks add`), `vptft-analyze fid photos suite --extractor
    dinov2-s,efficientnet-lite0 -o reports/mine`, `vptft-analyze fid imagenet.npz shards/{000..009}.tar --json`

    See also `vptft-analyze fid stats --help` and `vptft-analyze fid merge --help` for large sets.
    """
    from vptft.data import registry
    from vptft.features.extractors import companion, components_of, load_extractor
    from vptft.features.statistics import is_statistics, missing_shards, read_statistics
    from vptft.when.distribution.distance import DistanceSettings

    seconds = [task for other in others for task in registry.members(other)]
    names = list(dict.fromkeys([first, *seconds]))
    files = {name: read_statistics(Path(name)) for name in names if is_statistics(Path(name))}
    images = {name: registry.images(name, n=n, seed=seed) for name in names if name not in files}
    told = next((each.space.extractor for each in files.values() if each.space), "inception")
    spaces = list(dict.fromkeys(filter(None, (extractor or told).split(","))))
    if len(spaces) == 1 and not alone and not files and companion(spaces[0]) not in spaces:
        spaces.append(companion(spaces[0]))
    options = DistanceSettings(
        seed=seed, debias=debias, neighbours=neighbours, components=components, per_class=per_class
    )
    pairs = list(combinations(names, 2)) if matrix else [(first, second) for second in dict.fromkeys(seconds)]
    results, same = [], list[str]()
    for space in spaces if images else [""]:
        inception = space.partition(":")[0] == "inception"
        network = images and load_extractor(
            space, weights=weights if inception else None, device=device, legacy_resize=legacy_resize and inception
        )
        sets = {**files, **(_statistics(images, network) if network else {})}
        same += [f"{a} and {b} are the same images" for a, b in pairs if sets[a].key() == sets[b].key()]
        usual = network.components if network else components_of(told)
        chosen = replace(options, components=components or usual)
        results += _measured(pairs, sets, chosen, space or "statistics", out)
    lacking = {name: missing for name, each in files.items() if (missing := missing_shards(each))}
    partly = [f"{name} is not the whole set; missing are shards {', '.join(each)}" for name, each in lacking.items()]
    for warning in dict.fromkeys([*partly, *same, *(text for result in results for text in result.warnings())]):
        say(f"warning: {warning}")
    if out:
        _draw(results, matrix, out / "figures")
    _write(results, per_class, json)


@app.command()
@guarded
def stats(
    data: Annotated[str, typer.Argument(help="What `fid` takes, but statistics.", metavar="DATA")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npz to write; pytorch-fid reads it too.")],
    extractor: Annotated[str, typer.Option(help="One feature space, as for `fid`.")] = "inception",
    shard: Annotated[str, typer.Option(help="Only part I of N, counted from 0: I/N.")] = "0/1",
    actors: Annotated[
        int | None, typer.Option(help="Share the set among that many actors on Ray (extra `cluster`).", min=1)
    ] = None,
    weights: Weights = None,
    legacy_resize: LegacyResize = False,
    n: Annotated[int | None, typer.Option(help="Draw that many images.", min=2)] = None,
    seed: Seed = 0,
    device: Device = "cpu",
    json: Json = False,
) -> None:
    """Statistics of a set of any size in one pass and constant memory; interrupted, the same command goes on.

    Example: `vptft-analyze fid stats imagenet --shard 0/8 -o part0.npz` on eight machines, then `vptft-analyze fid
    merge part*.npz -o imagenet.npz`, then `vptft-analyze fid imagenet.npz dtd`; on a Ray cluster, `vptft-analyze fid
    stats imagenet --actors 8 --device cuda -o imagenet.npz` does all of it
    """
    from vptft.data import registry
    from vptft.features.extractors import load_extractor
    from vptft.features.streaming import summarise

    part, target = _shard(shard), _as_npz(out)
    if actors and part != (0, 1):
        raise typer.BadParameter("--actors shares the whole set, and --shard takes a part of it; give one of them.")
    resolve = partial(registry.images, data, n=n, seed=seed)
    load = partial(load_extractor, extractor, weights=weights, device=device, legacy_resize=legacy_resize)
    with progress() as start:
        if actors:
            found = _on_ray(resolve, load, target, actors, device, start(f"{data}, {extractor}, {actors} actors"))
        else:
            images, network = resolve(), load()
            found = summarise(images, network, target, shard=part, on_batch=start(f"{data}, {network.name}"))
    _say_what(found, target, json)


@app.command()
@guarded
def merge(
    parts: Annotated[list[Path], typer.Argument(help="Statistics of the shards, in any order.", metavar="PARTS")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npz to write.")],
    json: Json = False,
) -> None:
    """Merge the statistics of shards into those of the whole; exact in any order, and no shard is counted twice.

    Example: `vptft-analyze fid merge part*.npz -o imagenet.npz`
    """
    from vptft.features.statistics import merged, missing_shards, read_statistics

    whole = merged([read_statistics(part) for part in parts])
    if missing := missing_shards(whole):
        say(f"warning: this is not the whole set; missing are shards {', '.join(missing)}")
    whole.save(_as_npz(out))
    _say_what(whole, _as_npz(out), json)


def _on_ray(
    resolve: "Callable[[], ImageSet]",
    load: "Callable[..., Extractor]",
    target: Path,
    actors: int,
    device: str,
    on_shard: Callable[[int, int], None],
) -> "Statistics":
    """Statistics from actors, each with a GPU of its own where the device is one: the only one it sees."""
    from vptft.features.cluster.summary import summarise_on_ray

    kind = device.partition(":")[0]
    return summarise_on_ray(
        resolve, partial(load, device=kind), target,
        actors=actors, gpus_per_actor=float(kind == "cuda"), on_shard=on_shard,
    )  # fmt: skip


def _statistics(images: "dict[str, ImageSet]", network: "Extractor") -> "dict[str, Statistics]":
    """Statistics of every set, each extracted once."""
    from vptft.report.assembly.distances import statistics

    with progress() as start:
        return {
            name: statistics(each, network, on_batch=start(f"{name}, {network.name}")) for name, each in images.items()
        }


def _measured(
    pairs: "Sequence[tuple[str, str]]",
    sets: "dict[str, Statistics]",
    options: "DistanceSettings",
    space: str,
    out: Path | None,
) -> "list[SetDistance]":
    """Measure every pair in one feature space."""
    from vptft.report.assembly.distances import distances
    from vptft.storage import slug

    places = [slug(f"{first} to {second} in {space}") for first, second in pairs]
    folders = [out / "results" / "distance" / place if out else None for place in places]
    chosen = [(sets[a], sets[b], folder) for (a, b), folder in zip(pairs, folders, strict=True)]
    with progress() as start:
        return distances(chosen, options=options, on_done=start(f"distances, {space}", len(pairs)))


def _draw(results: "Sequence[SetDistance]", matrix: bool, folder: Path) -> None:
    from vptft.report.figures.agreement import draw_agreement
    from vptft.report.figures.distances import draw_distances
    from vptft.report.figures.matrix import draw_matrix
    from vptft.report.figures.style import save_figure
    from vptft.storage import slug

    measures = list(dict.fromkeys(result.measure_name for result in results))
    for name in measures:
        chosen = [result for result in results if result.measure_name == name]
        drawn = draw_matrix(chosen) if matrix else draw_distances(chosen)
        save_figure(drawn, folder / f"{'matrix' if matrix else 'distances'}-{slug(name)}")
    if len(measures) > 1 and len(results) // len(measures) > 2:
        save_figure(draw_agreement(results), folder / "agreement")


def _write(results: "Sequence[SetDistance]", per_class: bool, json: bool) -> None:
    import pandas as pd

    frame = pd.concat([result.frame() for result in results], ignore_index=True)
    if json:
        tables = [{"classes": records(result.classes)} if per_class else {} for result in results]
        write_json([row | table for row, table in zip(records(frame), tables, strict=True)])
        return
    write_table(frame[list(SHOWN)], as_json=False)
    if per_class:
        told = [result.classes.assign(second=result.second, space=result.measure_name) for result in results]
        title = "Class by class; read the KID, which is unbiased at any size"
        write_table(pd.concat(told, ignore_index=True), as_json=False, title=title)


def _say_what(found: "Statistics", out: Path, json: bool) -> None:
    summary = {
        "statistics": str(out), "name": found.name, "n": found.n, "skipped": len(found.skipped),
        "dimensions": found.dimensions, "shards": [shard.split()[-1] for shard in found.shards],
    }  # fmt: skip
    for item in found.skipped[:10]:
        say(f"warning: {item.path} could not be read: {item.reason}")
    if json:
        write_json(summary)
    else:
        say(f"{found.name}: {found.n} images, {len(found.skipped)} skipped, {found.dimensions} features.")
        typer.echo(str(out))


def _shard(text: str) -> tuple[int, int]:
    i, slash, n = text.partition("/")
    if not (slash and i.isdecimal() and n.isdecimal() and int(i) < int(n)):
        raise typer.BadParameter(f"A shard is written I/N, from 0/8 to 7/8; got {text!r}.")
    return int(i), int(n)


def _as_npz(path: Path) -> Path:
    """The path with the suffix that numpy, pytorch-fid and `fid` go by."""
    return path if path.suffix == ".npz" else path.with_name(f"{path.name}.npz")
