"""Every public function against every strange value of each argument: python -m tests.full.arguments.

Writes arguments.json beside itself, and exits with 1 where a call ended in an error of another library, took
more than two seconds or a gigabyte, or had a warning of NumPy's.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from sobolevflow.results import versions
from tests.support.argument_cases import CASES
from tests.support.argument_table import VALUES
from tests.support.argument_trial import alike, troubles


def main() -> int:
    """Try all of them; return the exit code."""
    found: list[str] = []
    arguments = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # some values name a file
        for name, made in CASES.items():
            case = made(Path(folder))
            trouble = [line for argument in case.arguments for line in troubles(case, argument, VALUES)]
            trouble += alike(case)
            arguments += len(case.arguments)
            print(f"{name}: {len(case.arguments)} arguments, {len(trouble)} troubles", flush=True)
            print("".join(f"  {line}\n" for line in trouble), end="", flush=True)
            found += [f"{name}: {line}" for line in trouble]
    record = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": versions(),
        "functions": len(CASES),
        "arguments": arguments,
        "values": len(VALUES),
        "troubles": found,
    }
    Path(__file__).with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
