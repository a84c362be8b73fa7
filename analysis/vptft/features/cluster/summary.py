"""Statistics of a set by actors that stream its shards; the driver merges them as they come."""

from collections.abc import Callable
from pathlib import Path

from vptft.data.images import ImageSet
from vptft.errors import SettingsError
from vptft.features.cluster.actors import RayPool, connected, imported, require_room
from vptft.features.cluster.schedule import scheduled
from vptft.features.cluster.worker import Place
from vptft.features.extractors import Extractor
from vptft.features.statistics import Statistics
from vptft.storage import lock


def summarise_on_ray(
    resolve: Callable[[], ImageSet],
    load: Callable[[], Extractor],
    target: Path,
    *,
    actors: int,
    shards: int | None = None,
    gpus_per_actor: float = 0,
    on_shard: Callable[[int, int], None] = lambda done, total: None,
) -> Statistics:
    """Write the statistics of a set to ``target`` and return them, as :func:`~vptft.features.streaming.summarise` does.

    The cluster is the one this process is connected to already, else that of ``RAY_ADDRESS`` or the one running on this
    machine, else one started here for the call. Moments differ from ``summarise``'s by rounding, and are the same bits
    for the same number of shards, whatever the order in which they are done. A file that holds these statistics is
    read; an interrupted call goes on with the shards that are not finished; a second process waits for the first.

    Every node must see the same files under the same names: ids and feature space are compared, and refused where they
    differ. Content is hashed once, by the first actor, so a file that differs in content only is not noticed.

    Parameters
    ----------
    resolve, load
        Give the images and the extractor, on any node; pickled, such as ``partial(registry.images, "imagenet")`` and
        ``partial(load_extractor, "inception", device="cuda")``. Each actor calls them once, in the driver's working
        directory where the node has it, and with its ``VPTFT_HOME``.
    target
        The ``.npz`` to write. Finished shards are kept in a hidden folder beside it until it is there.
    actors
        How many at most; each takes one CPU. Those for which there is no room yet join when there is.
    shards
        Consecutive parts, each with at least two readable images. Default: those of an interrupted call, else 4 an
        actor, and no more than there are batches of 64 images.
    gpus_per_actor
        What Ray sets aside for each; an actor sees only its own GPUs, the first of them as ``cuda``.
    on_shard
        Called with (shards finished, shards in all).

    Raises
    ------
    MissingExtraError
        When Ray is not installed.
    SettingsError
        For fewer than one actor or shard, more shards than images, or actors that no node has room for.
    DataError
        When nodes see different images or features; when a shard is lost three times, or no actor gets ready. Finished
        shards are kept.
    VptftError
        What ``resolve``, ``load`` or ``summarise`` raise in an actor, as itself.
    """
    for name, value in (("actors", actors), ("shards", shards)):
        if value is not None and value < 1:
            raise SettingsError(f"At least one of {name} is needed; got {value}.")
    if gpus_per_actor < 0:
        raise SettingsError(f"gpus_per_actor is 0 or more; got {gpus_per_actor}.")
    ray = imported()
    with lock(target), connected(ray):
        require_room(ray, gpus_per_actor)
        pool = RayPool(ray, (resolve, load, Place.here()), gpus_per_actor)
        try:
            return scheduled(pool, target, actors=actors, shards=shards, on_shard=on_shard)
        finally:
            pool.close()
