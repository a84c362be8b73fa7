"""The schedule with a pool of workers in this process; then, marked ``cluster``, the same on Ray with real deaths."""

import json
import os
import socket
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from functools import partial
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from conftest import toy_images
from features.builders import SPACE
from vptft.cli.app import app
from vptft.data import registry
from vptft.data.transforms import to_square
from vptft.errors import DataError, MissingExtraError, SettingsError, UnknownNameError, VptftError
from vptft.features.cluster import actors, ledger, summary
from vptft.features.cluster.ledger import Ledger
from vptft.features.cluster.schedule import ATTEMPTS, scheduled
from vptft.features.cluster.summary import summarise_on_ray
from vptft.features.cluster.worker import Failure, Lost, Place, Worker
from vptft.features.extractors import Extractor, load_extractor
from vptft.features.statistics import read_statistics
from vptft.features.streaming import summarise

BAD = (1, 8, 24)


class FakePool:
    """Workers in this process that finish in an order drawn by seed; some are lost, before or after their work.

    Parameters
    ----------
    resolve, load
        As for Ray.
    seed
        Of the order.
    lose
        ``lose(method, args, attempt)``: whether this attempt is lost, after it has done all its work.
    stop_after
        Interrupt the driver instead of giving it that many-th news.
    """

    def __init__(self, resolve, load, *, seed=0, lose=lambda method, args, attempt: False, stop_after=None):
        self.resolve, self.load, self.lose, self.stop_after = resolve, load, lose, stop_after
        self.rng = np.random.default_rng(seed)
        self.workers, self.pending, self.done, self.attempts = {}, {}, [], Counter()
        self.started = self.most = self.news = 0

    def start(self, fingerprint):
        worker, self.started = self.started, self.started + 1
        self.workers[worker] = Worker(self.resolve, self.load)
        self.pending[worker] = ("prepare", (fingerprint,))
        self.most = max(self.most, len(self.workers))
        return worker

    def give(self, worker, i, n):
        assert worker not in self.pending, "a worker does one thing at a time"
        self.pending[worker] = ("shard", (i, n))

    def next(self):
        if self.news == self.stop_after:
            raise KeyboardInterrupt("stopped")
        self.news += 1
        worker = list(self.pending)[self.rng.integers(len(self.pending))]
        method, args = self.pending.pop(worker)
        news = getattr(self.workers[worker], method)(*args)
        self.done.append((method, args))
        self.attempts[method, args] += 1
        if self.lose(method, args, self.attempts[method, args]):
            return worker, Lost("the machine went dark")
        return worker, news

    def stop(self, worker):
        del self.workers[worker]
        self.pending.pop(worker, None)

    def shards(self):
        return [args[0] for method, args in self.done if method == "shard"]


def mean_extractor():
    """Nine colours: means of the upper, middle and lower third of the picture."""
    return Extractor(
        name="mean", distance_name="FD (mean)", space=SPACE, prepare=lambda image: to_square(image, 9),
        embed=lambda batch: batch.float().unflatten(2, (3, 3)).mean(dim=(3, 4)).flatten(1),
    )  # fmt: skip


def squares():
    return toy_images("squares", 41, 1, bad=BAD)


