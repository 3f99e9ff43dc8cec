"""Commands in a process of its own, whose words are read as a shell's: ``python many_commands.py FILE``.

FILE holds a list of commands in JSON, each a list of words, in which a lone surrogate stands for a byte that
is no UTF-8. The exit codes are written to FILE.codes.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from tests.support.command_line import run


def as_a_shell_gives_it(word: str) -> str:
    return os.fsdecode(word.encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    commands = json.loads(Path(sys.argv[1]).read_text(encoding="ascii"))
    codes = [run(*map(as_a_shell_gives_it, words)) for words in commands]
    Path(f"{sys.argv[1]}.codes").write_text(json.dumps(codes), encoding="ascii")
