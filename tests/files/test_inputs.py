"""What is read: regular files alone, none of which is opened otherwise, and no more than they hold."""

from __future__ import annotations

import io
import os
import socket
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

import sobolevflow as sf
from sobolevflow.errors import ImageError, InputFileError, ModelError, SobolevflowError
from sobolevflow.files import arrays_in, check_regular, opened
from sobolevflow.network.labels import read_labels
from sobolevflow.network.preprocess import Preprocess
from sobolevflow.objectives import read_vector
from sobolevflow.onnxgrad import read_model
from sobolevflow.pictures import read_image, read_planes
from tests.support.paths import ROOT
from tests.support.small_networks import small_model

READERS: dict[str, Callable[[Any], object]] = {
    "model": sf.load,
    "read_model": read_model,
    "image": read_image,
    "planes": read_planes,
    "labels": read_labels,
    "preprocess": Preprocess.of,
    "vector": read_vector,
}
ERRORS = (ImageError, ModelError, InputFileError)


# --- what is no file ------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("ending", ["", ".npy", ".npz", ".tif", ".onnx"])
def test_pipes_and_devices_are_refused_before_they_are_opened(
    tmp_path: Path, reader: str, ending: str
) -> None:
    """An opened pipe would wait for its writer for ever."""
    os.mkfifo(pipe := tmp_path / f"pipe{ending}")
    (zero := tmp_path / f"zero{ending}").symlink_to("/dev/zero")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(tmp_path / f"s{ending}"))
    for path in (pipe, zero, tmp_path / f"s{ending}"):
        with pytest.raises(ERRORS, match="regular file"):
            READERS[reader](str(path))
    listening.close()


def test_external_data_in_a_pipe_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    for size in (0, 10):
        onnx.save(small_model(), path, save_as_external_data=True, location="w.bin", size_threshold=size)
        (tmp_path / "w.bin").unlink()
        os.mkfifo(tmp_path / "w.bin")
        for read in (sf.load, read_model):
            with pytest.raises(ModelError, match=r"external data cannot be read; expected beside it: w\.bin"):
                read(path)
        (tmp_path / "w.bin").unlink()


def test_what_is_exchanged_for_a_pipe_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(path := tmp_path / "a.txt")
    with pytest.raises(OSError, match="is a pipe") as caught:
        check_regular(path)
    assert caught.value.strerror == "it is a pipe, and no regular file"
    monkeypatch.setattr("sobolevflow.files.inputs.check_regular", lambda path: None)
    with pytest.raises(OSError, match="is a pipe"), opened(path):
        pass


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", ["new\nline", "\udcff", "d/" * 2100, "x" * 300, "nowhere"])
def test_names_of_any_kind_are_absent_in_one_line(tmp_path: Path, reader: str, name: str) -> None:
    with pytest.raises(SobolevflowError):
        READERS[reader](f"{tmp_path}/{name}.npy")


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="there is no /proc on this system")
def test_files_without_a_size_are_empty(tmp_path: Path) -> None:
    (tmp_path / "endless.onnx").symlink_to("/proc/self/pagemap")
    with pytest.raises(ModelError, match="the file is empty"):
        sf.load(tmp_path / "endless.onnx")


# --- sizes ----------------------------------------------------------------------------------------


def sparse(path: Path, size: int, head: bytes = b"") -> Path:
    with path.open("wb") as file:
        file.write(head)
        file.truncate(size)
    return path


def test_files_of_a_terabyte_are_not_read(tmp_path: Path) -> None:
    for name, reader, head, said in (
        ("a.onnx", "model", b"", "and an ONNX model in one message at most"),
        ("a.onnx", "read_model", b"\x08\x07", "and an ONNX model in one message at most"),
        ("a.txt", "labels", b"a\n", "is larger than 64 MiB"),
        ("a.json", "preprocess", b"{", "is larger than 64 MiB"),
        ("a.webp", "image", b"RIFF\0\0\0\0WEBPVP8 ", "has more than 2 GiB"),
        ("a.npy", "vector", b"", "no array in NumPy's format"),
    ):
        with pytest.raises(ERRORS, match=said):
            READERS[reader](str(sparse(tmp_path / name, 2**40, head)))


