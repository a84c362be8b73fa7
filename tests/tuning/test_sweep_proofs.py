"""Slow proofs: a sweep that is killed again and again, a Ray worker that is killed, a hundred thousand cells."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tuning.test_sweep import content
from vptft.tuning.engines import Ray
from vptft.tuning.plan import Arm, Plan
from vptft.tuning.plan_files import file_of
from vptft.tuning.search import Search
from vptft.tuning.settings import TrainSettings
from vptft.tuning.sweep import run_sweep

SETTINGS = TrainSettings(epochs=30, batch_size=4, image_size=32, prompt_length=2, n_val=4, n_test=6, n_curve=4)
PLAN = Plan(
    name="killed",
    backbone="tiny",
    tasks=("plain/count", "photo/category"),
    arms=(Arm(method="ft_then_pt"), Arm(method="vpt_deep"), Arm(method="linear")),
    sizes=(24,),
    seeds=(0, 1),
    settings=SETTINGS,
    search=Search(rates=(1e-3, 1e-2), extra=1),
)
KILLS = 20


def start(plan: Path, root: Path, *more: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", "from vptft.cli import main; main()", "sweep", str(plan), "-o", str(root), *more]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


@pytest.mark.verify
@pytest.mark.parametrize("more", [(), ("--workers", "2")], ids=["here", "workers"])
def test_a_sweep_killed_twenty_times_ends_as_one_that_was_not(more, tmp_path):
    """SIGKILL to the sweep's process alone; its workers notice, and the next start must not trip over them."""
    plan = tmp_path / "plan.yaml"
    plan.write_text(file_of(PLAN))
    whole = run_sweep(PLAN.cells(), tmp_path / "whole", engine=_here())
    assert set(whole.states.values()) == {"done"}
    rng, killed, root = random.Random(0), 0, tmp_path / "killed"
    while killed < KILLS:
        process = start(plan, root, *more)
        try:
            process.wait(timeout=rng.uniform(3, 12))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            killed += 1
        else:
            # It ended before it was killed: begin anew, in a folder of its own, until twenty kills are reached.
            assert content(root) == content(tmp_path / "whole")
            root = tmp_path / f"killed again after {killed}"
    last = start(plan, root, *more)
    assert last.wait() == 0
    assert content(root) == content(tmp_path / "whole")


def _here():
    from vptft.tuning.engines import Here

    return Here()


@pytest.mark.cluster
def test_a_ray_worker_killed_in_a_cell_loses_nothing(tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    plan = replace(PLAN, arms=(Arm(method="vpt_deep"),), settings=replace(SETTINGS, epochs=150))
    cells = plan.cells()
    engine = Ray(cpus=1)
    killed = []

    def kill():
        deadline = time.monotonic() + 120
        while len(killed) < 3 and time.monotonic() < deadline:
            time.sleep(1.5)
            working = subprocess.run(["pgrep", "-f", "ray::_on_ray"], capture_output=True, text=True, check=False)
            pids = [int(word) for word in working.stdout.split()]
            if pids and any((tmp_path / "there").rglob("*.lock")):
                os.kill(pids[0], signal.SIGKILL)
                killed.append(pids[0])

    killer = threading.Thread(target=kill)
    killer.start()
    try:
        there = run_sweep(cells, tmp_path / "there", engine=engine)
    finally:
        killer.join()
        engine.close()
    assert killed
    assert set(there.states.values()) == {"done"}
    assert not ray.is_initialized()
    run_sweep(cells, tmp_path / "here", engine=_here())
    assert content(tmp_path / "there") == content(tmp_path / "here")


LARGE = """
import json, sys, time
from pathlib import Path
from vptft.tuning.plan_files import read_plans
from vptft.tuning.sweep import look, run_sweep

class Pretending:
    \"\"\"Ends every cell at once, without training.\"\"\"
    slots = 8
    def __init__(self): self.jobs = []
    def submit(self, job): self.jobs.append(job)
    def wait(self):
        from vptft.tuning.sweep import Outcome
        ended, self.jobs = self.jobs, []
        return [(job.cell.folder, Outcome("done")) for job in ended]

plan, root = Path(sys.argv[1]), Path(sys.argv[2])
took = {}
def timed(name, act):
    started = time.process_time(); found = act(); took[name] = time.process_time() - started
    return found
cells = timed("planning", lambda: read_plans(plan)[0].cells())
timed("scheduling", lambda: run_sweep(cells, root / "empty", engine=Pretending()))
states = timed("resuming", lambda: look(cells, root))
took["cells"] = len(cells)
took["done"] = states.count("done")
# Not ru_maxrss, which remembers the process that this one was forked from.
status = Path("/proc/self/status").read_text()
took["MB"] = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps(took))
"""


@pytest.mark.verify
def test_a_hundred_thousand_cells_are_planned_and_resumed_in_little(tmp_path):
    """Planning, scheduling and looking for what is there: each under 10 CPU s, in 500 MB; half the cells are done."""
    plan = replace(
        PLAN, tasks=("plain/count", "photo/category", "plain/location", "photo/location"), sizes=tuple(range(100, 350)),
        arms=(Arm(method="vpt_deep"), Arm(method="ft")), seeds=tuple(range(47)),
    )  # fmt: skip
    cells = plan.cells()
    assert len(cells) == 100_000
    (tmp_path / "plan.yaml").write_text(file_of(plan))
    for folder in list(cells)[::2]:
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "run.json").touch()
    command = [sys.executable, "-c", LARGE, str(tmp_path / "plan.yaml"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    took = json.loads(done.stdout)
    sys.stderr.write(f"{took}\n")
    assert took["done"] == len(list(cells)[::2])
    assert max(took["planning"], took["scheduling"], took["resuming"]) < 10
    assert took["MB"] < 500
