"""The parameters of a descent that does nothing but equation (18)."""

from __future__ import annotations

from typing import Any

PLAIN: dict[str, Any] = {
    "schedule": "constant",
    "optimizer": "descent",
    "normalise": None,
    "clip": False,
    "jitter": 0,
    "rotate": 0,
    "zoom": 0,
    "progress": False,
}
