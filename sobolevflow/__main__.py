"""``python -m sobolevflow`` is the ``sobolevflow`` command, and so is what pip puts on the path.

From here on Ctrl-C ends it in one line, also while it is still importing what it needs: the imports of all
else stand inside of `command`. SIGTERM, and SIGHUP of a terminal that was closed, end it in the same way.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress
from types import FrameType
from typing import NoReturn

# How it is said that a signal ended the command; the exit code is that of a program which died of the signal.
_SAID = {"SIGINT": "interrupted", "SIGTERM": "terminated", "SIGHUP": "hung up"}

_AT_ONCE = 0.25  # seconds in which signals are one: a terminal and its shell both say that they are closed


class _Interrupt:
    """Ctrl-C as Python has it, remembered, but for the time in which a module is imported.

    An exception in the midst of an import is turned into another error by modules in C, or ends the process
    in a crash. Nothing is lost where modules are imported, so the process ends there and then. It ends at
    once, too, by a second signal, for which a thread waits: the first may stand behind a call in C.
    """

    def __init__(self) -> None:
        self.signals = {int(getattr(signal, k)): said for k, said in _SAID.items() if hasattr(signal, k)}
        self.came = 0  # the number of the first signal
        self._raised_again = self._watched = False

    def listen(self) -> None:
        """Take the signals from now on, but for those that are ignored, as by ``nohup``."""
        usual = (signal.default_int_handler, signal.SIG_DFL)
        taken = [number for number in self.signals if signal.getsignal(number) in usual]
        for number in taken:
            signal.signal(number, self)
        if taken:
            sys.unraisablehook = self.again
            self._watched = os.name == "posix"
            if self._watched:
                self._watch_for_more()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._watched and self.came and not self._raised_again:
            return  # a further one is for the thread
        self.came, self._raised_again = number, False
        if _imports(frame):
            self.end_at_once(number)
        raise KeyboardInterrupt

    def again(self, unraisable: sys.UnraisableHookArgs) -> None:
        """Raise it once more where it came in a function that may not raise, such as a destructor."""
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            if self.came and self._takes(self.came):  # else it was answered already
                self._raised_again = True
                signal.raise_signal(self.came)
        else:
            sys.__unraisablehook__(unraisable)

    def end_at_once(self, number: int) -> NoReturn:
        """End the process without another step of it."""
        code = self.say(number)
        with suppress(OSError, ValueError, RuntimeError):
            sys.stderr.flush()
        os._exit(code)

    def say(self, number: int) -> int:
        """Say what ended the command; the exit code."""
        with suppress(OSError, ValueError, RuntimeError):  # the last where this came into another print
            print(f"sobolevflow: {self.signals[number]}", file=sys.stderr)
        return 128 + number

    def _takes(self, number: int) -> bool:
        return signal.getsignal(number) is self

    def ended_by(self) -> str:
        """What is said of the signal that came."""
        return self.signals[self.came or signal.SIGINT]

    def _watch_for_more(self) -> None:
        import threading  # not before the signals are taken

        reading, writing = os.pipe()
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        threading.Thread(target=self._watch, args=(reading,), daemon=True).start()

    def _watch(self, reading: int) -> NoReturn:
        """Wait for signals, in a thread of its own, and end the process by the second."""
        first = 0.0
        while True:
            (number,) = os.read(reading, 1)
            if number not in self.signals or not self._takes(number):
                continue
            if not first or self._raised_again:
                first = first or time.monotonic()
            elif time.monotonic() - first > _AT_ONCE:
                self.end_at_once(number)


def command() -> NoReturn:
    """Run the command line of this process, and end the process by its exit code."""
    interrupt = _Interrupt()
    interrupt.listen()
    try:
        from .cli.main import main

        code = main(ended_by=interrupt.ended_by)
    except SystemExit as stop:
        code = int(stop.code or 0)
    except BaseException:
        if not interrupt.came:
            raise
        code = interrupt.say(interrupt.came)
    if interrupt.came:  # also where the terminal was closed, and nothing could be printed
        code = 128 + interrupt.came
    for number in interrupt.signals:  # Python's own end has nothing to save
        if signal.getsignal(number) is interrupt:
            signal.signal(number, signal.SIG_DFL)
    sys.exit(code)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


if __name__ == "__main__":
    command()
