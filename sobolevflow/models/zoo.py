"""Networks of the ONNX model zoo, downloaded once and checked.

    python -m sobolevflow.models.zoo --list
    python -m sobolevflow.models.zoo vgg19-7 -o models/

Sizes and SHA-256 are those of the zoo's own manifest. A file is moved into its place only when both agree; a
download that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from sobolevflow import checks
from sobolevflow.errors import DownloadError, UnknownNameError, did_you_mean

HOME = "https://huggingface.co/onnxmodelzoo"
"""Where the zoo lives; every model is a repository of its own there."""

_CHUNK = 1 << 20  # bytes
_TIMEOUT = 60  # seconds without a byte


@dataclass(frozen=True)
class Entry:
    """One network of the zoo.

    Parameters
    ----------
    size : int
        In bytes.
    sha256 : str
    preprocess : str
        What `sobolevflow.load` is to be told.
    """

    size: int
    sha256: str
    preprocess: str


ZOO: dict[str, Entry] = {
    "mobilenetv2-12": Entry(
        13_964_571, "c0c3f76d93fa3fd6580652a45618618a220fced18babf65774ed169de0432ad5", "torch"
    ),
    "resnet18-v1-7": Entry(
        46_820_737, "4e8f8653e7a2222b3904cc3fe8e304cd8b339ce1d05fd24688162f86fb6df52c", "torch"
    ),
    "resnet50-v1-12": Entry(
        102_576_593, "3f03fdef724b22947eed826f1eef1dc5c34151bb4c37d634f1db89dfa2dd1526", "torch"
    ),
    "resnet50-v2-7": Entry(
        102_442_452, "79102261eb6e5fd7af5d27f41316293e388c5cb691e5d25bfb035c4f64fefe31", "torch"
    ),
    "squeezenet1.1-7": Entry(
        4_956_208, "1eeff551a67ae8d565ca33b572fc4b66e3ef357b0eb2863bb9ff47a918cc4088", "torch"
    ),
    "vgg16-12": Entry(
        553_437_752, "722c42f53ca03a5480296bf8f9c85a151de3eed9ec982d7d2302ff6e2900c67b", "torch"
    ),
    "vgg19-7": Entry(
        574_677_321, "692f9f927f1df1b89033787a77a73eac59fd9b3344f9ecdf0b13221e41c2046f", "torch"
    ),
}
"""What can be downloaded, by the zoo's names: network and opset."""


def download(
    name: str, folder: str | os.PathLike[str] = ".", *, home: str = HOME, progress: bool = False
) -> Path:
    """Fetch a network, unless it is there already.

    Parameters
    ----------
    name : str
        One of `ZOO`.
    folder : path
        Made if absent. The file is called ``<name>.onnx``.
    home : str
        The address that ``/<name>/resolve/main/<name>.onnx`` is appended to; a mirror, for example.
    progress : bool
        Report on the standard error.

    Returns
    -------
    Path
        Of a file whose size and SHA-256 are those of `ZOO`.

    Raises
    ------
    UnknownNameError
        There is no such network in `ZOO`.
    DownloadError
        The address cannot be reached or refuses, the connection breaks, the disk is full, or what arrived is
        not the file. A part that may be continued stays as ``<name>.onnx.part``.
    """
    home, folder = checks.text(home, "home", "an address"), checks.path(folder, "folder")
    progress = checks.flag(progress, "progress")
    if checks.text(name, "a network of the zoo", "the name of one") not in ZOO:
        raise UnknownNameError(
            f"The zoo has no {name!r}.{did_you_mean(name, ZOO)} There are {', '.join(ZOO)}."
        )
    entry, path = ZOO[name], folder / f"{name}.onnx"
    if _is(path, entry):
        return path
    address = f"{home.rstrip('/')}/{name}/resolve/main/{name}.onnx"
    part = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(address, part, entry.size, progress)
        if not _is(part, entry):
            part.unlink()
            raise DownloadError(
                f"What {address} gave is not the file of the zoo's manifest: its SHA-256 differs, "
                f"so it was deleted. Try again, or another mirror."
            )
        os.replace(part, path)
    except urllib.error.HTTPError as error:
        raise DownloadError(f"{address} answers {error.code} ({error.reason}).") from None
    except (OSError, HTTPException) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise DownloadError(f"{address} cannot be fetched: {reason}.") from None
    return path


def _fetch(address: str, part: Path, size: int, progress: bool) -> None:
    """Download into `part`, behind what is there already."""
    done = part.stat().st_size if part.exists() else 0
    if done >= size:
        done = 0  # whole and yet not moved: the wrong file
    request = urllib.request.Request(address, headers={"Range": f"bytes={done}-"} if done else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
        continued = done and answer.status == 206
        with part.open("ab" if continued else "wb") as file:
            done = done if continued else 0
            while chunk := answer.read(_CHUNK):
                done += file.write(chunk)
                if done > size:
                    break  # not the file, whatever it is
                if progress:
                    print(f"\r{part.stem}: {done / size:4.0%}", end="", file=sys.stderr, flush=True)
    if progress:
        print(file=sys.stderr)
    if done < size:
        raise DownloadError(
            f"The connection to {address} broke off after {done} of {size} bytes; run it again to go on."
        )


def _is(path: Path, entry: Entry) -> bool:
    """Whether a file is the one described."""
    if not path.is_file() or path.stat().st_size != entry.size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == entry.sha256


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the downloader's command line; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m sobolevflow.models.zoo", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="networks to fetch")
    parser.add_argument("-o", "--output", default=".", metavar="FOLDER", help="where to (default: here)")
    parser.add_argument("--home", default=HOME, metavar="URL", help="another mirror (default: %(default)s)")
    parser.add_argument("--list", action="store_true", help="list the networks and their sizes")
    options = parser.parse_args(arguments)
    if options.list or not options.names:
        for name, entry in ZOO.items():
            print(f"{name:18} {entry.size / 1e6:6.1f} MB   --preprocess {entry.preprocess}")
        return 0
    try:
        for name in options.names:
            path = download(name, options.output, home=options.home, progress=sys.stderr.isatty())
            print(f"{path}   --preprocess {ZOO[name].preprocess}")
    except (DownloadError, UnknownNameError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2 if isinstance(error, UnknownNameError) else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
