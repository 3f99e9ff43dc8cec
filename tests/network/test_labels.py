"""Class names as people have them: every format in every encoding, and what is wrong said in plain words."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from hypothesis import given, settings, strategies as st
from onnx import helper

import sobolevflow as sf
from sobolevflow.errors import AssumptionWarning, InputError, UnknownNameError
from sobolevflow.models import METADATA_LABELS
from sobolevflow.network.labels import Labels, find_label, read_labels
from tests.support.command_line import run
from tests.support.label_files import ENCODINGS, FORMATS, encoded
from tests.support.small_networks import LABELS, small_model

SYNSETS = ["n02119789", "n01978455", "n02012849", "n03126707", "n02123045", "n01622779"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("labels")


def written(folder: Path, name: str, text: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(folder: Path, name: str, text: str | bytes) -> list[str]:
    found = read_labels(written(folder, name, text))
    assert found.notes == []
    return found.names


# --- round trips ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_names_come_back_from_every_format_in_every_encoding(
    kind: str, data: st.DataObject, folder: Path
) -> None:
    how = FORMATS[kind]
    # two that no number, quote or bracket has in common, so that none is all of a kind
    drawn = data.draw(st.lists(how.names(), min_size=1, max_size=6))
    names = list(dict.fromkeys([*drawn, "tench", "Große Möwe"]))
    encoding = data.draw(st.sampled_from(ENCODINGS))
    assert read(folder, "labels" + how.ending, encoded(how.write(names), encoding)) == names


@given(st.lists(st.text("abcäöüÉñß '", min_size=1).map(lambda s: f"ü{s}x"), min_size=1, max_size=5))
@settings(max_examples=20, deadline=None)
def test_latin_1_is_read_with_a_note(folder: Path, names: list[str]) -> None:
    path = written(folder, "latin.txt", "\n".join(["plain", *names]).encode("latin-1"))
    with pytest.warns(AssumptionWarning, match="line 2 is not UTF-8; it was read as Latin-1"):
        found = read_labels(path)
    assert found.names == ["plain", *names]
    assert len(found.notes) == 1


def test_the_quotes_of_windows_are_read(folder: Path) -> None:
    path = written(folder, "windows.txt", "hunter’s horn\ncat".encode("cp1252"))
    with pytest.warns(AssumptionWarning, match="Windows-1252"):
        assert read_labels(path).names == ["hunter’s horn", "cat"]


# --- one file of each kind --------------------------------------------------------------------------

ITEMS = """# of a detector
item { name: "/m/01" id: 2 display_name: "caf\\303\\251" }
item: { id: 1, name: 'it\\'s', keypoints { id: 7 } }
"""


FILES: dict[str, tuple[str, list[str]]] = {
    "trailing.txt": ("a\nb\n\n \n", ["a", "b"]),
    "inside.txt": ("a\n\nb\n", ["a", "", "b"]),
    "comments.txt": ("# my classes\n#\na\n#1 fan\n", ["a", "#1 fan"]),
    "mac.txt": ("a\rb\r", ["a", "b"]),
    "numbers.txt": ("0\n1\n2", ["0", "1", "2"]),
    "coins.txt": ("1 euro\n2 euro\n", ["1 euro", "2 euro"]),
    "marks.txt": ("0 mark\n2 stars\n", ["0 mark", "2 stars"]),
    "phases.txt": ("phase 0\nphase 1\n", ["phase 0", "phase 1"]),
    "spaced.txt": ("king crab 1\ncat 0\nred fox 2\n", ["cat", "king crab", "red fox"]),
    "tuple.txt": ("('a', 'b')\n", ["a", "b"]),
    "parentheses.txt": ("(background)\ncat\n", ["(background)", "cat"]),
    "pairs.json": ('[[1, "b"], [0, "a"]]', ["a", "b"]),
    "pairs_of_text.json": ('[["0", "a"], ["1", "b"]]', ["a", "b"]),
    "names.jsonl": ('"tench"\n"caf\\u00e9 \\"x\\""\n', ["tench", 'café "x"']),
    "one.jsonl": ('{"id": 0, "name": "tench"}\n', ["tench"]),
    "lines.jsonl": ('{"id": 1, "name": "b"}\n\n{"id": 0, "name": "a"}\n', ["a", "b"]),
    "lines.txt": ('{"id": 0, "name": "a"}\n{"id": 1, "name": "b"}\n', ["a", "b"]),
    "indices.jsonl": ('{"1": "b"}\n{"0": "a"}\n', ["a", "b"]),
    "quoted.txt": ('"a"\n"b, c"\n', ["a", "b, c"]),
    "from_one.txt": ("2: b\n1: a\n", ["a", "b"]),
    "twice.txt": ("0 crane\n1 cat\n2 crane\n", ["crane", "cat", "crane"]),
    "dots.txt": ("0. a\n1. b", ["a", "b"]),
    "behind.txt": ("a,0\nb, c,1\n", ["a", "b, c"]),
    "brackets.txt": ("[background]\ncat\n", ["[background]", "cat"]),
    "dashes.txt": ("- a\n- b\n", ["a", "b"]),
    "synsets.txt": (
        "n02119789 red fox, Vulpes\nn01978455 rock crab",
        ["red fox, Vulpes, n02119789", "rock crab, n01978455"],
    ),
    "bare.txt": ("n02119789\nn01978455\n", ["n02119789", "n01978455"]),
    "caffe.txt": (
        "n01978455 2 rock_crab\nn02119789 1 kit_fox",
        ["kit_fox, n02119789", "rock_crab, n01978455"],
    ),
    "both.txt": ("0 n02119789 kit fox\n1 n01978455 crab", ["kit fox, n02119789", "crab, n01978455"]),
    "wnid.csv": ("wnid,name,more\nn02119789,kit fox,x\n", ["kit fox, n02119789"]),
    "class.csv": ("class,name\n1,b\n0,a", ["a", "b"]),
    "ranks.csv": ("name,rank\na,2\nb,1", ["a", "b"]),
    "name_label.csv": ("name,label\nb,1\na,0", ["a", "b"]),
    "classes.csv": ("label,English\n1,b\n0,a", ["a", "b"]),
    "one.csv": ('label\na\n"b, c"\n', ["a", "b, c"]),
    "semicolons.csv": ("Class ID;Class Name\n0;a\n1;b\n", ["a", "b"]),
    "quote.csv": ('name\n"a\nb', ["a", "b"]),
    "index.json": (
        '{"0": ["n02119789", "kit fox"], "1": ["n01978455", "crab"]}',
        ["kit fox, n02119789", "crab, n01978455"],
    ),
    "wnids.json": (
        '{"n02119789": "kit fox", "n01978455": "crab"}',
        ["kit fox, n02119789", "crab, n01978455"],
    ),
    "synonyms.json": ('{"cat": 0, "dog": 1, "hound": 1}', ["cat", "dog, hound"]),
    "coco.json": (
        '{"categories": [{"id": 3, "name": "car"}, {"id": 1, "name": "person"}]}',
        ["person", "2", "car"],
    ),
    "digits.json": ('{"0": 0, "1": 1}', ["0", "1"]),
    "data.yaml": ("nc: 3\nnames:\n  0: no\n  1: on\n  2: 1.50\n", ["no", "on", "1.50"]),
    "like_yaml.txt": ("path: x\nnames: [a, b]\n", ["a", "b"]),
    "names.toml": ('names = ["a", "b"]', ["a", "b"]),
    "labelmap.pbtxt": (ITEMS, ["it's", "café, /m/01"]),
    "coco.names": ("person\nbicycle\n", ["person", "bicycle"]),
    "timm.json": (
        json.dumps(
            {
                "label_names": SYNSETS[:2],
                "label_descriptions": dict(zip(SYNSETS, ["kit fox", "rock crab"], strict=False)),
                "pretrained_cfg": {"mean": [0.5]},
            }
        ),
        ["kit fox, n02119789", "rock crab, n01978455"],
    ),
    "old_timm.json": ('{"pretrained_cfg": {"label_names": ["a", "b"]}}', ["a", "b"]),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_every_kind(folder: Path, name: str) -> None:
    text, expected = FILES[name]
    assert read(folder, name, text) == expected


@pytest.mark.parametrize(
    "given",
    [
        tuple(LABELS),
        dict(enumerate(LABELS)),
        {name: k for k, name in enumerate(LABELS)},
        {"id2label": {str(k): name for k, name in enumerate(LABELS)}},
        np.array(LABELS),
        np.array(LABELS, object),
        [name.encode() for name in LABELS],
        [{"id": k, "name": name} for k, name in enumerate(LABELS)],
        dict.fromkeys(LABELS).keys(),
        dict(enumerate(LABELS)).values(),
        dict(enumerate(LABELS)).items(),
        {name: k for k, name in enumerate(LABELS)}.items(),
        iter(LABELS),
        map(str, LABELS),
    ],
)
def test_python_has_names_in_many_ways(given: Any) -> None:
    net = sf.load(small_model(), labels=given)
    assert net.labels == LABELS
    assert net.class_index("king crab") == 1


@pytest.mark.parametrize(
    "given",
    [
        pd.Series(LABELS),
        pd.Series(LABELS, index=[f"row {k}" for k in range(len(LABELS))]),
        pd.Series(LABELS).sort_values(),  # by name, as a table may be shown
        pd.Series(range(len(LABELS)), index=LABELS).sort_index(),
        pd.Series(LABELS, dtype="category"),
        pd.Series(LABELS, index=range(1, len(LABELS) + 1))[::-1],
        pd.Index(LABELS),
        pd.Series(LABELS, index=[0] * len(LABELS)),
    ],
    ids=["a column", "names of rows", "sorted", "numbers of names", "categories", "from 1", "index", "alike"],
)
def test_a_column_of_a_table_has_them_by_its_index(given: Any) -> None:
    assert sf.load(small_model(), labels=given).labels == LABELS


def test_a_set_is_refused_by_its_kind_and_nothing_long_is_printed() -> None:
    for names in (set(LABELS), frozenset(map(str, range(1000)))):
        with pytest.raises(InputError, match=r"set, which has no order; give a list") as error:
            sf.load(small_model(), labels=names)
        assert len(str(error.value)) < 100


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("0: a\n1: b\n3: c\n", "line 3 has the number 3 where 2 would follow"),
        ("# mine\n0, a\n2, b\n", "line 3 has the number 2 where 1 would follow"),
        ("0 a\n1 b\n1 c\n2 d", "line 3 has the number 1 once more"),
    ],
)
def test_numbers_with_a_gap_or_a_repeat_are_spoken_of(folder: Path, text: str, note: str) -> None:
    with pytest.warns(AssumptionWarning, match=note):
        found = read_labels(written(folder, "gap.txt", text))
    assert found.names == [line for line in text.split("\n") if line and line[0] != "#"]


def test_numbers_may_be_names() -> None:
    assert read_labels([3, np.int64(4)]).names == ["3", "4"]  # type: ignore[list-item]


# --- what is wrong ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("blank.txt", "\n \n", "is empty"),
        ("null.json", "null", "holds null"),
        ("broken.jsonl", '"a"\n"b', "line 2, not JSON"),
        ("none.json", "[]", "is empty"),
        ("picture.png", b"\x89PNG\r\n\x1a\n\x00\x00", "not a text file"),
        ("utf16.txt", "ab".encode("utf-16-le"), "byte order mark"),
        ("cut.txt", b"\xff\xfea\x00b", "byte 4 does not fit"),
        ("hole.txt", b"a\nb\x81", "line 2: not text in UTF-8"),
        ("comma.json", '{"0": "a",\n "1" "b"}', "line 2, not JSON"),
        ("colon.yaml", "names:\n  - a\n b: c\n", "line 3, not YAML"),
        ("broken.toml", "names = [", "not TOML"),
        ("other.json", '{"lr": "low"}', "no class names in it; expected {0: name}"),
        ("deep.json", '{"names": ["a", [2]]}', "names: entry 1 is [2]"),
        ("number.json", "3", "expected a list of class names or a mapping, found 3"),
        ("sparse.json", '{"0": "a", "5000": "b"}', "no indices"),
        ("digits.json", '{"%s": "a"}' % ("9" * 5000), "its keys are a text of 5000 characters"),
        ("below.csv", "index,name\n-1,a\n0,b", "one is numbered -1"),
        ("id.pbtxt", "item { id: x name: 'a' }", "the id of an item is 'x'"),
    ],
)
def test_files_that_are_wrong_are_named_with_what_was_expected(
    folder: Path, name: str, text: str | bytes, message: str
) -> None:
    path = written(folder, name, text)
    with pytest.raises(InputError) as error:
        read_labels(path)
    assert message in str(error.value)
    assert name in str(error.value)


@pytest.mark.parametrize("text", ["a, b, " * 1000, "a\0b"], ids=["too long", "null character"])
def test_a_text_that_is_no_path_is_said_to_be_none(text: str) -> None:
    with pytest.raises(InputError, match=r"labels file .*(cannot be read|is no path)"):
        read_labels(text)


@pytest.mark.parametrize("given", [3, b"abc", {"a", "b"}, [None], [["a", 3]], {"a": "b"}])
def test_what_is_no_list_of_names_is_refused(given: Any) -> None:
    with pytest.raises(InputError, match="labels"):
        sf.load(small_model(), labels=given)


ENDINGS = (".txt", ".json", ".yaml", ".toml", ".csv", ".tsv", ".pbtxt")
PIECES = st.sampled_from([*"{}[]:,\"'\n01a#\\ ", "item", "id", "name", "names: ", "- ", "n01440764", "!!"])


@settings(max_examples=300, deadline=None)
@given(
    content=st.one_of(
        st.binary(max_size=40), st.lists(PIECES, max_size=14).map(lambda p: "".join(p).encode())
    ),
    ending=st.sampled_from(ENDINGS),
)
def test_any_file_has_names_or_an_error_in_plain_words(folder: Path, content: bytes, ending: str) -> None:
    path = written(folder, "any" + ending, content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        try:
            names = read_labels(path).names
        except InputError:
            return
    assert names
    assert all(isinstance(name, str) for name in names)


# --- their number -----------------------------------------------------------------------------------


@given(count=st.integers(1, 12), background=st.sampled_from([None, 0, 1]))
@settings(max_examples=30, deadline=None)
def test_as_many_labels_as_classes_or_one_fewer(count: int, background: int | None) -> None:
    names = [f"thing {k}" for k in range(count)]
    if count == 5 or (count == 6 and background != 1):
        net = sf.load(small_model(), labels=names, background=background)
        assert net.labels == names
        return
    with pytest.raises(InputError) as error:
        sf.load(small_model(), labels=names, background=background)
    assert f"{count} labels do not fit 6 classes; there must be" in str(error.value)


@pytest.mark.parametrize("ids", [[1, 3, 4, 7, 8, 9], [0, 2, 3, 5, 6, 10], [2, 4, 6, 8, 10, 13]])
def test_names_numbered_with_gaps_fit_outputs_one_after_the_other(ids: list[int], tmp_path: Path) -> None:
    categories = [{"id": k, "name": name} for k, name in zip(ids, LABELS, strict=True)]
    path = written(tmp_path, "coco.json", json.dumps({"categories": categories[::-1]}))
    net = sf.load(small_model(), labels=path)
    assert net.labels == LABELS
    assert any(
        "6 class names have gaps: they were given to outputs one after the other" in n for n in net.notes()
    )


def test_names_numbered_with_gaps_fit_outputs_by_their_numbers() -> None:
    net = sf.load(small_model(), labels={0: "a", 2: "b", 3: "c", 4: "d", 5: "e"})
    assert net.labels == ["a", "1", "b", "c", "d", "e"]
    assert any(
        "5 class names have gaps: they were given to outputs by their numbers" in n for n in net.notes()
    )
    behind = sf.load(small_model(), labels={1: "a", 3: "b", 5: "c"})
    assert behind.output_index("b") == 3


def test_names_numbered_with_gaps_that_do_not_fit_are_counted_as_the_file_has_them() -> None:
    with pytest.raises(
        InputError, match=r"3 labels, .* gaps \(31 with those between\), do not fit 6 classes"
    ):
        sf.load(small_model(), labels={1: "a", 3: "b", 31: "c"})


def test_blank_lines_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "labels.txt", "a\n\nb\nc\n\nd\ne\nf\n")
    with pytest.raises(InputError, match=r"8 labels \(2 of them blank\) do not fit 6 classes"):
        sf.load(small_model(), labels=path)


def segmenting() -> onnx.ModelProto:
    model = small_model()
    del model.graph.node[2:]
    model.graph.output[0].name = "relu1"
    return model


def test_labels_of_a_network_without_class_scores_are_kept_with_a_note() -> None:
    net = sf.load(segmenting(), labels=["a", "b"])
    assert net.labels == ["a", "b"]
    assert any("the 2 labels name none" in note for note in net.notes())


# --- metadata ---------------------------------------------------------------------------------------


def recorded(**entries: str) -> onnx.ModelProto:
    model = small_model()
    helper.set_model_props(model, entries)
    return model


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("names", str(dict(enumerate(LABELS)))),
        ("names", json.dumps(LABELS)),
        ("classes", json.dumps({str(k): name for k, name in enumerate(LABELS)})),
        ("id2label", json.dumps(dict(enumerate(LABELS)))),
    ],
)
def test_names_that_other_exporters_record_are_read(key: str, text: str) -> None:
    assert sf.load(recorded(**{key: text})).labels == LABELS
    ours = recorded(**{key: text, METADATA_LABELS: json.dumps(LABELS[::-1])})
    assert sf.load(ours).labels == LABELS[::-1]


@pytest.mark.parametrize("text", ["", "cats and dogs", "{0: ", "3", "{}"])
def test_other_metadata_under_such_a_key_is_no_error(text: str) -> None:
    assert sf.load(recorded(names=text)).labels is None


@pytest.mark.parametrize("key", ["names", METADATA_LABELS])
def test_recorded_names_that_do_not_fit_are_left_out_with_a_note(key: str) -> None:
    net = sf.load(recorded(**{key: json.dumps(["a", "b"])}))
    assert net.labels is None
    assert net.class_name(0) == "0"
    (note,) = [note for note in net.notes() if key in note]
    assert "2 labels do not fit 6 classes" in note


# --- folders ----------------------------------------------------------------------------------------


def test_a_folder_is_searched_for_them(tmp_path: Path) -> None:
    written(tmp_path, "config.json", json.dumps({"lr": 0.1}))
    with pytest.raises(InputError, match="no file of class names"):
        read_labels(tmp_path)
    path = written(tmp_path, "config.json", json.dumps({"id2label": dict(enumerate(LABELS))}))
    assert read_labels(str(tmp_path)) == Labels(LABELS, [f"class names are those of {path}"])


def test_names_beside_a_file_are_spoken_of_and_not_taken(tmp_path: Path) -> None:
    (tmp_path / "onnx").mkdir()
    for path in (tmp_path / "net.onnx", tmp_path / "onnx" / "net.onnx"):
        onnx.save(small_model(), path)
        written(tmp_path, "classes.txt", "a\nb\n")  # not as many
        beside = written(tmp_path, "config.json", json.dumps({"id2label": dict(enumerate(LABELS))}))
        net = sf.load(path)
        assert net.labels is None
        (note,) = [note for note in net.notes() if "class names" in note]
        assert f"labels={str(beside)!r}" in note
        assert not [n for n in sf.load(path, labels=LABELS).notes() if "config.json" in n]


# --- looking them up --------------------------------------------------------------------------------


def test_synsets_and_names_both_find_a_class(tmp_path: Path) -> None:
    lines = [f"{synset} {label}" for synset, label in zip(SYNSETS, LABELS, strict=True)]
    path = written(tmp_path, "synset.txt", "\n".join(lines))
    for source in (path, lines):
        net = sf.load(small_model(), labels=source)
        for name in ("n01978455", "king crab", "King_Crab"):
            assert net.class_index(name) == 1
        assert net.class_index("tabby") == net.class_index("cat") == 4


@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=8), st.sampled_from("abc"))
def test_a_name_that_several_classes_have_is_said_with_their_indices(labels: list[str], name: str) -> None:
    places = [k for k, label in enumerate(labels) if label == name]
    if len(places) == 1:
        assert find_label(name, labels) == places[0]
        return
    with pytest.raises(UnknownNameError) as error:
        find_label(name, labels)
    assert all(f"{k} ({name})" in str(error.value) for k in places)


def test_a_name_that_thousands_have_is_said_in_one_line() -> None:
    with pytest.raises(UnknownNameError) as error:
        find_label("a", ["a"] * 5000)
    assert len(str(error.value)) < 400


def test_the_command_takes_them_and_says_its_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, labels = tmp_path / "net.onnx", tmp_path / "names.csv"
    onnx.save(small_model(), model)
    labels.write_bytes(
        b"id,name\n" + "\n".join(f'{k},"é {n}"' for k, n in enumerate(LABELS)).encode("latin-1")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert run("inspect", model, "--labels", labels, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == [f"é {name}" for name in LABELS]
    assert any("Latin-1" in note for note in found["notes"])
