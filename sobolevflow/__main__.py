"""``python -m sobolevflow`` is the ``sobolevflow`` command, and so is what pip puts on the path.

From here on Ctrl-C ends it in one line, also while it is still importing what it needs: the imports of all
else stand inside of `command`.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

_INTERRUPTED = 130  # as of a program that a shell has seen die of SIGINT


class _Interrupt:
    """Ctrl-C as Python has it, remembered, but for the time in which a module is imported.

    An exception in the midst of an import is turned into another error by modules in C, or ends the process
    in a crash. Nothing is lost where modules are imported, so the process ends there and then.
    """

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> NoReturn:
        self.came = True
        if _imports(frame):
            code = _say_interrupted()
            sys.stderr.flush()
            os._exit(code)
        raise KeyboardInterrupt

    def again(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Raise it once more where it came in a function that may not raise, such as a destructor."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            if signal.getsignal(signal.SIGINT) is self:  # else it was answered already
                signal.raise_signal(signal.SIGINT)
        else:
            sys.__unraisablehook__(unraisable)


def command() -> NoReturn:
    """Run the command line of this process, and end the process by its exit code."""
    interrupt = _Interrupt()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # not where a shell has it ignored
        signal.signal(signal.SIGINT, interrupt)
        sys.unraisablehook = interrupt.again
    try:
        from .cli.main import main

        code = main()
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        if not interrupt.came:
            raise
        code = _say_interrupted()
    if interrupt.came or signal.getsignal(signal.SIGINT) is interrupt:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's own end has nothing to save
    sys.exit(code)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _say_interrupted() -> int:
    with suppress(OSError, KeyboardInterrupt):
        print("sobolevflow: interrupted", file=sys.stderr)
    return _INTERRUPTED


if __name__ == "__main__":
    command()
