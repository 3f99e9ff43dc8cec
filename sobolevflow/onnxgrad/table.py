"""The complete table of gradient rules: importing the rule modules fills it."""

from __future__ import annotations

from . import indexing, normalization, quantization, reductions, rules, windows

RULES = rules.RULES

__all__ = ["RULES", "indexing", "normalization", "quantization", "reductions", "rules", "windows"]
