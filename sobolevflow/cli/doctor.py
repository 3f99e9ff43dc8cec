"""``sobolevflow doctor``: whether a device can be used."""

from __future__ import annotations

from dataclasses import asdict

from .options import Argument, Given, command
from .printing import FAILED, OK, print_json, tell
from .types import Kind


@command(
    "doctor",
    "check that a device can be used: driver, libraries, wheels, and a gradient computed on it",
    "sobolevflow doctor --device cuda",
    (
        Argument("--device", "what is to be used (default: cuda)", Kind("NAME"), default="cuda"),
        Argument("--quiet", "only what is not as it should be", flag=True),
        Argument("--json", "print the findings as JSON", flag=True),
    ),
)
def doctor(given: Given) -> int:
    """Print each finding as soon as it is made."""
    from ..gradient import examine

    found = []
    for finding in examine(given["device"]):
        found.append(finding)
        if "json" not in given and not ("quiet" in given and finding.state == "ok"):
            tell(f"{finding.state:8} {finding.subject}: {finding}")
    if "json" in given:
        print_json([asdict(finding) for finding in found], indent=1)
    return OK if found[-1].state == "ok" else FAILED
