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
        Argument(
            "--device",
            "what is to be used (default: cuda, or cpu where there is no driver of NVIDIA)",
            Kind("NAME"),
        ),
        Argument("--quiet", "only what is not as it should be", flag=True),
        Argument("--json", "print the findings as JSON", flag=True),
    ),
)
def doctor(given: Given) -> int:
    """Print each finding as soon as it is made."""
    from ..devices import driver_version
    from ..gradient import examine

    found = []
    cpu_only = "device" not in given and driver_version() is None
    for finding in examine(given.get("device", "cpu" if cpu_only else "cuda")):
        found.append(finding)
        if "json" not in given and not ("quiet" in given and finding.state == "ok"):
            tell(f"{finding.state:8} {finding.subject}: {finding}")
    if "json" in given:
        print_json([asdict(finding) for finding in found], indent=1)
    elif cpu_only and found[-1].state == "ok" and "quiet" not in given:
        tell("This installation computes on the CPU; --device cuda says what a GPU would need.")
    return OK if found[-1].state == "ok" else FAILED
