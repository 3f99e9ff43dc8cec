"""Files that are no text, are huge, or are nested without end: an error in plain words, and soon."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from onnx import helper

import sobolevflow as sf
from sobolevflow.errors import InputFileError, ModelError
from sobolevflow.models import METADATA_LABELS, METADATA_PREPROCESS
from sobolevflow.network import text_files
from sobolevflow.network.labels import read_labels
from tests.support.small_networks import small_model

DEEP = 100_000
READERS = [read_labels, sf.Preprocess.of]


def laughs(generations: int) -> str:
    """Ten times as many values with each line: ten to the power of their number."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for k in range(1, generations):
        lines.append(f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 10)}]")
    return "\n".join([*lines, f"names: *a{generations - 1}"])


HOSTILE = {
    "list.json": ("[" * DEEP + "]" * DEEP, "nested too deeply"),
    "mapping.json": ('{"a":' * DEEP + "1" + "}" * DEEP, "nested too deeply"),
    "open.txt": ("[" * DEEP, "nested too deeply"),
    "names.json": ('{"names":' * 150 + "1" + "}" * 150, "nested too deeply"),
    "model.json": ('{"model":' * 150 + "1" + "}" * 150, "nested too deeply"),
    "processor.json": ('{"image_processor":' * 150 + "1" + "}" * 150, "nested too deeply"),
    "list.yaml": ("[" * DEEP + "]" * DEEP, "nested too deeply"),
    "mapping.yaml": ("{a: " * DEEP + "1" + "}" * DEEP, "nested too deeply"),
    "dashes.yaml": ("- " * DEEP + "a", "nested too deeply"),
    "list.toml": ("a = " + "[" * DEEP + "]" * DEEP, "nested too deeply"),
    "key.toml": (".".join("a" * DEEP) + " = 1", "nested too deeply"),
    "table.toml": ("[" + " . ".join("a" * DEEP) + "]", "nested too deeply"),
    "laughs.yaml": (laughs(12), "aliases stand for far more values"),
    "itself.yaml": ("names: &a [*a]", "recursive"),
    "within.yaml": ("model: &a {model: *a}", "recursive"),
    "digits.json": (f'{{"names": {"9" * 5000}}}', "not JSON"),
}


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("read", READERS)
def test_what_is_nested_or_repeated_without_end_is_refused(
    read: Callable[[Any], Any], name: str, tmp_path: Path
) -> None:
    text, reason = HOSTILE[name]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputFileError, match=f"{re.escape(name)}.*{reason}"):
        read(path)


def test_an_alias_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text("train: &names [cat, dog]\nnames: *names\n")
    assert read_labels(path).names == ["cat", "dog"]


@pytest.mark.parametrize("read", READERS)
def test_a_file_larger_than_any_of_its_kind_is_not_read_to_its_end(
    read: Callable[[Any], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text_files, "_LARGEST", 2**20)
    path = tmp_path / "huge.txt"
    path.write_bytes(b"a\n" * 2**19)
    with path.open("ab") as file:
        file.write(b"b")
    with pytest.raises(InputFileError, match=r"huge.txt: is larger than 1 MiB"):
        read(path)


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="this system has no file without an end")
def test_a_file_without_an_end_is_refused() -> None:
    with pytest.raises(InputFileError, match="is a device, and no regular file"):
        read_labels("/dev/zero")


@pytest.mark.parametrize("kind", [".txt", ".csv", ".json", ".yaml", ".toml", ".pbtxt"])
def test_what_is_no_text_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"net{kind}"
    path.write_bytes(small_model().SerializeToString())
    with pytest.raises(InputFileError, match="not a text file"):
        read_labels(path)


def test_a_cell_may_be_longer_than_csv_reads(tmp_path: Path) -> None:
    line = '"' + "x" * 200_000
    path = tmp_path / "labels.csv"
    path.write_text(f"name\n{line}")
    assert read_labels(path).names == [line]


@pytest.mark.parametrize("key", [METADATA_LABELS, METADATA_PREPROCESS])
@pytest.mark.parametrize("text", ["5", "true", '"labels.txt"', "[" * DEEP + "]" * DEEP])
def test_metadata_of_another_kind_are_refused(key: str, text: str) -> None:
    """A file may name no other file, which would then be read."""
    model = small_model()
    del model.metadata_props[:]
    helper.set_model_props(model, {key: text})
    with pytest.raises(ModelError, match=re.escape(key)):
        sf.load(model)
