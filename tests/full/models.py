"""Mutants of models, each opened and worked through: it ends with a result, or with an error of this package.

python -m tests.full.models --count 2000 --seed 0
python -m tests.full.models --only 137 4711
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from tests.support.model_trial import FAILURES, Trials, Verdict, tried

RESULT = Path(__file__).with_suffix(".json")


def main(arguments: Sequence[str] | None = None) -> int:
    """Try mutants, say how they end, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=2000, help="how many mutants")
    parser.add_argument("--seed", type=int, default=0, help="that of the first; each has the next")
    parser.add_argument("--only", type=int, nargs="+", help="these seeds, here; nothing is written")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("-o", type=Path, default=RESULT, help="where the result goes")
    given = parser.parse_args(arguments)
    if given.only:
        verdicts = [tried(seed) for seed in given.only]
        print(*verdicts, sep="\n")
        return int(any(verdict.how in FAILURES for verdict in verdicts))
    counts: Counter[str] = Counter()
    failures: list[Verdict] = []
    for verdict in Trials(given.workers).run(range(given.seed, given.seed + given.count)):
        counts[verdict.how] += 1
        if verdict.how in FAILURES:
            failures.append(verdict)
            print(verdict, flush=True)
        tried_so_far = sum(counts.values())
        if tried_so_far % 100 == 0 or tried_so_far == given.count:
            _write(given.o, given.seed, counts, failures)
            print(dict(counts), flush=True)
    return int(bool(failures))


def _write(path: Path, first: int, counts: Counter[str], failures: Sequence[Verdict]) -> None:
    """Write down how far it is, so that a run that is ended leaves its result."""
    record = {
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("onnx", "onnxruntime", "numpy", "protobuf")},
        "first_seed": first,
        "mutants": sum(counts.values()),
        "counts": dict(sorted(counts.items())),
        "failures": [asdict(verdict) for verdict in sorted(failures, key=lambda v: v.seed)],
    }
    path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
