"""Maps in the coordinates of the photograph."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from PIL import Image

from sobolevflow.errors import InputError
from sobolevflow.pictures import fitted, fitting, heatmap, read_image, to_original

LENGTH = st.integers(24, 160)


@settings(max_examples=60, deadline=None)
@given(st.tuples(LENGTH, LENGTH), st.tuples(LENGTH, LENGTH), st.data())
def test_a_bright_square_comes_back_to_where_it_was(
    original: tuple[int, int], size: tuple[int, int], data: st.DataObject
) -> None:
    photo = np.zeros((1, *original), np.float32)
    # in the middle of both axes and so within what is cut out, but anywhere there
    scale = max(to / of for to, of in zip(size, original, strict=True))
    side = max(3, round(4 / scale))
    kept = [min(of, to / scale) for to, of in zip(size, original, strict=True)]
    if min(kept) < side + 4:
        return
    at = [
        data.draw(st.integers(int((of - k) / 2 + 2), int((of + k) / 2 - side - 2)))
        if k > side + 5
        else (of - side) // 2
        for of, k in zip(original, kept, strict=True)
    ]
    photo[0, at[0] : at[0] + side, at[1] : at[1] + side] = 1
    back = to_original(fitted(photo, size)[0], original)
    assert back.shape == original
    assert back.dtype == np.float32
    weight = np.where(np.nan_to_num(back) > 0.5 * np.nanmax(back), np.nan_to_num(back), 0)
    centre = [(weight.sum(axis=1 - k) * np.arange(original[k])).sum() / weight.sum() for k in (0, 1)]
    for found, first in zip(centre, at, strict=True):
        assert abs(found - (first + (side - 1) / 2)) <= 1 + 0.5 / scale


@pytest.mark.parametrize("original", [(30, 90), (90, 30), (7, 50)])
def test_what_was_cut_off_has_no_value(original: tuple[int, int]) -> None:
    back = to_original(np.ones((2, 16, 16), np.float32), original)
    seen = ~np.isnan(back[0])
    short = min(original)
    assert seen.sum() == pytest.approx(short * short, abs=1.1 * short)
    rows, columns = np.nonzero(seen)
    for places, length in ((rows, original[0]), (columns, original[1])):
        assert abs((places.min() + places.max()) / 2 - (length - 1) / 2) <= 1
    np.testing.assert_array_equal(back[0][seen], 1)
    np.testing.assert_array_equal(to_original(np.ones((16, 16)), original, fill=0) == 0, ~seen)


def test_a_map_of_the_same_size_stays_as_it_is() -> None:
    values = np.random.default_rng(0).random((3, 20, 30)).astype(np.float32)
    np.testing.assert_array_equal(to_original(values, (20, 30)), values)


def test_a_ramp_stays_a_ramp() -> None:
    ramp = np.broadcast_to(np.arange(20, dtype=np.float32), (10, 20))
    back = to_original(ramp, (40, 80))
    np.testing.assert_allclose(
        back[:, 4:-4], np.broadcast_to((np.arange(80) + 0.5) / 4 - 0.5, (40, 80))[:, 4:-4]
    )


def test_a_picture_is_fitted_as_it_is_read(tmp_path: Path) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (37, 90, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    for size in ((20, 20), (64, 48), (37, 90)):
        whole = read_image(tmp_path / "photo.png")
        np.testing.assert_array_equal(fitted(whole, size), read_image(tmp_path / "photo.png", size=size))
    m = to_original(fitted(whole, (20, 20))[0], whole.shape[-2:])
    assert heatmap(m, whole).shape == (37, 90, 3)


@pytest.mark.parametrize(
    ("values", "size"),
    [(np.ones(4), (3, 3)), (np.ones((4, 4)), (3,)), (np.ones((4, 4)), (0, 3)), (np.ones((0, 4)), (3, 3))],
)
def test_what_is_no_map_or_no_size(values: np.ndarray, size: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        to_original(values, size)


@pytest.mark.parametrize("shape", [(1, 3000), (3000, 2), (7, 2900)])
def test_what_is_cut_off_is_not_made(
    shape: tuple[int, int], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture, values = rng.random((2, *shape), np.float32), rng.random((40, 30), np.float32)
    found, back = fitting.fitted(picture, (40, 30)), fitting.to_original(values, shape)
    monkeypatch.setattr(fitting, "_ENLARGED", np.inf)
    np.testing.assert_allclose(found, fitting.fitted(picture, (40, 30)), atol=1e-5)
    np.testing.assert_allclose(back, fitting.to_original(values, shape), atol=1e-5)


def test_a_strip_of_pixels_takes_no_gigabytes(rng: np.random.Generator) -> None:
    tracemalloc.start()
    u = fitting.fitted(rng.random((3, 1, 60000), np.float32), (224, 224))
    back = fitting.to_original(rng.random((224, 224)), (1, 60000))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert u.shape == (3, 224, 224)
    assert back.shape == (1, 60000)
    assert np.isfinite(back).sum() == 2
    assert most < 50e6
