"""One voice on the standard error: warnings of any library, logs and decoders in C, all as notes."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from .. import asides
from ..errors import AssumptionWarning, ChangedWarning
from .options import Given
from .printing import NOTES, told


@contextmanager
def one_voice(given: Given) -> Iterator[None]:
    """Whatever is said beside the results as notes, when all has ended well; none with --quiet.

    That is warnings of this package and of others, logs that nobody else takes, and what decoders in C say.
    """

    def say(note: str) -> None:
        if "quiet" not in given:
            NOTES.say(note)

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        own = issubclass(category, (AssumptionWarning, ChangedWarning))
        place = "/".join(Path(filename).parts[-2:])
        say(told(message) if own else f"{place}:{lineno}: {category.__name__}: {message}")

    unhandled = logging.lastResort
    with warnings.catch_warnings(), NOTES.held_back(), asides.listening(say):
        warnings.showwarning = show
        for category in (AssumptionWarning, ChangedWarning):
            warnings.simplefilter("always", category)
        logging.lastResort = _Logged(say)
        try:
            yield
        finally:
            logging.lastResort = unhandled


class _Logged(logging.Handler):
    """What is logged and handled by nobody else, as notes; the standard library would print it as it is."""

    def __init__(self, say: Callable[[str], None]) -> None:
        super().__init__(logging.WARNING)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(f"{record.name}: {record.getMessage()}")
