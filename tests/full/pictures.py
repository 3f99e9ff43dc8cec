"""Pictures, arrays, labels and pre-processing of strangers: mutants, each read in a process of its own.

``python -m tests.full.pictures --count 2000 --seed 0`` writes ``tests/full/pictures.json``. Each mutant has a
seed of its own, from that of the run on; ``--only 17 23`` tries those alone, and prints what they said.
"""

from __future__ import annotations

import argparse
import collections
import importlib.metadata
import json
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path

from tests.support.picture_mutants import originals
from tests.support.picture_trial import Verdict, tried

RESULT = Path(__file__).with_suffix(".json")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--count", type=int, default=2000, help="mutants (default: 2000)")
    parser.add_argument("--seed", type=int, default=0, help="of the first mutant (default: 0)")
    parser.add_argument("--only", type=int, nargs="+", help="seeds of the mutants to try")
    options = parser.parse_args()
    seeds = options.only or range(options.seed, options.seed + options.count)
    with tempfile.TemporaryDirectory() as folder:
        verdicts = [tried(seed, Path(folder)) for seed in seeds]
    failed = [each for each in verdicts if not each.is_good]
    for each in verdicts if options.only else failed:
        print(f"{each.seed} {each.original!r} {each.came}: {each.said}")
    if not options.only:
        RESULT.write_text(json.dumps(record(verdicts, options.seed), indent=1) + "\n")
    print(f"{len(verdicts)} mutants, {len(failed)} failures: {dict(counts(verdicts))}")
    return 1 if failed else 0


def counts(verdicts: list[Verdict]) -> collections.Counter[str]:
    """How often each came."""
    return collections.Counter(each.came for each in verdicts)


def record(verdicts: list[Verdict], seed: int) -> dict[str, object]:
    """What is written down of a run."""
    return {
        "mutants": len(verdicts),
        "seed": seed,
        "originals": len(originals()),
        "came": counts(verdicts),
        "failures": [asdict(each) for each in verdicts if not each.is_good],
        "date": time.strftime("%Y-%m-%d"),
        "versions": {name: importlib.metadata.version(name) for name in ("pillow", "tifffile", "numpy")},
    }


if __name__ == "__main__":
    sys.exit(main())
