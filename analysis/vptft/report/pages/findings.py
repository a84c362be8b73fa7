"""Findings as a file for other programs: ``findings.json``, and the JSON schema it keeps to."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from vptft.evidence.findings import NUMBERS, Finding, Verdict
from vptft.evidence.hypotheses import HYPOTHESES
from vptft.evidence.verdicts import RULE
from vptft.storage import write_json

VERSION = 1
_FINDING: dict[str, Any] = {
    "type": "object",
    "properties": {
        "hypothesis": {"enum": list(HYPOTHESES), "description": "id in `hypotheses`"},
        "statement": {"type": "string", "description": "the sentence the numbers support, with its scope"},
        "verdict": {"enum": list(get_args(Verdict))},
        "reason": {"type": "string", "description": "why the verdict is that one"},
        "effect": {"type": ["number", "null"], "description": "effect size, in `unit`"},
        "low": {"type": ["number", "null"], "description": "lower end of its 95% interval"},
        "high": {"type": ["number", "null"], "description": "upper end of its 95% interval"},
        "unit": {"type": "string"},
        "p": {"type": ["number", "null"], "minimum": 0, "maximum": 1, "description": "two-sided"},
        "p_adjusted": {
            "type": ["number", "null"],
            "minimum": 0,
            "maximum": 1,
            "description": "after Holm's correction",
        },
        "n": {"type": ["integer", "null"], "minimum": 0, "description": "what was counted, as `statement` says"},
    },
    "additionalProperties": False,
}
_FINDING["required"] = list(_FINDING["properties"])

SCHEMA: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Findings of vptft-analyze",
    "type": "object",
    "properties": {
        "schema": {"const": VERSION},
        "rule": {"type": "string", "description": "how an effect becomes a verdict"},
        "hypotheses": {"type": "object", "additionalProperties": {"type": "string"}},
        "findings": {"type": "array", "items": _FINDING},
    },
    "required": ["schema", "rule", "hypotheses", "findings"],
    "additionalProperties": False,
}
"""JSON schema, draft 2020-12."""


def write_findings(findings: Sequence[Finding], folder: Path) -> None:
    """Write ``findings.json`` and ``findings.schema.json``; an infinite end of an interval is null."""
    rows = [
        {
            name: None if name in NUMBERS and value is not None and not abs(value) < float("inf") else value
            for name, value in asdict(finding).items()
        }
        for finding in findings
    ]
    told = {
        "schema": VERSION, "rule": RULE, "hypotheses": {each.id: each.statement for each in HYPOTHESES.values()},
        "findings": rows,
    }  # fmt: skip
    write_json(folder / "findings.json", told)
    write_json(folder / "findings.schema.json", SCHEMA)