@pytest.fixture
def go(tmp_path):
    """``go(shards=..., **pool)``: schedule the squares; gives the statistics, the pool and what was told."""

    def run(*, actors=3, shards=8, resolve=squares, load=mean_extractor, **options):
        run.pool, run.told = FakePool(resolve, load, **options), []
        return scheduled(
            run.pool, tmp_path / "s.npz", actors=actors, shards=shards, on_shard=lambda *done: run.told.append(done)
        )

    return run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What one process makes of the squares."""
    return summarise(squares(), mean_extractor(), tmp_path_factory.mktemp("whole") / "s.npz")


def require_close(found, expected):
    """Moments to 1e-12; everything else, the rows of features and their order included, equal."""
    scale = np.trace(expected.covariance())
    np.testing.assert_allclose(found.mean, expected.mean, rtol=1e-12)
    np.testing.assert_allclose(found.covariance(), expected.covariance(), atol=1e-12 * scale)
    np.testing.assert_array_equal(found.features.values, expected.features.values)
    np.testing.assert_array_equal(found.features.labels, expected.features.labels)
    for name in ("n", "name", "space", "files", "source", "shards", "skipped", "distance_name"):
        assert getattr(found, name) == getattr(expected, name), name
    assert (found.features.ids, found.features.groups) == (expected.features.ids, expected.features.groups)


def left(tmp_path):
    """What is beside the target when all is done."""
    return sorted(path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock"))


@pytest.mark.parametrize(("actors", "shards"), [(1, 1), (1, 5), (3, 8), (12, 12), (20, 3)])
def test_the_statistics_are_those_of_one_process(go, whole, tmp_path, actors, shards):
    found = go(actors=actors, shards=shards, seed=actors)
    require_close(found, whole)
    require_close(read_statistics(tmp_path / "s.npz"), whole)
    assert (found.n, len(found.skipped)) == (38, 3)
    assert sorted(go.pool.shards()) == list(range(shards))
    assert go.told == [(i + 1, shards) for i in range(shards)]
    assert go.pool.most <= min(actors, shards)
    assert left(tmp_path) == ["s.npz"]


def test_moments_are_right_without_the_code_that_streams_them(go):
    images, found = squares(), go()
    pixels = [np.asarray(to_square(images.read(i), 9), np.float64) for i in range(41) if i not in BAD]
    values = np.stack([each.reshape(3, 3, 3, 9).mean(axis=(2, 3)).ravel() for each in pixels])
    np.testing.assert_allclose(found.mean, values.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.covariance(), np.cov(values.T), atol=1e-6 * np.trace(np.cov(values.T)))


def test_the_order_in_which_shards_come_changes_no_bit(go, tmp_path):
    written, orders = set(), set()
    for seed in range(6):
        go(seed=seed)
        orders.add(tuple(go.pool.shards()))
        written.add((tmp_path / "s.npz").read_bytes())
        (tmp_path / "s.npz").unlink()
    assert len(orders) > 1
    assert len(written) == 1


@pytest.mark.parametrize("seed", range(4))
def test_a_lost_shard_is_redone_and_nothing_counted_twice(go, whole, seed):
    """Lost after all its work was done, which is when it could count twice."""
    found = go(
        seed=seed, lose=lambda method, args, attempt: method == "shard" and args[0] in (0, 3, 7) and attempt == 1
    )
    require_close(found, whole)
    assert Counter(go.pool.shards()) == {i: 2 if i in (0, 3, 7) else 1 for i in range(8)}
    assert go.pool.started == 3 + 3
    assert go.pool.most == 3


def test_every_shard_may_be_lost_twice(go, whole):
    require_close(go(lose=lambda method, args, attempt: method == "shard" and attempt < ATTEMPTS), whole)
    assert len(go.pool.shards()) == 8 * ATTEMPTS


def test_a_shard_that_kills_every_actor_is_named_and_the_others_kept(go, whole, tmp_path):
    match = (
        r"(?s)Shard 5/8 of squares was lost 3 times with its actor; the last time: the machine went dark.*--shard 5/8"
    )
    with pytest.raises(DataError, match=match):
        go(lose=lambda method, args, attempt: method == "shard" and args[0] == 5)
    assert go.pool.shards().count(5) == ATTEMPTS
    finished = set(go.pool.shards()) - {5}
    assert not (tmp_path / "s.npz").exists()
    require_close(go(), whole)
    assert 5 in go.pool.shards()
    assert len(finished & set(go.pool.shards())) <= 2, "at most what was in other hands when the driver gave up"


def test_actors_that_never_get_ready_end_the_call(go):
    with pytest.raises(
        DataError, match=r"3 actors in a row were lost before they had .* the last: the machine went dark"
    ):
        go(lose=lambda method, args, attempt: method == "prepare")
    assert (go.pool.started, go.pool.workers) == (ATTEMPTS, {})


def test_later_actors_that_never_get_ready_end_it_too(go):
    with pytest.raises(DataError, match="3 actors in a row were lost before they had"):
        go(actors=2, seed=3, lose=lambda method, args, attempt: method == "prepare" and args[0] is not None)


def test_an_actor_lost_before_it_is_ready_is_replaced(go, whole):
    require_close(go(lose=lambda method, args, attempt: method == "prepare" and attempt == 1), whole)
    assert go.pool.attempts["prepare", (None,)] == 2


@pytest.mark.parametrize("news", range(2, 11))
def test_an_interrupted_driver_goes_on_with_the_missing_shards(go, whole, tmp_path, news):
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        go(seed=news, stop_after=news)
    finished = set(go.pool.shards())
    assert not (tmp_path / "s.npz").exists()
    require_close(go(seed=1), whole)
    assert set(go.pool.shards()) == set(range(8)) - finished
    assert len(go.pool.shards()) == 8 - len(finished)
    assert left(tmp_path) == ["s.npz"]


def test_interruptions_change_no_bit(go, tmp_path):
    go()
    expected = (tmp_path / "s.npz").read_bytes()
    (tmp_path / "s.npz").unlink()
    for seed in (3, 4, 5):
        with pytest.raises(KeyboardInterrupt, match="stopped"):
            go(seed=seed, stop_after=3)
    go(seed=6)
    assert (tmp_path / "s.npz").read_bytes() == expected


def test_the_division_of_an_interrupted_call_is_kept_whatever_the_number_of_actors(go, whole):
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        go(stop_after=7)
    finished = len(go.pool.shards())
    require_close(go(actors=2, shards=None), whole)
    assert len(go.pool.shards()) == 8 - finished
    assert {args[1] for method, args in go.pool.done if method == "shard"} == {8}


def test_another_division_or_other_content_begins_anew(go, whole, tmp_path):
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        go(stop_after=7)
    with pytest.raises(KeyboardInterrupt, match="stopped"):
        go(shards=6, stop_after=4)
    other = go(shards=8, resolve=lambda: replace(squares(), fingerprint=lambda: "other"))
    assert sorted(go.pool.shards()) == list(range(8))
    assert other.source != whole.source
    (tmp_path / "s.npz").unlink()
    require_close(go(shards=6), whole)
    assert left(tmp_path) == ["s.npz"]


def test_disk_holds_one_state_and_what_lies_beyond_the_first_gap(tmp_path):
    worker = Worker(squares, mean_extractor)
    seen = worker.prepare(None)
    ledger = Ledger.open(tmp_path / "s.npz", seen, 1, 5)

    def files():
        return {path.name for path in tmp_path.glob(".s.npz.*.shards/*.npz")}

    expected = [
        (2, {"2.npz"}, [0, 1, 3, 4]),
        (1, {"1.npz", "2.npz"}, [0, 3, 4]),
        (0, {"merged.npz"}, [3, 4]),
        (4, {"merged.npz", "4.npz"}, [3]),
    ]
    for i, there, missing in expected:
        ledger.add(i, worker.shard(i, 5))
        assert (files(), ledger.missing()) == (there, missing)
        assert Ledger.open(tmp_path / "s.npz", seen, 1, None).missing() == missing
    with pytest.raises(TypeError, match=r"Shards \[3\] are not finished"):
        ledger.close(tmp_path / "s.npz")
    with pytest.raises(DataError, match="both hold shard 0/5; it would count twice"):
        ledger.add(3, worker.shard(0, 5))


def test_a_finished_target_is_read_and_one_process_reads_it_too(go, tmp_path):
    first = go()
    written = (tmp_path / "s.npz").stat().st_mtime_ns
    again = go()
    assert (go.pool.shards(), go.told) == ([], [(1, 1)])
    require_close(again, first)
    unread = replace(squares(), read=lambda i: pytest.fail("an image was read"))
    require_close(summarise(unread, mean_extractor(), tmp_path / "s.npz"), first)
    assert (tmp_path / "s.npz").stat().st_mtime_ns == written


def test_a_target_of_one_process_is_read_too(go, tmp_path, whole):
    summarise(squares(), mean_extractor(), tmp_path / "s.npz")
    require_close(go(), whole)
    assert go.pool.shards() == []


def test_content_is_hashed_once_in_all(go):
    hashed = []

    def resolve():
        images = squares()
        return replace(images, fingerprint=lambda: hashed.append(1) or images.fingerprint())

    go(resolve=resolve)
    assert len(hashed) == 1


@pytest.mark.parametrize(
    ("images", "space", "said"),
    [
        (toy_images("squares", 40, 1), SPACE, r"see different images as squares: 41 and 40(?s:.*)same files"),
        (squares(), replace(SPACE, weights="ffffffff99"), r"different spaces: weights \(ab12cd34.. and ffffffff..\)"),
    ],
)
def test_a_node_that_sees_something_else_is_refused(go, images, space, said):
    sets, spaces = iter([squares()]), iter([SPACE])
    with pytest.raises(DataError, match=said):
        go(
            resolve=lambda: next(sets, images),
            load=lambda: replace(mean_extractor(), space=next(spaces, space)),
        )


def raising(error):
    def raise_it(**settings):
        raise error

    return raise_it


def test_an_error_of_ours_is_raised_as_itself_and_ends_the_others(go):
    unknown = UnknownNameError("task", "digit", ["digits"])
    with pytest.raises(UnknownNameError, match=r"There is no task named 'digit'\. Did you mean digits") as caught:
        go(resolve=raising(unknown))
    assert (caught.value.problem, caught.value.hint) == (unknown.problem, unknown.hint)
    with pytest.raises(MissingExtraError, match=r"(?s)needs the package onnx.*analyze\[demo\]"):
        go(load=raising(MissingExtraError("onnx", "demo", "DINOv2")))
    with pytest.raises(DataError, match="holds no image that can be read"):
        go(resolve=lambda: toy_images("squares", 41, 1, bad=range(5, 11)))
    assert len(go.pool.shards()) < 8


def test_an_error_that_is_not_ours_is_not_dressed_up(go):
    with pytest.raises(ZeroDivisionError, match="a bug"):
        go(load=raising(ZeroDivisionError("a bug")))


def test_failures_are_told_by_kind():
    """A setting's error is a ValueError too, and stays one on its way."""
    error = Failure(kind=SettingsError, problem="too many", hint="take fewer").error()
    assert isinstance(error, ValueError)
    assert str(error) == "too many\ntake fewer"