def header(shape: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return buffer.getvalue()


@pytest.mark.parametrize("shape", [(10**11,), (10**6, 10**5), (2**62, 2**62), (-1, -5), (300, 300)])
def test_arrays_hold_what_they_promise(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = tmp_path / "a.npy"
    path.write_bytes(header(shape) + bytes(100))
    with pytest.raises(ImageError, match=r"its header promises -?\d+ bytes, but 100 follow"):
        read_image(path)
    with pytest.raises(InputFileError, match="but 100 follow"):
        read_vector(str(path))
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "u.npy")
    with pytest.raises(ImageError, match="but 100 follow"):
        read_image(tmp_path / "a.npz")


def test_archives_are_not_unpacked_without_end(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("u.npy", header((2**30,)))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    at = data.index(b"PK\x01\x02")  # the directory, which says how large each is
    data[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match="has 4294967294 bytes when unpacked"):
        arrays_in(tmp_path / "a.npz")


def test_arrays_come_as_they_are(tmp_path: Path, rng: np.random.Generator) -> None:
    one, two = rng.random((3, 4, 5)), np.asfortranarray(rng.integers(0, 9, (2, 7)).astype(">i2"))
    np.save(tmp_path / "a.npy", two)
    found = arrays_in(tmp_path / "a.npy")
    assert isinstance(found, np.ndarray)
    np.testing.assert_array_equal(found, two)
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", one=one, two=two)
        archive = arrays_in(tmp_path / "a.npz")
        assert isinstance(archive, dict)
        assert archive.keys() == {"one", "two"}
        np.testing.assert_array_equal(archive["one"], one)
    np.save(tmp_path / "a.npy", np.array([{}]), allow_pickle=True)
    with pytest.raises(ValueError, match="Object arrays cannot be loaded"):
        arrays_in(tmp_path / "a.npy")


# --- pictures that are larger than they look ------------------------------------------------------


def png(width: int, height: int, rows: int = 0) -> bytes:
    """A grey picture that states a size, and has so many rows."""
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)),
        (b"IDAT", zlib.compress(bytes(width + 1) * rows)),
        (b"IEND", b""),
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def with_size(data: bytes, ending: str) -> bytes:
    """A file of 32 x 32 pixels that states 60,000 x 60,000."""
    at = {".dds": data.index(b"DDS ") + 12 if ending == ".dds" else 0}.get(ending, data.find(b"ispe") + 8)
    order = "<II" if ending == ".dds" else ">II"
    assert struct.unpack_from(order, data, at) == (32, 32)
    return data[:at] + struct.pack(order, 60000, 60000) + data[at + 8 :]


@pytest.mark.parametrize("ending", [".png", ".avif", ".dds"])
def test_pictures_are_measured_before_they_are_decoded(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    if ending == ".png":
        path.write_bytes(png(60000, 60000))
    else:
        Image.new("RGB", (32, 32), "red").save(path)
        assert read_image(path).shape == (3, 32, 32)
        path.write_bytes(with_size(path.read_bytes(), ending))
    with pytest.raises(ImageError, match=r"is too large to be read safely|is not a picture|cannot be read"):
        read_image(path)


def test_what_does_not_fit_into_memory_is_an_error_of_the_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(13000, 13000, 13000))
    script = (
        "import resource, sobolevflow as sf\n"
        "import sobolevflow.pictures as p\n"
        "p.read_image\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2 * 10**9, 2 * 10**9))\n"
        "try:\n    p.read_image('a.png')\n"
        "except sf.errors.ImageError as error:\n    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert "does not fit into the memory that is free" in done.stdout, done.stderr
    assert "Traceback" not in done.stderr


def test_postscript_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.eps").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    )
    with pytest.raises(ImageError, match="is PostScript, a program"):
        read_image(tmp_path / "a.eps")
