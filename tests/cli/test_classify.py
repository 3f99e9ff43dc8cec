"""``sobolevflow classify``: what networks take photographs for, side by side."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import sobolevflow as sf
from tests.support.command_line import run
from tests.support.small_networks import LABELS, small_model

VGG, DENSE = "builtin:shapes-vgg", "builtin:shapes-dense"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / f"{name}.png" for name in ("a", "b")]
    for seed, path in enumerate(paths):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (50, 60, 3), dtype=np.uint8)).save(path)
    return paths


def test_it_prints_what_the_library_says(photos: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("classify", VGG, *photos, "--top", "2", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    expected = sf.load(VGG).predict(photos, top=2)
    assert found == {"networks": [json.loads(json.dumps(expected.to_dict()))], "failed": {}}
    assert run("classify", VGG, *photos, "--top", "2") == 0
    lines = capsys.readouterr().out.splitlines()
    for k, photo in enumerate(photos):
        at = lines.index(str(photo))
        for line, (share, name) in zip(lines[at + 2 :], expected.rows(k), strict=False):
            assert share.strip() in line
            assert name in line


def test_another_network_says_what_it_takes_them_for_side_by_side(
    photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("classify", VGG, photos[0], "--judge", DENSE, "--top", "1") == 0
    _, head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["shapes-vgg", "shapes-dense"]
    for net in (VGG, DENSE):
        assert sf.load(net).predict(photos[0]).names[0][0] in row


def test_a_judge_without_names_has_those_of_the_network(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(small_model(), tmp_path / "net.onnx")
    (tmp_path / "labels.txt").write_text("\n".join(LABELS))
    model = tmp_path / "net.onnx"
    words = [model, photos[0], "--labels", tmp_path / "labels.txt", "--preprocess", "none"]
    assert run("classify", *words, "--judge", model, "--judge-preprocess", "tf", "--json") == 0
    own, judge = json.loads(capsys.readouterr().out)["networks"]
    other = sf.load(model, preprocess="tf", labels=LABELS).predict(photos[0])
    assert judge["names"] == [list(other.names[0])]
    assert judge["probabilities"] != own["probabilities"]
    assert run("classify", *words, "--judge-preprocess", "tf") == 2
    assert "--judge-preprocess is of another network" in capsys.readouterr().err


def test_one_that_cannot_be_read_is_named_and_the_others_are_done(
    photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    missing = photos[0].with_name("missing.png")
    assert run("classify", VGG, photos[0], missing, photos[1], "--json") == 1
    found = json.loads(capsys.readouterr().out)
    assert list(found["failed"]) == [str(missing)]
    assert found["networks"][0]["photos"] == [str(photo) for photo in photos]
    assert run("classify", VGG, missing) == 1
    assert run("classify", VGG, missing, missing.with_name("too.png")) == 1


def test_a_network_without_pre_processing_is_tried_under_each(
    photos: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    onnx.save(small_model(), tmp_path / "net.onnx")
    assert run("classify", tmp_path / "net.onnx", *photos) == 0
    out = capsys.readouterr().out
    proposed = sf.load(tmp_path / "net.onnx").predict(photos).proposed
    assert proposed is not None
    assert f"{proposed} is likeliest" in out
    for name in ("torch", "caffe", "tf", "none", '{"scale": 255}'):
        assert any(line.split()[0] == name.split()[0] for line in out.splitlines()[-5:])
    assert run("classify", tmp_path / "net.onnx", *photos, "--preprocess", proposed) == 0
    assert "likeliest" not in capsys.readouterr().out
