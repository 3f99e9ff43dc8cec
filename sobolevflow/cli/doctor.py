"""``sobolevflow doctor``: whether a device can be used."""

from __future__ import annotations

import json
from dataclasses import asdict

from .options import Argument, Given, command
from .printing import FAILED, OK
from .types import Kind


@command(
    "doctor",
    "check that a device can be used: driver, libraries, wheels, and a gradient computed on it",
    "sobolevflow doctor --device cuda",
    (
        Argument("--device", "what is to be used (default: cuda)", Kind("NAME"), default="cuda"),
        Argument("--json", "print the findings as JSON", flag=True),
    ),
)
def doctor(given: Given) -> int:
    """Print each finding as soon as it is made."""
    from ..gradient import examine

    found = []
    for finding in examine(given["device"]):
        found.append(finding)
        if "json" not in given:
            print(f"{finding.state:8} {finding.subject}: {finding}", flush=True)
    if "json" in given:
        print(json.dumps([asdict(finding) for finding in found], indent=1))
    return OK if found[-1].state == "ok" else FAILED
