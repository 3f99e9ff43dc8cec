"""Where the scripts find and leave things; importing it lets them import the helpers of tests/."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS, DOCS, IMAGES = ROOT / "bench/results", ROOT / "docs", ROOT / "docs/images"
README = ROOT / "README.md"
GPU_RECORDS = sorted(RESULTS.glob("gpu-*.json"))  # one for each card

if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))
