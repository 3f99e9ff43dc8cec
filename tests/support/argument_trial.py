"""One argument after the other replaced by a strange value: what goes wrong, in words."""

from __future__ import annotations

import inspect
import signal
import time
import types
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from sobolevflow.errors import AssumptionWarning, ChangedWarning, SobolevflowError
from tests.support.argument_cases import HOW_LONG, USERS_OWN, Case
from tests.support.argument_table import VALUES, Text, Whole

SECONDS = 2.0  # of the processor
MEMORY = 1 << 30  # bytes

_CALLED = ("function", "raising function", "class")
_LARGE = ("2**31", "2**63", "huge whole")


class Slow(BaseException):
    """Raised where a call takes too long."""


def troubles(case: Case, argument: str, names: Iterable[str]) -> list[str]:
    """What is wrong with how a case takes these values of an argument, each in a line."""
    found = []
    for name in names:
        own = argument in USERS_OWN and name in _CALLED
        if own or (argument in HOW_LONG and name in _LARGE):
            continue
        trouble = _trouble(case, argument, VALUES[name]())
        if trouble is not None:  # the first call may have compiled something
            trouble = _trouble(case, argument, VALUES[name]())
        if trouble is not None:
            found.append(f"{argument} = {name}: {trouble}")
    return found


def _trouble(case: Case, argument: str, value: Any) -> str | None:
    started = time.process_time()
    try:
        with limited(), warnings.catch_warnings():
            warnings.simplefilter("error")
            for ours in (AssumptionWarning, ChangedWarning):
                warnings.simplefilter("ignore", ours)
            case.call(**{argument: value})
    except SobolevflowError as error:
        if "\n" in str(error):
            return f"several lines: {error}"
    except case.raises:
        return None
    except (Exception, Slow) as error:
        return f"{type(error).__name__}{_place(error.__traceback__)}"
    if (passed := time.process_time() - started) > SECONDS:
        return f"{passed:.1f} s"
    return None


def _place(traceback: types.TracebackType | None) -> str:
    """The last line of the package in a traceback; the text of an error of another may be its trouble."""
    place = ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if "sobolevflow/" in file:
            place = f" at {file.rpartition('sobolevflow/')[2]}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


@contextmanager
def limited() -> Iterator[None]:
    """No more memory and time than that, as far as the system can limit them."""
    try:
        import resource
    except ImportError:  # Windows has none
        yield
        return

    def stop(*signalled: object) -> NoReturn:
        raise Slow

    with open("/proc/self/statm", encoding="ascii") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGVTALRM, stop)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, hard))
    signal.setitimer(signal.ITIMER_VIRTUAL, 2 * SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def alike(case: Case) -> list[str]:
    """What is wrong with how a case takes other values that are equal to its own."""
    try:
        case.call()
    except SobolevflowError:  # of what is not installed, or is not to be had
        return []
    found = []
    for argument, own in case.arguments.items():
        for value in _equal(own):
            try:
                case.call(**{argument: value})
            except Exception as error:
                found.append(f"{argument} = {type(value).__name__} {value!r}: {error!r}")
    return found


def _equal(own: Any) -> list[Any]:
    """Values that are equal to a number or a text, and of other classes."""
    if own is inspect.Parameter.empty:
        return []
    if isinstance(own, bool):
        return [np.bool_(own), np.array(own)]
    if isinstance(own, int):
        return [np.int64(own), np.min_scalar_type(own).type(own), np.array(own), Whole(own)]
    if isinstance(own, float):
        return [np.float64(own), np.float32(own), np.array(own)]
    return [Text(own), np.str_(own)] if isinstance(own, str) else []
