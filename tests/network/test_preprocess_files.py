"""Pre-processing from the configurations of other libraries, held to what these do to a picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings, strategies as st

import sobolevflow as sf
from sobolevflow.errors import InputError
from tests.support.command_line import run
from tests.support.small_networks import LABELS, images, small_model

VIT = {
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_processor_type": "ViTImageProcessor",
    "image_std": [0.229, 0.224, 0.225],
    "resample": 2,
    "rescale_factor": 0.00392156862745098,
    "size": {"height": 224, "width": 224},
}
TIMM = {
    "architecture": "resnet50",
    "num_classes": 6,
    "label_names": LABELS,
    "pretrained_cfg": {
        "crop_pct": 0.95,
        "input_size": [3, 224, 224],
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    },
}
CLIP = {"model_cfg": {"embed_dim": 8}, "preprocess_cfg": {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}}


def seen(preprocess: Any) -> np.ndarray:
    """What a network is given for two images."""
    matrix, bias = sf.Preprocess.of(preprocess).matrix_and_bias(3)
    return np.asarray(np.einsum("ij,njhw->nihw", matrix, images(2)) + bias[:, None, None])


def of_hugging_face(config: dict[str, Any]) -> np.ndarray:
    """What image processors of Hugging Face make of pixels from 0 to 255, step by step, in their words."""
    x = 255 * images(2).astype(np.float64)
    if config.get("do_rescale") in (None, True):
        x = x * (config.get("rescale_factor") or 1 / 255)
        if config.get("rescale_offset"):
            x = x - 1
    if config.get("do_flip_channel_order"):
        x = x[:, ::-1]
    if config.get("do_normalize") in (None, True):
        mean, std = (np.reshape(config[key], (-1, 1, 1)) for key in ("image_mean", "image_std"))
        x = (x - mean) / std
    return x


SWITCH = st.sampled_from([True, False, None])
NUMBERS = st.floats(0.125, 2)
CONFIGURATIONS = st.fixed_dictionaries(
    {
        "image_mean": st.one_of(NUMBERS, st.lists(NUMBERS, min_size=3, max_size=3)),
        "image_std": st.one_of(NUMBERS, st.lists(NUMBERS, min_size=3, max_size=3)),
    },
    optional={
        "do_rescale": SWITCH,
        "do_normalize": SWITCH,
        "do_flip_channel_order": SWITCH,
        "rescale_offset": SWITCH,
        "rescale_factor": st.sampled_from([None, 1 / 255, 1 / 127.5, 1.0]),
        "do_resize": SWITCH,
    },
)


@given(CONFIGURATIONS)
@settings(max_examples=60, deadline=None)
def test_the_steps_of_hugging_face_become_one_scale_and_shift(config: dict[str, Any]) -> None:
    np.testing.assert_allclose(seen(config), of_hugging_face(config), rtol=1e-6, atol=1e-4)


@pytest.mark.parametrize(
    "config",
    [
        VIT,
        {"image_processor": VIT, "processor_class": "CLIPProcessor"},
        TIMM,
        TIMM["pretrained_cfg"],
        {**{k: v for k, v in TIMM.items() if k != "pretrained_cfg"}, **TIMM["pretrained_cfg"]},  # type: ignore[dict-item]
    ],
    ids=["Hugging Face", "processor", "timm", "pretrained_cfg", "old timm"],
)
def test_files_and_mappings_of_other_libraries_are_read(tmp_path: Path, config: dict[str, Any]) -> None:
    path = tmp_path / "preprocessing.json"
    path.write_bytes(json.dumps(config).encode("utf-8-sig"))
    for source in (config, path, str(path), json.dumps(config)):
        np.testing.assert_allclose(seen(source), seen("torch"), rtol=1e-9)


def test_the_configuration_of_open_clip_is_read() -> None:
    np.testing.assert_allclose(seen(CLIP), seen({"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.3, 0.4]}))


def test_what_cannot_be_expressed_is_a_note(tmp_path: Path) -> None:
    path = tmp_path / "preprocessor_config.json"
    crop = {"do_center_crop": True, "crop_size": 224, "size": {"shortest_edge": 256}}
    path.write_text(json.dumps({**VIT, **crop}))
    (note,) = [n for n in sf.load(small_model(), preprocess=path).notes() if "not taken" in n]
    assert "its steps resize (shortest edge 256), center crop (224) are not taken" in note
    (note,) = [n for n in sf.load(small_model(), preprocess=TIMM).notes() if "not taken" in n]
    assert "crop to 0.95 of the size" in note
    assert not [n for n in sf.load(small_model(), preprocess=CLIP).notes() if "not taken" in n]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"do_rescale": True, "size": 224}, "has no 'image_mean'"),
        ({"image_mean": [0.5], "image_std": None}, "has no 'image_std'"),
        ({"image_mean": "half", "image_std": 1}, "image_mean is 'half'"),
        ({"image_mean": 0, "image_std": 1, "rescale_factor": "x"}, "rescale_factor is 'x'"),
        ({"pretrained_cfg": {"std": [1], "input_size": [3, 8, 8]}}, "pretrained_cfg: has no 'mean'"),
        ({"id2label": {}}, "unknown preprocess key 'id2label'"),
    ],
)
def test_configurations_that_are_wrong(config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        sf.load(small_model(), preprocess=config)


def test_a_text_longer_than_a_path_is_no_convention() -> None:
    with pytest.raises(InputError, match="preprocess"):
        sf.load(small_model(), preprocess="0.5, " * 1000)


def test_a_folder_is_searched_and_one_beside_a_file_is_spoken_of(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="preprocess folder"):
        sf.load(small_model(), preprocess=tmp_path)
    onnx.save(small_model(), tmp_path / "net.onnx")
    (tmp_path / "config.json").write_text(json.dumps(TIMM))
    net = sf.load(tmp_path / "net.onnx")
    assert (net.labels, net.preprocess) == (None, sf.Preprocess())
    beside = [note for note in net.notes() if "config.json" in note]
    assert any("preprocess=" in note for note in beside)
    assert any("labels=" in note for note in beside)
    net = sf.load(tmp_path / "net.onnx", preprocess=tmp_path, labels=tmp_path)
    assert (net.labels, net.preprocess) == (LABELS, sf.Preprocess.of("torch"))


def test_a_folder_called_like_a_convention_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "torch").mkdir()
    assert sf.Preprocess.of("torch") == sf.Preprocess.named("torch")


def test_the_command_takes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnx.save(small_model(), tmp_path / "net.onnx")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": dict(enumerate(LABELS))}))
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(VIT))
    given = ["--labels", tmp_path / "config.json", "--preprocess", tmp_path / "preprocessor_config.json"]
    assert run("inspect", tmp_path / "net.onnx", *given, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["labels"] == LABELS
    assert found["preprocess"]["mean"] == VIT["image_mean"]
    assert any("not taken" in note for note in found["notes"])
