"""The ``sobolevflow`` command: parse, call, print; no logic.

`main`            the command itself, and its exit codes
`picture_filter`  pictures in and filtered pictures out
"""

from .main import main

__all__ = ["main"]
