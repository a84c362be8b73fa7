"""The embedded suite: a reference set, ten generated tasks, and observed tasks, all without a download."""

from vptft.data.suite.factorial import suite_tasks
from vptft.data.suite.observed import observed_tasks
from vptft.data.suite.reference import reference_set
from vptft.data.suite.scenes import SUITE_VERSION

__all__ = ["SUITE_VERSION", "observed_tasks", "reference_set", "suite_tasks"]
