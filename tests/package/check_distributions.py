"""Check the built sdist and wheel: what they hold, and that each works in an empty environment.

A script, run by ``make package`` as ``python tests/package/check_distributions.py dist``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def tracked_sources() -> set[str]:
    """The files of the package that are under version control: what a release may ship."""
    listing = subprocess.run(
        ["git", "ls-files", "sobolevflow"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return set(listing.stdout.splitlines())


def archived_files(archive: Path) -> set[str]:
    """The files in an archive, without the directory that an sdist puts around them."""
    if archive.suffix == ".whl":
        return {name for name in zipfile.ZipFile(archive).namelist() if not name.endswith("/")}
    with tarfile.open(archive) as tar:
        return {member.name.partition("/")[2] for member in tar if member.isfile()}


def check_contents(archive: Path) -> None:
    """The package in `archive` is the tracked one, file for file, and its licence comes along."""
    held = archived_files(archive)
    package = {name for name in held if name.startswith("sobolevflow/")}
    expected = tracked_sources()
    assert package == expected, (
        f"{archive.name} lacks {sorted(expected - package)}, and holds what git does not track: "
        f"{sorted(package - expected)}"
    )
    assert any(Path(name).name == "LICENSE" for name in held), f"{archive.name} has no LICENSE"
    if archive.suffix == ".whl":
        rooms = {name.partition("/")[0] for name in held - package}
        assert all(room.endswith(".dist-info") for room in rooms), f"{archive.name} holds {sorted(rooms)}"


def check_installation(archive: Path) -> None:
    """`archive` installs into an empty environment and does there what needs no runtime."""
    with tempfile.TemporaryDirectory() as directory:
        venv.create(directory, with_pip=True)
        python = Path(directory) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "--quiet", archive], cwd=directory, check=True)
        # -I keeps the working tree off the path: only what was installed can be imported.
        script = Path(__file__).resolve().with_name("check_installed.py")
        subprocess.run([python, "-I", script, archive], cwd=directory, check=True)
        check_types(python, Path(directory))


def check_types(python: Path, directory: Path) -> None:
    """A program that uses what was installed has types, and its mistakes are found."""
    program = directory / "typed_use.py"
    shutil.copy(Path(__file__).with_name("typed_use.py"), program)
    checker = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--python-executable={python}"]
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "MYPYPATH")}
    subprocess.run([*checker, program], cwd=directory, check=True, env=environment)


def main(directory: Path) -> None:
    """Check the one wheel and the one sdist in `directory`."""
    (wheel,) = directory.glob("*.whl")
    (sdist,) = directory.glob("*.tar.gz")
    for archive in (wheel, sdist):
        check_contents(archive.resolve())
        check_installation(archive.resolve())
        print(f"{archive.name}: complete, installs, imports, and names the missing runtime")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