def test_shards_by_default_are_four_an_actor_and_hold_a_batch_each(go, monkeypatch):
    go(actors=2, shards=None)
    assert go.told[-1] == (1, 1)
    monkeypatch.setattr(ledger, "BATCH", 2)
    go.told.clear()
    resolve = partial(toy_images, "squares", 40, 1)
    go(actors=2, shards=None, resolve=resolve)
    assert go.told[-1] == (8, 8)


def test_more_shards_than_images_are_refused(go):
    with pytest.raises(SettingsError, match=r"squares has 41 images, too few for 42 shards(?s:.*)Take fewer"):
        go(shards=42)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"actors": 0}, "At least one of actors is needed; got 0"),
        ({"actors": 1, "shards": 0}, "At least one of shards is needed; got 0"),
        ({"actors": 1, "gpus_per_actor": -1}, "gpus_per_actor is 0 or more; got -1"),
    ],
)
def test_settings_out_of_range_are_refused(tmp_path, settings, said):
    with pytest.raises(SettingsError, match=said):
        summarise_on_ray(squares, mean_extractor, tmp_path / "s.npz", **settings)
    assert list(tmp_path.iterdir()) == []


def test_without_ray_the_install_line_is_printed(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r"(?s)needs the package ray, .*pip install 'vptft-analyze\[cluster\]'"):
        summarise_on_ray(squares, mean_extractor, tmp_path / "s.npz", actors=2)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def no_cluster(monkeypatch):
    """Ray where it finds no cluster."""
    ray = SimpleNamespace(is_initialized=lambda: False, shutdown=lambda: None, init=raising(ConnectionError("nobody")))
    ray.exceptions = SimpleNamespace()
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.exceptions", ray.exceptions)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("127.0.0.1:{}", "at 127.0.0.1:{} does not answer: .*refused"),
        ("ray://127.0.0.1:{}", "at ray://127.0.0.1:{} does not answer: .*refused"),
        ("[::1]:{}", "at \\[::1\\]:{} does not answer: "),
        ("auto", "at auto does not answer: nobody"),
        ("", "at this machine does not answer: nobody"),
    ],
)
def test_a_cluster_that_does_not_answer_is_named_at_once(tmp_path, monkeypatch, no_cluster, address, said):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    monkeypatch.setenv("RAY_ADDRESS", address.format(port))
    with pytest.raises(VptftError, match=f"The Ray cluster {said.format(port)}(?s:.*)RAY_ADDRESS=local"):
        summarise_on_ray(squares, mean_extractor, tmp_path / "s.npz", actors=1)


