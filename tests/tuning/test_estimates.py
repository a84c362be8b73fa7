from dataclasses import replace
from itertools import count

import pytest

from vptft.models.backbones import load_backbone
from vptft.tuning import estimates
from vptft.tuning.estimates import Pace, estimate, hours, pace_of
from vptft.tuning.methods import METHODS
from vptft.tuning.plan import Arm, Plan
from vptft.tuning.search import Search
from vptft.tuning.settings import TrainSettings

SETTINGS = TrainSettings(epochs=3, batch_size=8, image_size=32, prompt_length=2, n_val=10, n_test=50, n_curve=20)
PLAN = Plan(name="p", backbone="tiny", tasks=("a/b",), arms=(Arm(method="ft"),), sizes=(20,), settings=SETTINGS)


def test_a_cell_takes_its_steps_its_curves_and_its_test():
    pace = Pace(step=1.0, image=0.01)
    cells = replace(PLAN, search=Search(extra=0)).cells().values()
    trial, final = (next(cell for cell in cells if cell.kind == kind) for kind in ("trial", "final"))
    assert pace.seconds(trial) == pytest.approx(3 * 3 + 3 * 10 * 0.01)
    assert pace.seconds(final) == pytest.approx(3 * 3 + (3 * (10 + 20) + 50) * 0.01)
    (refit,) = replace(PLAN, refit=True).cells().values()
    assert pace.seconds(refit) == pytest.approx(3 * 4 + (3 * 20 + 50) * 0.01)
    probe = Pace(step=0.0, image=0.01, once=True)
    assert probe.seconds(final) == pytest.approx((20 + 10 + 50) * 0.01)


@pytest.mark.parametrize("name", ["ft", "linear", "vpt_deep", "ft_then_pt", "pt_then_ft"])
def test_a_pace_is_the_median_of_what_the_clock_says(name):
    """A clock that ticks 1, 2, 3 ... s: three steps take a second each, an image an eighth of one."""
    ticks = count()
    pace = pace_of(METHODS[name], load_backbone("tiny", 32), SETTINGS, clock=lambda: float(next(ticks)))
    assert pace.image == pytest.approx(1 / 8)
    assert pace.step == (0 if name == "linear" else 1)
    assert pace.once == (name == "linear")


def test_every_kind_is_timed_once_and_what_cannot_be_is_none(monkeypatch):
    timed = []

    def pace(method, backbone, settings, device):
        timed.append((method.name, settings.image_size))
        return Pace(step=1.0, image=0.0)

    monkeypatch.setattr(estimates, "pace_of", pace)
    plan = replace(PLAN, arms=(Arm(method="ft"), Arm(method="bias")), seeds=(0, 1), search=Search())
    cells = plan.cells()
    found = estimate(cells.values())
    assert timed == [("ft", 32), ("bias", 32)]
    assert found.keys() == cells.keys()
    assert hours(found, workers=2) == pytest.approx(len(cells) * 9 / 2 / 3600)
    gone = replace(plan, backbone="timm/no_such_network").cells()
    assert set(estimate(gone.values()).values()) == {None}
    assert hours(estimate(gone.values())) == 0
