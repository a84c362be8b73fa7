"""What may be spent, and which methods stay within it."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import pandas as pd

from vptft.errors import SettingsError

COSTS: Mapping[str, tuple[str, str]] = {
    "storage": ("stored_bytes", "B"), "memory": ("peak_bytes", "B"), "parameters": ("parameters_tuned", ""),
    "step": ("step_ms", "ms"), "forward": ("forward_ms", "ms"),
}  # fmt: skip
"""What can be limited: the column of a profile, and its unit."""

FACTORS: Mapping[str, Mapping[str, float]] = {
    "B": {"B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KIB": 2**10, "MIB": 2**20, "GIB": 2**30},
    "": {"": 1, "K": 1e3, "M": 1e6, "G": 1e9},
    "ms": {"MS": 1, "S": 1e3},
}
LIMIT = re.compile(r"(?P<name>[a-z]+)=(?P<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?)\s*(?P<unit>[a-z]*)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Upper limits by the names of :data:`COSTS`, in bytes, parameters and milliseconds."""

    limits: Mapping[str, float]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> Self:
        """Read ``storage=5MB``, ``parameters=1M``, ``step=200ms``; several with commas.

        Raises
        ------
        SettingsError
            What is no limit of a known cost in its unit.
        """
        found: dict[str, float] = {}
        for text in filter(None, (part.strip() for each in texts for part in each.split(","))):
            match = LIMIT.fullmatch(text)
            name = match["name"].lower() if match else ""
            if match is None or name not in COSTS:
                raise SettingsError(
                    f"{text!r} is no limit of a budget.",
                    f"Write COST=NUMBER with one of {', '.join(COSTS)}: storage=5MB, parameters=1M, step=200ms.",
                )
            factors = FACTORS[COSTS[name][1]]
            if match["unit"].upper() not in factors:
                units = ", ".join(filter(None, factors))
                given = f"is not measured in {match['unit']!r}" if match["unit"] else "needs a unit"
                raise SettingsError(f"{name} {given}.", f"One of {units}.")
            limit = float(match["number"]) * factors[match["unit"].upper()]
            found[name] = min(limit, found.get(name, limit))  # of two limits both must be kept
        return cls(limits=found)

    def over(self, row: Mapping[Any, Any]) -> list[str]:
        """Names of the limits that a method's costs exceed; a cost that is NaN exceeds none."""
        return [name for name, limit in self.limits.items() if row[COSTS[name][0]] > limit]

    def apply(self, costs: pd.DataFrame) -> pd.DataFrame:
        """Give the costs with the column over_budget: the limits exceeded, by commas."""
        return costs.assign(over_budget=[", ".join(self.over(row)) for row in costs.to_dict("records")])
