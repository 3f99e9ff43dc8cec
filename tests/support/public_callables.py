"""What of the package can be called from outside, by name, from the faces of its rooms."""

from __future__ import annotations

import inspect
import types
from collections.abc import Iterator
from functools import cache
from typing import Any

import sobolevflow as sf

ROOMS = (
    *("attribution", "experiments", "filters", "kernels", "metrics", "models", "objectives", "onnxgrad"),
    *("optimizers", "proximal", "schemes", "total_variation", "transforms"),
)
"""The modules that the package offers as such."""


@cache
def public_callables() -> dict[str, Any]:
    """Functions, classes and their methods: "load", "Network.features", "attribution.saliency"."""
    import importlib

    found: dict[str, Any] = {}
    for name in dir(sf):
        found.update(_of(name, getattr(sf, name)))
    for room in ROOMS:
        module = importlib.import_module(f"sobolevflow.{room}")
        offered = getattr(module, "__all__", None) or [n for n in vars(module) if not n.startswith("_")]
        for name in offered:
            value = getattr(module, name)
            if getattr(sf, name, None) is not value:
                found.update(_of(f"{room}.{name}", value))
    return found


def _of(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, types.ModuleType) or not callable(value):
        return
    yield name, value
    if inspect.isclass(value) and value.__module__.startswith("sobolevflow"):
        for method, own in vars(value).items():
            if (
                not method.startswith("_")
                and not isinstance(own, property)
                and callable(getattr(value, method))
            ):
                yield f"{name}.{method}", own
