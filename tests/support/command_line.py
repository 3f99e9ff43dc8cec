"""The command line, run in this process."""

from __future__ import annotations

from sobolevflow.cli.main import main


def run(*arguments: object) -> int:
    """Exit code of the command, argparse's own exits included."""
    try:
        return main([str(each) for each in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
