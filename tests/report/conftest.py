import pytest

from report.builders import DISTANCES, GAPS, TASKS, save_study


@pytest.fixture
def study(tmp_path):
    """Four tasks, one in each quadrant."""
    return save_study(tmp_path / "results")


@pytest.fixture
def small_study(tmp_path):
    """One task: quick to draw, where the number of tasks does not matter."""
    return save_study(tmp_path / "results", tasks=TASKS[:1], gaps=GAPS[:1], distances=DISTANCES[:1])
