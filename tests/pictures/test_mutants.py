"""A sample of what `tests.full.pictures` does: mutated files are read, or refused by errors of ours."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

SCRIPT = """
import json, sys
from pathlib import Path
from tests.support.picture_trial import tried

verdicts = [tried(seed, Path(sys.argv[1])) for seed in range(100)]
print(json.dumps([[each.seed, each.original, each.came, each.said] for each in verdicts if not each.is_good]))
print(len({each.came for each in verdicts}))
"""


def test_mutated_files_are_read_or_refused(tmp_path: Path) -> None:
    """In a process of its own, which may be forked: it has no threads."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, tmp_path],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    failures, kinds = done.stdout.splitlines()
    assert json.loads(failures) == []
    assert int(kinds) >= 2
    assert not list(tmp_path.iterdir())
