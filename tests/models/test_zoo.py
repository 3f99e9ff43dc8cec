"""The downloader of the model zoo against a server on this machine, whole, broken and lying."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sobolevflow.errors import DownloadError, SobolevflowError, UnknownNameError
from sobolevflow.models import zoo

CONTENT = np.random.default_rng(0).bytes(3_000_000)


class Server(ThreadingHTTPServer):
    """Serves CONTENT under the one name it knows; `answer` says how."""

    answer = "whole"
    asked: list[tuple[str, str | None]]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append((self.path, asked))
        if self.path != "/small-1/resolve/main/small-1.onnx":
            self.send_error(404, "Not Found")
            return
        start = 0
        if asked and self.server.answer != "no ranges":
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
        body = CONTENT[start:]
        if self.server.answer == "other file":
            body = bytes(len(body))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body) + (50 if self.server.answer == "too long" else 0)))
        self.end_headers()
        if self.server.answer == "breaks":
            self.wfile.write(body[:1_000_000])
            self.wfile.flush()
            self.connection.close()
        else:
            self.wfile.write(body + bytes(50 if self.server.answer == "too long" else 0))

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    digest = hashlib.sha256(CONTENT).hexdigest()
    monkeypatch.setattr(zoo, "ZOO", {"small-1": zoo.Entry(len(CONTENT), digest, "torch")})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = Server(("127.0.0.1", 0), Handler)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def home(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_port}/"


def test_a_file_is_fetched_once(server: Server, tmp_path: Path) -> None:
    path = zoo.download("small-1", tmp_path / "models", home=home(server))
    assert path == tmp_path / "models/small-1.onnx"
    assert path.read_bytes() == CONTENT
    assert zoo.download("small-1", tmp_path / "models", home=home(server)) == path
    assert server.asked == [("/small-1/resolve/main/small-1.onnx", None)]
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_file_is_fetched_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "small-1.onnx").write_bytes(bytes(len(CONTENT)))
    assert zoo.download("small-1", tmp_path, home=home(server)).read_bytes() == CONTENT


@pytest.mark.parametrize("then", ["whole", "no ranges"])
def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path, then: str) -> None:
    server.answer = "breaks"
    with pytest.raises(DownloadError):
        zoo.download("small-1", tmp_path, home=home(server))
    part = tmp_path / "small-1.onnx.part"
    there = part.stat().st_size
    assert 0 < there < len(CONTENT)
    assert not (tmp_path / "small-1.onnx").exists()
    server.answer = then
    assert zoo.download("small-1", tmp_path, home=home(server)).read_bytes() == CONTENT
    assert server.asked[-1][1] == f"bytes={there}-"
    assert not part.exists()


@pytest.mark.parametrize("answer", ["other file", "too long"])
def test_another_file_is_refused(server: Server, tmp_path: Path, answer: str) -> None:
    server.answer = answer
    with pytest.raises(DownloadError, match="SHA-256 differs"):
        zoo.download("small-1", tmp_path, home=home(server))
    assert not list(tmp_path.iterdir())


def test_a_wrong_part_does_not_stay_for_ever(server: Server, tmp_path: Path) -> None:
    (tmp_path / "small-1.onnx.part").write_bytes(bytes(1000))
    with pytest.raises(DownloadError, match="SHA-256 differs"):
        zoo.download("small-1", tmp_path, home=home(server))
    assert list(tmp_path.iterdir()) == []
    assert zoo.download("small-1", tmp_path, home=home(server)).read_bytes() == CONTENT


def test_refusals_name_the_address(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"/elsewhere/small-1/resolve/main/small-1.onnx answers 404"):
        zoo.download("small-1", tmp_path, home=f"{home(server)}elsewhere")
    port = server.server_port
    server.shutdown()
    server.server_close()
    with pytest.raises(DownloadError, match="cannot be fetched"):
        zoo.download("small-1", tmp_path, home=f"http://127.0.0.1:{port}")
    assert issubclass(DownloadError, SobolevflowError)


def test_an_unknown_network_is_named_with_a_guess(tmp_path: Path) -> None:
    with pytest.raises(UnknownNameError, match="'vgg19-7'"):
        zoo.download("vgg19", tmp_path)


def test_the_command(server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert zoo.main(["--list"]) == 0
    assert "small-1" in capsys.readouterr().out
    assert zoo.main(["small-1", "-o", str(tmp_path), "--home", home(server)]) == 0
    assert "--preprocess torch" in capsys.readouterr().out
    assert (tmp_path / "small-1.onnx").read_bytes() == CONTENT
    assert zoo.main(["other"]) == 2
    assert "no 'other'" in capsys.readouterr().err
    server.answer = "other file"
    assert zoo.main(["small-1", "-o", str(tmp_path / "x"), "--home", home(server)]) == 1


def test_every_entry_could_be_a_file() -> None:
    assert {"vgg19-7", "resnet50-v1-12"} <= zoo.ZOO.keys()
    for entry in zoo.ZOO.values():
        assert entry.size > 1e6
        assert len(bytes.fromhex(entry.sha256)) == 32
