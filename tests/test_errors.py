"""Warnings name the caller's line, and the command line prints them as notes, each once."""

import json
import os
import shlex
import shutil
import subprocess
import time
import warnings
from importlib import metadata
from pathlib import Path

import pytest

import sobolevflow as sf
from sobolevflow import errors
from sobolevflow.cli import command, main
from sobolevflow.cli.options import COMMANDS
from sobolevflow.cli.printing import QUIET
from sobolevflow.errors import AssumptionWarning, ChangedWarning, as_option, how_to_install, warn
from tests.support.at_once import at_once
from tests.support.hostile_text import dangerous


def test_a_warning_stands_at_the_line_that_called_the_package() -> None:
    with pytest.warns(AssumptionWarning, match="as it is") as seen:
        warn("taken as it is")
    assert seen[0].filename == __file__


def test_a_warning_from_within_stands_at_the_call_from_outside() -> None:
    code = compile("from sobolevflow.errors import warn\ndef f(): warn('deep')", "inside.py", "exec")
    inside: dict[str, object] = {"__name__": "sobolevflow.inside", "__package__": "sobolevflow"}
    exec(code, inside)
    with pytest.warns(AssumptionWarning) as seen:
        inside["f"]()  # type: ignore[operator]
    assert seen[0].filename == __file__


@pytest.mark.parametrize("quiet", [False, True])
def test_the_command_line_prints_warnings_as_notes_once(
    quiet: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    @command("guess", "guess something", "sobolevflow guess", (QUIET,))
    def guess(given: object) -> int:
        for _ in range(2):
            warn("page 0 of 2 was read")
            warn("0..255 means 0..1 now", ChangedWarning)
        return 0

    try:
        assert main(["guess", *["--quiet"][: int(quiet)]]) == 0
    finally:
        COMMANDS.pop("guess", None)
    lines = ["sobolevflow: note: page 0 of 2 was read", "sobolevflow: note: 0..255 means 0..1 now"]
    assert capsys.readouterr().err.splitlines() == ([] if quiet else lines)


def test_other_warnings_of_a_command_are_notes_that_say_where(capsys: pytest.CaptureFixture[str]) -> None:
    @command("grumble", "give a warning", "sobolevflow grumble", ())
    def grumble(given: object) -> int:
        warnings.warn("of another\npackage \x1b[31m", UserWarning, stacklevel=1)
        return 0

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("always")
            main(["grumble"])
    finally:
        COMMANDS.pop("grumble", None)
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("sobolevflow: note: tests/test_errors.py:")
    assert line.endswith(r": UserWarning: of another package \x1b[31m")


def test_warnings_can_be_told_apart_from_those_of_others() -> None:
    assert issubclass(sf.errors.AssumptionWarning, UserWarning)
    assert issubclass(sf.errors.ChangedWarning, FutureWarning)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("conv:0", "--channel conv:0"),
        ("my conv;1:0", "--channel 'my conv;1:0'"),
        ("-conv:0", "--channel=-conv:0"),
        ("l'ayer:0", "--channel 'l'\"'\"'ayer:0'"),
    ],
)
def test_an_option_is_written_as_a_shell_takes_it(value: str, written: str) -> None:
    assert as_option("channel", value) == written
    assert shlex.split(written)[-1].removeprefix("--channel=") == value


@pytest.mark.parametrize(
    "value",
    [
        "new\nline:2",
        "tab\t:1",
        "l'ayer\n:0",
        "\x1b[31mred:0",
        "é\\n\n:1",
        "\x85:1",
        "\u202e\U000e0041:1",
        "\udcff:1",
    ],
    ids=repr,
)
def test_control_characters_are_written_as_bash_reads_them(value: str) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("there is no bash")
    written = as_option("channel", value)
    assert "\n" not in written
    assert not dangerous(written)
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    read = subprocess.run(
        [bash, "-c", f"printf '%s|' {written}"], capture_output=True, check=True, env=env
    ).stdout
    assert read.decode(errors="surrogateescape").split("|")[:2] == ["--channel", value]


def test_of_threads_that_have_the_same_to_say_once_one_says_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Slow(set[str]):
        def __contains__(self, message: object) -> bool:
            known = super().__contains__(message)
            time.sleep(0.01)
            return known

    monkeypatch.setattr(errors, "_SAID", Slow())
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        at_once([lambda: errors.warn_once("said once")] * 4)
    assert [str(each.message) for each in said] == ["said once"]


@pytest.mark.parametrize(
    ("recorded", "named"),
    [
        (None, "sobolevflow[cuda12]"),
        ("no JSON", "sobolevflow[cuda12]"),
        ('{"url": "https://example.org/a.whl"}', "sobolevflow[cuda12]"),
        ('{"url": "file:///no/such/folder"}', "sobolevflow[cuda12]"),
        ("here", "here[cuda12]"),
    ],
)
def test_what_was_installed_is_what_an_extra_is_asked_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, recorded: str | None, named: str
) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    text = json.dumps({"url": folder.as_uri()}) if recorded == "here" else recorded
    monkeypatch.setattr(metadata.Distribution, "read_text", lambda self, name: text, raising=False)
    monkeypatch.setattr(metadata.PathDistribution, "read_text", lambda self, name: text)
    assert how_to_install("cuda12") == f'pip install "{named.replace("here", str(folder))}"'
