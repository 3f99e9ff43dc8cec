"""The index of experiments: that what it tells the command line is what the experiments take."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from sobolevflow.errors import InputError, UnknownNameError
from sobolevflow.experiments import EXPERIMENTS
from sobolevflow.experiments.published import FORMS, published


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_options_are_keywords_of_the_experiment(name: str) -> None:
    taken = inspect.signature(importlib.import_module(f"sobolevflow.experiments.{name}").run).parameters
    entry = EXPERIMENTS[name]
    assert entry.name == name
    subject = "photographs" if "photos" in entry.needs else "classes"
    assert list(taken)[:3] == ["subjects", subject, "work"]
    given = {"tune": 3, "count": 2, "recipe": "figure2/vgg19/plain", "target": [1], "photos": "absent"}
    if subject == "photographs":
        with pytest.raises(InputError, match="no folder"):
            entry.asked(**given)
        return
    of, more = entry.asked(**given)
    assert of == [1]
    assert more.keys() <= taken.keys()
    assert ("settings" in more) == ("recipe" in entry.takes)


def test_photographs_are_found_and_counted(tmp_path: Path) -> None:
    from PIL import Image

    for k in range(2):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{k}_x.png")
    of, more = EXPERIMENTS["table1"].asked(photos=str(tmp_path), tune=0, count=2)
    assert len(of) == 2
    assert more == {"tuned_on": 0, "count": 2}


def test_figure2_takes_both_forms_of_a_recipe() -> None:
    _, more = EXPERIMENTS["figure2"].asked(target=["x"], recipe="figure2/resnet50/plain/printed")
    assert more["settings"] == {form: published(f"figure2/resnet50/{form}/printed") for form in FORMS}
    with pytest.raises(UnknownNameError, match="no recipe"):
        EXPERIMENTS["figure2"].asked(target=["x"], recipe="figure9")


def test_the_index_imports_no_experiment() -> None:
    code = (
        "import sys; from sobolevflow.experiments import EXPERIMENTS; assert len(EXPERIMENTS) == 6; "
        "print([m for m in ('numpy', 'scipy', 'numba', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