def test_ray_is_not_imported_with_the_module(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    spec = spec_from_file_location("another_copy", actors.__file__)
    copy = module_from_spec(spec)
    spec.loader.exec_module(copy)
    assert copy.PATIENCE == actors.PATIENCE


def test_a_worker_enters_the_place_of_its_driver(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VPTFT_HOME", "theirs")
    place = Place.here()
    monkeypatch.chdir("/")
    monkeypatch.setenv("VPTFT_HOME", "mine")
    place.enter()
    assert (Path.cwd(), os.environ["VPTFT_HOME"]) == (tmp_path, "theirs")
    Place(str(tmp_path / "not on this node"), None).enter()
    assert (Path.cwd(), os.environ["VPTFT_HOME"]) == (tmp_path, "theirs")


@pytest.mark.parametrize(("device", "own", "gpus"), [("cpu", "cpu", 0), ("cuda:1", "cuda", 1)])
def test_the_command_describes_the_job_to_actors(tmp_path, monkeypatch, device, own, gpus):
    asked = {}

    def fake(resolve, load, target, **settings):
        asked.update(resolve=resolve, load=load, target=target, **settings)
        return summarise(squares(), mean_extractor(), target)

    monkeypatch.setattr(summary, "summarise_on_ray", fake)
    monkeypatch.setattr("torch.zeros", lambda *shape, **fields: None)
    words = ["fid", "stats", "dtd", "--extractor", "tiny:32", "--n", "7", "--seed", "3", "--device", device]
    result = CliRunner().invoke(app, [*words, "--actors", "2", "-o", str(tmp_path / "s"), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["n"] == 38
    assert (asked["resolve"].func, asked["resolve"].args, asked["resolve"].keywords) == (
        registry.images, ("dtd",), {"n": 7, "seed": 3},
    )  # fmt: skip
    assert (asked["load"].func, asked["load"].args) == (load_extractor, ("tiny:32",))
    assert asked["load"].keywords == {"weights": None, "device": own, "legacy_resize": False}
    assert (asked["target"], asked["actors"], asked["gpus_per_actor"]) == (tmp_path / "s.npz", 2, gpus)


def test_the_command_takes_a_shard_or_actors(tmp_path):
    result = CliRunner().invoke(
        app, ["fid", "stats", "x", "--actors", "2", "--shard", "0/2", "-o", str(tmp_path / "s")]
    )
    assert result.exit_code == 2
    assert "--shard takes a part" in result.stderr


# On Ray. Functions that actors call are made inside others, so that they travel by value: actors cannot import tests.


@pytest.fixture(scope="module")
def ray():
    """Ray, on this machine alone, with two CPUs however many there are."""
    found = pytest.importorskip("ray", reason="ray is not installed")
    found.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield found
    found.shutdown()


@pytest.fixture
def on_ray(ray, image_folder, tmp_path):
    """``on_ray(before=..., **settings)``: the folder of squares; actors call ``before(i)`` before they read image i."""

    def run(*, before=None, target=tmp_path / "s.npz", **settings):
        def resolve():
            images = registry.images(str(image_folder))
            if before is None:
                return images

            def read(i):
                before(i)
                return images.read(i)

            return replace(images, read=read)

        settings = {"actors": 2, "shards": 6, **settings}
        return summarise_on_ray(resolve, partial(load_extractor, "tiny:32"), target, **settings)

    return run


@pytest.fixture
def alone(image_folder, tmp_path):
    """What one process makes of the folder."""
    return summarise(registry.images(str(image_folder)), load_extractor("tiny:32"), tmp_path / "alone.npz")


def logger(path):
    """Note each image that is read, and by which process."""

    def before(i):
        import os

        with path.open("a") as file:
            file.write(f"{i} {os.getpid()}\n")

    return before


def noted(path):
    """Images that were read, each as often as it was, and the processes that did."""
    rows = [line.split() for line in path.read_text().splitlines()]
    return Counter(int(row[0]) for row in rows), {row[1] for row in rows}


@pytest.mark.cluster
@pytest.mark.verify
def test_two_actors_make_what_one_process_makes(on_ray, ray, alone, tmp_path):
    told = []
    found = on_ray(before=logger(tmp_path / "log"), on_shard=lambda *done: told.append(done))
    require_close(found, alone)
    require_close(read_statistics(tmp_path / "s.npz"), alone)
    read, processes = noted(tmp_path / "log")
    assert read == dict.fromkeys(range(30), 1)
    assert len(processes) <= 2
    assert str(os.getpid()) not in processes
    assert told == [(i + 1, 6) for i in range(6)]
    assert ray.is_initialized(), "what was there before the call is left as it was"


@pytest.mark.cluster
@pytest.mark.verify
def test_the_shard_of_a_killed_actor_is_redone(on_ray, alone, tmp_path, capsys):
    note, flag = logger(tmp_path / "log"), tmp_path / "killed"

    def before(i):
        import os

        note(i)
        if i == 12 and not flag.exists():  # the third image of shard 2 of 6, which holds 10 to 14
            flag.touch()
            os._exit(1)

    found = on_ray(before=before)
    assert flag.exists()
    require_close(found, alone)
    assert (found.n, len(set(found.features.ids))) == (30, 30)
    read, processes = noted(tmp_path / "log")
    assert read == {i: 2 if i in (10, 11, 12) else 1 for i in range(30)}
    assert len(processes) >= 2
    assert capsys.readouterr().out == "", "stdout is for data"


@pytest.mark.cluster
@pytest.mark.verify
def test_a_shard_that_kills_every_actor_is_named(on_ray, tmp_path):
    def before(i):
        import os

        if i == 12:
            os._exit(1)

    with pytest.raises(DataError, match=r"Shard 2/6 of \S+ was lost 3 times with its actor; the last time: .*died"):
        on_ray(before=before)
    assert not (tmp_path / "s.npz").exists()


@pytest.mark.cluster
@pytest.mark.verify
def test_an_interrupted_driver_embeds_only_the_missing_shards(on_ray, alone, tmp_path):
    def stop(done, total):
        if done == 3:
            raise KeyboardInterrupt("stopped")

    with pytest.raises(KeyboardInterrupt, match="stopped"):
        on_ray(actors=1, before=logger(tmp_path / "first"), on_shard=stop)
    assert not (tmp_path / "s.npz").exists()
    found = on_ray(before=logger(tmp_path / "second"))
    require_close(found, alone)
    assert noted(tmp_path / "second")[0] == dict.fromkeys(range(15, 30), 1)


@pytest.mark.cluster
@pytest.mark.verify
def test_errors_of_actors_reach_the_driver(on_ray, ray, tmp_path):
    with pytest.raises(UnknownNameError, match=r"There is no .* named 'digitz'\. Did you mean digits"):
        summarise_on_ray(
            partial(registry.images, "digitz"), partial(load_extractor, "tiny:32"), tmp_path / "x.npz", actors=1
        )

    def before(i):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ray.exceptions.RayTaskError, match="a bug"):
        on_ray(before=before)
    with pytest.raises(
        SettingsError, match=r"An actor takes 1 CPU and 99 GPU; a node .* has at most 2 CPU and \d+ GPU"
    ):
        on_ray(gpus_per_actor=99)


@pytest.mark.cluster
@pytest.mark.verify
def test_the_command_starts_and_stops_a_cluster_of_its_own(image_folder, tmp_path):
    """By a registered name and a relative path: actors know what the driver knows."""
    pytest.importorskip("ray", reason="ray is not installed")
    words = [sys.executable, "-c", "from vptft.cli import main; main()"]
    home = os.environ | {"RAY_ADDRESS": "local"}
    subprocess.run([*words, "tasks", "add", "squares", image_folder], check=True, env=home, capture_output=True)
    stats = [*words, "fid", "stats", "--extractor", "tiny:32", "--json", "--actors", "2"]
    (tmp_path / "near").symlink_to(image_folder)
    for name, data in (("named", "squares"), ("relative", "./near")):
        done = subprocess.run(
            [*stats, data, "-o", f"{name}.npz"], env=home, cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["n"] == 30
        expected = summarise(registry.images(str(image_folder)), load_extractor("tiny:32"), tmp_path / "alone.npz")
        np.testing.assert_allclose(read_statistics(tmp_path / f"{name}.npz").mean, expected.mean, rtol=1e-12)


KILLING = """
import os, sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from vptft.data import registry
from vptft.features.cluster.summary import summarise_on_ray
from vptft.features.extractors import load_extractor

folder, here = sys.argv[1], Path(sys.argv[2])

def resolve():
    images = registry.images(folder)

    def read(i):
        if i == 12 and not (here / "killed").exists():
            (here / "killed").touch()
            os._exit(1)
        return images.read(i)

    return replace(images, read=read)

found = summarise_on_ray(resolve, partial(load_extractor, "tiny:32"), here / "s.npz", actors=2, shards=6)
import ray
print(found.n, ray.is_initialized(), (here / "killed").exists())
"""


@pytest.mark.cluster
@pytest.mark.verify
def test_what_was_started_is_shut_down_and_stdout_is_for_data(image_folder, tmp_path):
    """Ray says on stdout that an actor died, whatever it is told of logs."""
    pytest.importorskip("ray", reason="ray is not installed")
    done = subprocess.run(
        [sys.executable, "-c", KILLING, image_folder, tmp_path], env=os.environ | {"RAY_ADDRESS": "local"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == "30 False True\n", done.stderr
