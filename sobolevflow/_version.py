"""The version of the package, at the bottom, so that every room may ask for it."""

from __future__ import annotations

__version__ = "0.1.0"
