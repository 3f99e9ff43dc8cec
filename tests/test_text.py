"""Text of others: nothing in it that a terminal obeys, short enough, and whole where a program reads it."""

from __future__ import annotations

import copy
import json
import pickle
import warnings
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from sobolevflow import errors
from sobolevflow.errors import AssumptionWarning, SobolevflowError, Told, warn
from sobolevflow.text import MOST, apart, as_json, one_line, printable, shortened
from tests.support.hostile_text import dangerous, names, texts


@given(texts)
def test_a_name_is_printed_in_one_line_that_no_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert not dangerous(shown)
    assert printable(shown) == shown
    assert (shown == text) == (not dangerous(text))


@given(texts, st.integers(40, 400))
def test_a_message_is_one_line_of_bounded_length(text: str, most: int) -> None:
    line = one_line(text, most)
    assert len(line) <= most
    assert not dangerous(line)
    assert one_line(line, most) == line


@pytest.mark.parametrize("name", ["'" + "y" * 300 + "'", "\"it's " + "y " * 200 + '"', "/a" * 400], ids=len)
def test_a_long_name_loses_its_middle_and_the_sentence_keeps_its_end(name: str) -> None:
    line = one_line(
        f"net.onnx: no layer {name} here. Did you mean {name}? Ask 'sobolevflow inspect' for all."
    )
    assert 300 < len(line) <= MOST
    assert line.startswith(f"net.onnx: no layer {name[:20]}")
    assert line.endswith(f"{name[-20:]}? Ask 'sobolevflow inspect' for all.")
    assert "... " not in line


def test_what_fits_is_left_alone() -> None:
    line = "no layer 'conv  1' in 'naïve/螺旋.onnx', the network's own; ask for 'sobolevflow inspect'"
    assert one_line(line) == line
    assert one_line("x" * MOST) == "x" * MOST


def test_line_breaks_of_other_programs_are_spaces() -> None:
    assert one_line("cannot be read:\n    line 3,\r\n\tcolumn 4") == "cannot be read: line 3, column 4"


@given(st.lists(texts, max_size=12), st.integers(14, 60))
def test_names_in_a_table_are_short_and_none_alike_that_are_not(found: list[str], most: int) -> None:
    short = apart(found, most)
    assert all(len(each) <= most and not dangerous(each) for each in short)
    assert len(set(short)) == len({printable(each) for each in found})


def test_names_with_the_same_ends_are_numbered() -> None:
    alike = [f"{'a' * 300}{k}{'b' * 300}" for k in range(30)]
    short = apart([*alike, "aaaaaaa...1...bbbbbb", "c"], 20)
    assert len(set(short)) == 32
    assert short[1] == "aaaaaaa...3...bbbbbb"
    assert short[-2:] == ["aaaaaaa...1...bbbbbb", "c"]


def test_width_is_what_is_asked_for() -> None:
    from rich.cells import cell_len

    assert cell_len(shortened("螺旋" * 40, 21, cell_len)) <= 21


@given(texts)
def test_json_is_ascii_that_no_terminal_obeys_and_has_the_name_as_it_is(text: str) -> None:
    written = as_json({text: [text]})
    assert written.isascii()
    assert not dangerous(written)
    assert json.loads(written) == {text: [text]}


ERRORS: list[type[Any]] = [
    each
    for each in vars(errors).values()
    if isinstance(each, type) and issubclass(each, Told) and each != Told
]


@pytest.mark.parametrize("kind", ERRORS)
@settings(max_examples=20)
@given(text=texts)
def test_an_error_prints_a_line_and_keeps_all_that_it_says(kind: type[Any], text: str) -> None:
    error = kind(text)
    assert len(str(error)) <= MOST
    assert not dangerous(str(error))
    assert f"{error}" == str(error) == one_line(text)
    assert (error.full, error.args) == (text, (text,))
    for other in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert (type(other), other.full, str(other)) == (kind, text, str(error))


def test_the_classes_of_the_standard_library_still_catch_them() -> None:
    for kind, base in [
        ("InputError", ValueError),
        ("OutputError", OSError),
        ("UnknownNameError", LookupError),
    ]:
        with pytest.raises(base, match="said"):
            raise getattr(errors, kind)("said")
    assert str(SobolevflowError()) == ""
    assert str(errors.OutputError(28, "No space left on device")) == "[Errno 28] No space left on device"


@given(names)
def test_a_warning_prints_a_line_and_keeps_all_that_it_says(name: str) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn(f"assumed of {name}")
    (message,) = [each.message for each in caught]
    assert isinstance(message, AssumptionWarning)
    assert message.full == f"assumed of {name}"
    assert not dangerous(
        warnings.formatwarning(message, AssumptionWarning, "file.py", 1, "line"), allowed="\n"
    )
