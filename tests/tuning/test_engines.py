import os
import signal
import threading
import time
from dataclasses import replace

import pytest

from tuning.test_sweep import content
from vptft.checkpoints.native import find_runs
from vptft.tuning.engines import Here, Workers
from vptft.tuning.plan import Arm, Plan
from vptft.tuning.search import Search
from vptft.tuning.settings import TrainSettings
from vptft.tuning.sweep import run_sweep

SETTINGS = TrainSettings(epochs=1, batch_size=4, image_size=32, prompt_length=2, n_val=4, n_test=6, n_curve=4)
PLAN = Plan(
    name="workers",
    backbone="tiny",
    tasks=("plain/count",),
    arms=(Arm(method="linear"), Arm(method="ft_then_pt")),
    sizes=(8,),
    settings=SETTINGS,
    search=Search(rates=(1e-3,), extra=1),
)


@pytest.fixture
def workers():
    engine = Workers(2)
    yield engine
    engine.close()


def test_workers_make_the_same_runs_as_one_process(workers, tmp_path):
    cells = PLAN.cells()
    assert set(run_sweep(cells, tmp_path / "there", engine=workers).states.values()) == {"done"}
    assert set(run_sweep(cells, tmp_path / "here", engine=Here()).states.values()) == {"done"}
    assert content(tmp_path / "there") == content(tmp_path / "here")


def test_a_worker_that_is_killed_loses_nothing(workers, tmp_path):
    cells = replace(PLAN, settings=replace(SETTINGS, epochs=40), search=None, seeds=(0, 1, 2)).cells()
    killed = []

    def kill():
        deadline = time.monotonic() + 60
        while not killed and time.monotonic() < deadline:
            for pid in list(workers._pool._processes or {}):
                if any(tmp_path.rglob("*.lock")):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)
                    break
            time.sleep(0.05)

    killer = threading.Thread(target=kill)
    killer.start()
    progress = run_sweep(cells, tmp_path, engine=workers)
    killer.join()
    assert killed
    assert set(progress.states.values()) == {"done"}
    assert len(find_runs([tmp_path])) == len(cells)
