from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import sobolevflow as sf
from sobolevflow.descent.descent import descend
from sobolevflow.descent.settings import Settings
from sobolevflow.errors import InputError, OutputError
from sobolevflow.pictures import contact_sheet, read_image, to_uint8
from sobolevflow.results.curve import curve
from sobolevflow.results.result import Result
from tests.support.analytic import Linear, Net, Objective


def make(batch: int = 1, channels: int = 3, label: str = "class 'king crab'", **settings: object) -> Result:
    shape = (batch, channels, 16, 20)
    engine = Linear(np.random.default_rng(0).standard_normal(shape, dtype=np.float32))
    options = Settings(
        scheme=sf.elastic(sf.filters.Sobolev(size=7)),
        batch=batch,
        **{"steps": 6, "snapshots": [0, 3], **settings},  # type: ignore[arg-type]
    )
    return descend(engine, Net(shape[1:]), Objective(label=label), options, progress=False)


def test_image_is_the_rounded_image() -> None:
    result = make(batch=2)
    assert result.image.shape == (2, 16, 20, 3)
    np.testing.assert_array_equal(result.image[1, 3, 4], np.rint(255 * result.u[1, :, 3, 4]).astype(np.uint8))


def test_one_image_is_saved_as_it_is_with_its_manifest(tmp_path: Path) -> None:
    result = make()
    assert result.save(tmp_path / "crab.png") == tmp_path / "crab.png"
    np.testing.assert_array_equal(
        to_uint8(read_image(tmp_path / "crab.png")).transpose(1, 2, 0), result.image[0]
    )
    written = {"picture": "crab.png", "bits": 8}
    saved = json.loads((tmp_path / "crab.manifest.json").read_text())
    assert saved == {**result.manifest, "written": written}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["crab.manifest.json", "crab.png"]


def test_manifest_is_left_out_on_request(tmp_path: Path) -> None:
    make().save(tmp_path / "crab.png", manifest=False)
    assert [p.name for p in tmp_path.iterdir()] == ["crab.png"]


def test_several_images_are_saved_as_one_grid(tmp_path: Path) -> None:
    result = make(batch=4)
    result.save(tmp_path / "crabs.png")
    found = to_uint8(read_image(tmp_path / "crabs.png")).transpose(1, 2, 0)
    assert found.shape == (2 * 16 + 4, 2 * 20 + 4, 3)
    np.testing.assert_array_equal(found[-16:, -20:], result.image[3])


def test_one_channel_is_saved_as_grey(tmp_path: Path) -> None:
    result = make(channels=1)
    result.save(tmp_path / "grey.png")
    with Image.open(tmp_path / "grey.png") as picture:
        assert picture.mode == "L"
        np.testing.assert_array_equal(picture, result.image[0, :, :, 0])


def test_seven_channels_are_saved_side_by_side(tmp_path: Path) -> None:
    result = make(channels=7)
    result.save(tmp_path / "bands.png")
    with Image.open(tmp_path / "bands.png") as picture:
        assert picture.size == (3 * 20 + 8, 3 * 16 + 8)
        np.testing.assert_array_equal(np.asarray(picture)[:16, 24:44], result.image[0, :, :, 1])


@pytest.mark.parametrize("name", ["absent/a.png", "a.html", "a"])
def test_unwritable_pictures_leave_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError):
        make().save(tmp_path / name)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("name", ["absent/a.html", "a.png"])
def test_unwritable_reports_leave_no_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError):
        make().report(tmp_path / name)
    assert list(tmp_path.rglob("*")) == []


class Page(HTMLParser):
    """Collects what a page refers to, and checks that its tags are balanced."""

    VOID = frozenset({"meta", "img", "br"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.references: list[str] = []
        self.tags: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.references += [value or "" for name, value in attrs if name in ("src", "href", "data", "action")]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag


def test_report_holds_the_pictures_and_refers_to_nothing_else(tmp_path: Path) -> None:
    result = make(batch=2)
    text = result.report(tmp_path / "crab.html").read_text(encoding="utf-8")
    page = Page(text)
    assert len(page.references) == 4  # two images, two snapshots
    decoded = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(r.removeprefix("data:image/png;base64,")))))
        for r in page.references
    ]
    np.testing.assert_array_equal(decoded[0], result.image[0])
    np.testing.assert_array_equal(decoded[1], result.image[1])
    prose = re.sub(r"data:image/png;base64,[\w+/=]+", "", text)
    assert not re.search(r"https?:|//|@import|url\(|<script|<link", prose)
    assert page.tags.count("svg") == 3
    assert page.tags.count("polyline") == 6
    assert [p.name for p in tmp_path.iterdir()] == ["crab.html"]


