"""Where the repository is, and what lies beside it."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPPORT = Path(__file__).parent
DOCS, BENCH = ROOT / "docs", ROOT / "bench"
# Networks and pictures that are too large for the repository.
SHARED_MODELS = ROOT.resolve().parent / "shared" / "models"
