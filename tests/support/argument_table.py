"""Values that no argument is meant to be, and extremes of those that some are, each made anew for a call."""

from __future__ import annotations

import decimal
import fractions
import pathlib
import types
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import numpy as np


class Hostile:
    """An object whose special methods of these names raise."""

    def __new__(cls, *names: str) -> Any:
        def refuse(self: object, *args: object, **options: object) -> NoReturn:
            raise RuntimeError("no")

        return type("Hostile", (), dict.fromkeys(names, refuse))()


class Whole(int):
    """A whole number of a class of its own."""


class Text(str):
    """A text of a class of its own."""


class Claims:
    """An object that says it is an array of a shape and a type that it has not."""

    shape = (10**9, 10**9)
    dtype = "float32"
    ndim = 2


def _of_itself() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


def _deep() -> list[Any]:
    found: list[Any] = []
    for _ in range(100_000):
        found = [found]
    return found


def _endless() -> Iterator[int]:
    while True:
        yield 1


VALUES: dict[str, Callable[[], Any]] = {
    "None": lambda: None,
    "True": lambda: True,
    "ellipsis": lambda: ...,
    "text": lambda: "text",
    "empty text": lambda: "",
    "zero byte": lambda: "a\0b",
    "surrogate": lambda: "\ud800",
    "long text": lambda: "x" * 1_000_000,
    "bytes": lambda: b"\xff\x00",
    "memory": lambda: memoryview(b"abc"),
    "NaN": lambda: float("nan"),
    "infinity": lambda: float("inf"),
    "minus infinity": lambda: float("-inf"),
    "zero": lambda: 0,
    "minus one": lambda: -1,
    "half": lambda: 0.5,
    "minus a half": lambda: -0.5,
    "1e-320": lambda: 1e-320,
    "1e308": lambda: 1e308,
    "2**31": lambda: 2**31,
    "2**63": lambda: 2**63,
    "10**400": lambda: 10**400,
    "-10**400": lambda: -(10**400),
    "10**5000": lambda: 10**5000,  # of more digits than Python writes down
    "complex": lambda: 1j,
    "fraction": lambda: fractions.Fraction(10**400, 3),
    "decimal NaN": lambda: decimal.Decimal("NaN"),
    "signalling NaN": lambda: decimal.Decimal("sNaN"),
    "list": list,
    "tuple": lambda: (),
    "dict": dict,
    "set": lambda: {1, "a"},
    "ragged": lambda: [[1.0, 2.0], [3.0]],
    "list of None": lambda: [None, None],
    "list of texts": lambda: ["a", "\ud800"],
    "list of NaN": lambda: [float("nan"), float("nan")],
    "list of 10**400": lambda: [10**400, 10**400],
    "list of bools": lambda: [True, False],
    "list of itself": _of_itself,
    "deep list": _deep,
    "strange keys": lambda: {1: 2, None: [], ("a",): "\ud800"},
    "mapping of hostile": lambda: {"a": Hostile("__repr__", "__str__", "__float__", "__array__")},
    "range": lambda: range(10**12),
    "generator": lambda: (k for k in range(3)),
    "endless": _endless,
    "function": lambda: lambda *args, **options: None,
    "raising function": lambda: Hostile("__call__"),
    "class": lambda: int,
    "module": lambda: types,
    "path": lambda: pathlib.Path("no/such/file"),
    "object": object,
    "hostile repr": lambda: Hostile("__repr__", "__str__", "__format__"),
    "hostile array": lambda: Hostile("__array__", "__repr__"),
    "hostile iter": lambda: Hostile("__iter__", "__len__", "__repr__"),
    "hostile number": lambda: Hostile("__index__", "__int__", "__float__", "__lt__", "__le__", "__repr__"),
    "hostile equality": lambda: Hostile("__eq__", "__hash__", "__bool__"),
    "hostile path": lambda: Hostile("__fspath__", "__repr__"),
    "hostile dlpack": lambda: Hostile("__dlpack__", "__dlpack_device__", "__repr__"),
    "claims to be an array": Claims,
    "array of NaN": lambda: np.array(np.nan),
    "array of True": lambda: np.array(True),
    "array of text": lambda: np.array("a"),
    "empty array": lambda: np.zeros((0,)),
    "no pixels": lambda: np.zeros((1, 3, 0, 0), np.float32),
    "vector": lambda: np.arange(3),
    "NaN vector": lambda: np.full(3, np.nan),
    "matrix": lambda: np.ones((2, 3)),
    "many axes": lambda: np.ones((1,) * 32),
    "objects": lambda: np.array([None, object()], dtype=object),
    "array of texts": lambda: np.array(["a", "b"]),
    "complex array": lambda: np.ones(3, complex),
    "dates": lambda: np.array(["2020-01-01"], "datetime64[D]"),
    "records": lambda: np.zeros(2, [("a", float), ("b", int)]),
    "huge view": lambda: np.broadcast_to(np.float32(0.5), (10**6, 10**6)),
    "huge whole": lambda: np.uint64(2**64 - 1),
    "masked": lambda: np.ma.masked,
    "duration": lambda: np.timedelta64(1, "s"),
}
