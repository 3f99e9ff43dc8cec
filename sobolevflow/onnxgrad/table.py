"""The complete table of gradient rules: importing the rule modules fills it."""

from __future__ import annotations

from . import indexing, normalization, reductions, rules, sampling, windows

RULES = rules.RULES

__all__ = ["RULES", "indexing", "normalization", "reductions", "rules", "sampling", "windows"]