def test_report_states_parameters_and_outcome(tmp_path: Path) -> None:
    result = make(seed=17)
    text = result.report(tmp_path / "crab.html").read_text(encoding="utf-8")
    assert "<tr><th>seed</th><td>17</td></tr>" in text
    assert "<tr><th>scheme.K_e.filter</th><td>Sobolev</td></tr>" in text
    weight = result.manifest["outcome"]["effective_weight"]["weight"]
    assert f"<b>{weight:.4g}</b>" in text


def test_report_escapes_what_users_name(tmp_path: Path) -> None:
    result = make(label='<script>alert("x")</script>')
    text = result.report(tmp_path / "crab.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    view = result._repr_html_()
    assert "<script" not in view
    assert 'alert("x")' not in view  # which would end the text of the picture
    noted = replace(result, notes=("<script>",)).report(tmp_path / "noted.html")
    assert "<script" not in noted.read_text(encoding="utf-8")


def test_notebook_view_is_a_picture() -> None:
    page = Page(make(batch=3)._repr_html_())
    assert page.tags.count("img") == 1
    assert page.references[0].startswith("data:image/png;base64,")


def test_curve_maps_numbers_to_the_plane() -> None:
    drawn = curve(np.array([[1.0], [3.0], [2.0]]), "value", marks=[1])
    (points,) = re.findall(r'points="([^"]+)"', drawn)
    (x0, y0), (x1, y1), (x2, y2) = (tuple(map(float, p.split(","))) for p in points.split())
    assert x1 - x0 == pytest.approx(x2 - x1)
    assert y0 > y2 > y1  # larger values are higher up
    assert y2 == pytest.approx((y0 + y1) / 2, abs=0.2)
    assert f"M{x1:.1f}," in drawn
    Page(drawn)


def test_curve_of_constants_and_of_long_runs() -> None:
    Page(curve(np.ones((1, 1)), "one"))
    (points,) = re.findall(r'points="([^"]+)"', curve(np.arange(5000.0)[:, None], "long"))
    assert len(points.split()) == 1000


def test_contact_sheet_places_pictures_under_their_labels() -> None:
    red, blue = np.zeros((2, 16, 16, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    sheet = contact_sheet(
        [[red, None], [blue, red]], ["Sobolev", "Gaussian"], ["fluid", "elastic"], "Schemes", cell=64
    )
    reds = np.argwhere((sheet == [255, 0, 0]).all(-1))
    blues = np.argwhere((sheet == [0, 0, 255]).all(-1))
    assert len(reds) == 2 * 64 * 64
    assert len(blues) == 64 * 64
    assert reds[:, 1].min() == blues[:, 1].min()  # the first column
    assert blues[:, 0].max() == reds[:, 0].max()  # the second row
    left, top = reds[:, 1].min(), reds[:, 0].min()
    assert (sheet[:top] < 128).any()  # the title
    assert (sheet[top - 8 : top, left:] < 128).any()  # columns, right above
    assert (sheet[top:, :left] < 128).any()  # rows, beside


def test_contact_sheet_checks_its_labels() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    with pytest.raises(InputError, match="1 rows but 2 row labels"):
        contact_sheet([[picture]], ["a", "b"])
    with pytest.raises(InputError, match="at least one picture"):
        contact_sheet([])


@pytest.mark.parametrize(
    "label", ["two\nlines", "\x1b[31m\x00", "\udcff", "wide " * 2000, "y" * 10000], ids=ascii
)
def test_contact_sheet_takes_any_label_and_stays_small(label: str) -> None:
    picture = np.zeros((8, 8, 1), np.uint8)
    sheet = contact_sheet(
        [[picture] * 3], [label], [label] * 3, label, caption=label, notes=[[label] * 3], cell=96
    )
    assert sheet.shape[1] < 8 * 96


def test_contact_sheet_keeps_long_labels_of_columns_apart() -> None:
    picture = np.zeros((8, 8, 1), np.uint8)
    long, short = "y" * 300, "a"
    sheet = contact_sheet([[picture, picture]], column_labels=[long, short], cell=96)
    alone = contact_sheet([[picture, picture]], column_labels=["", short], cell=96)
    second = slice(8 + 96 + 4, None)
    np.testing.assert_array_equal(sheet[:, second], alone[:, second])
    assert (sheet != alone).any()
