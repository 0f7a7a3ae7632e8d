"""Texts of others on their way through single verbs; what a whole build shows of them is in tests/scenarios."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import pytest

from aibemu.cli import exec as exec_
from aibemu.cli import main, stray
from aibemu.cli.app import App
from aibemu.cli.render import show
from aibemu.clock import SystemClock, forever
from aibemu.communicators.lines import Lines
from aibemu.errors import HostNotReady, Span
from aibemu.images import Generation, ImageInfo, Provisioning
from aibemu.images.store import ImageStore
from aibemu.paths import Home
from aibemu.views.screen import PassedOn, Screen
from tests.runners import taken

HOSTILE = "::error::a\x1b]0;t\x07 \x9b31m##v\u200bso[task.setvariable variable=x]y\r##\x1b[0m[error]z"


@pytest.fixture(params=["CI", "TF_BUILD", "GITHUB_ACTIONS"])
def pipeline(request: pytest.FixtureRequest, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(request.param, "1")


@pytest.fixture
def named(home: Path, tmp_path: Path) -> ImageStore:
    """A store with an image whose own name for itself is hostile."""
    disk = tmp_path / "disk.raw"
    disk.write_bytes(b"x" * 65536)
    store = ImageStore(Home.at(home).images, SystemClock())
    info = ImageInfo(
        os_type="Linux", os_name=HOSTILE, generation=Generation.V1, provisioning=Provisioning.NOCLOUD, generalized=True,
        origin=HOSTILE,
    )  # fmt: skip
    store.set_alias("gold", store.add(disk, info, deadline=forever(), source_format="raw").digest)
    return store


def is_clean(text: str) -> bool:
    return not any(character in text for character in "\x1b\x9b\x07\r\u200b")


@pytest.mark.parametrize(
    "words",
    [
        ("images", "list"), ("images", "show", "gold"), ("images", "alias", "silver", "gold"),
        ("images", "describe", "gold", "--provisioning", "azure"), ("images", "remove", "gold"),
        ("status", HOSTILE), ("images", "show", HOSTILE), (HOSTILE,), ("run", HOSTILE), ("validate", f"{HOSTILE}.json"),
        ("explain", HOSTILE), ("eval", "[concat('##vso[a.b]', '\x9b31m')]"), ("images", "import", HOSTILE),
    ],
)  # fmt: skip
@pytest.mark.parametrize("form", ["human", "json"])
@pytest.mark.usefixtures("pipeline", "named")
def test_no_verb_passes_commands_on(aibemu: Any, words: tuple[str, ...], form: str) -> None:
    said = aibemu(*words, "-o", form)
    assert (said.out + said.err).strip()
    assert is_clean(said.out + said.err) and taken(said.out) == taken(said.err) == []
    if form == "json":
        json.loads(said.out)


@pytest.mark.usefixtures("named")
def test_names_of_images_do_not_command_a_terminal(aibemu: Any) -> None:
    for words in (("images", "list"), ("images", "show", "gold")):
        out = aibemu(*words).out
        assert is_clean(out) and "##vso[task.setvariable" in out
    assert json.loads(aibemu("images", "show", "gold", "-o", "json").out)["data"]["osName"] == HOSTILE


def test_a_cell_does_not_move_the_columns(home: Path) -> None:
    header, row, _ = App(home=Home.at(home)).table(("A", "B"), [("\x1b[31mx\x1b[0m\ny", "z"), ("long word", "z")])
    assert (header.index("B"), row) == (row.index("z"), "x y        z")


@pytest.mark.usefixtures("pipeline")
def test_errors_with_what_programs_and_servers_said(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    span = Span(file=f"{HOSTILE}.json", line=1, column=1)
    error = HostNotReady(
        f"503 {HOSTILE}", details=["qemu-img: it said", HOSTILE, f"two\n{HOSTILE}"], hint=HOSTILE, span=span,
        commands=[HOSTILE],
    )  # fmt: skip
    for app in (App(home=Home.at(home), error_color=True), App(home=Home.at(home), output="json")):
        show(app, error)
        app.say(HOSTILE)
        app.warn(HOSTILE)
    out, err = capsys.readouterr()
    assert taken(out) == taken(err) == []
    assert err.startswith("\x1b[31;1merror:\x1b[0m 503 ") and is_clean(
        err.replace("\x1b[31;1m", "").replace("\x1b[1m", "").replace("\x1b[0m", "")
    )
    assert json.loads(out)["error"]["message"] == f"503 {HOSTILE}"


@pytest.mark.usefixtures("pipeline")
def test_a_bug_in_a_thread(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        raise ValueError(HOSTILE)

    try:
        fail()
    except ValueError as error:
        stray._shower(App(home=Home.at(home)))(ValueError, error, error.__traceback__)
    err = capsys.readouterr().err
    assert "Traceback" in err and taken(err) == [] and is_clean(err)


def test_logs_without_raw_are_clean_in_a_pipe_too(aibemu: Any, make_run: Any) -> None:
    run, _ = make_run()
    path = run.log("customization.log")
    path.write_bytes(b"\x1b[2J##vso[a.b]\tx\xff\nlast")
    assert aibemu("logs", run.id).out == "##vso[a.b]\tx\ufffd\nlast\n"
    assert aibemu("logs", run.id, "--raw", "-o", "json").code == 2
    assert aibemu("logs", run.id, "--raw", "--findings").code == 2


def test_raw_logs_are_the_bytes(home: Path, make_run: Any, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    run, _ = make_run()
    data = b"\x1b[2J##vso[a.b]\tx\r\n\xff\nlast"
    run.log("customization.log").write_bytes(data)
    assert main.run(["logs", run.id, "--raw"]) == 0
    assert capfdbinary.readouterr().out == data
    assert main.run(["logs", run.id, "--raw", "--follow"]) == 0
    assert capfdbinary.readouterr().out == data + b"\n"
    assert main.run(["logs", run.id, "--raw", "--step", "c1"]) == 0
    assert capfdbinary.readouterr().out.startswith(b"first\x1b[2J\n")


# exec and shell


@pytest.fixture
def pipe() -> Iterator[tuple[TextIO, int]]:
    """A stream into a pipe, and where it comes out."""
    out, into = os.pipe()
    with os.fdopen(into, "w") as stream:
        yield stream, out
    os.close(out)


def taker(target: TextIO, *, pipeline: bool, raw: bool = False) -> tuple[Any, list[Lines | PassedOn]]:
    cutters: list[Lines | PassedOn] = []
    return exec_._taker(Screen(stream=target, pipeline=pipeline), target, cutters, raw=raw), cutters


@pytest.mark.parametrize(
    ("pipeline", "raw", "passed"),
    [(False, False, b"\x1b[1m##vso[a.b]\xff"), (True, True, b"\x1b[1m##vso[a.b]\xff"),
     (True, False, b"\x1b[1m# #vso[a.b]\xff\n")],
)  # fmt: skip
def test_what_exec_sends_into_a_pipe(pipe: tuple[TextIO, int], pipeline: bool, raw: bool, passed: bytes) -> None:
    feed, cutters = taker(pipe[0], pipeline=pipeline, raw=raw)
    for part in (b"\x1b[1m##v", b"so[a.b]\xff"):
        feed(part)
    for cutter in cutters:
        cutter.close()
    assert os.read(pipe[1], 100) == passed


def test_what_exec_writes_into_a_file_is_as_it_is(tmp_path: Path) -> None:
    with (tmp_path / "x.tar").open("w") as target:
        feed, cutters = taker(target, pipeline=True)
        feed(b"##vso[a.b]\xff")
    assert (cutters, (tmp_path / "x.tar").read_bytes()) == ([], b"##vso[a.b]\xff")


def test_what_exec_shows_at_a_terminal_is_clean() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    target = Terminal()
    feed, (cutter,) = taker(target, pipeline=True)
    feed(b"\x1b[1mbold\x1b[0m ##vso[a.b]")
    cutter.close()
    assert target.getvalue() == "bold # #vso[a.b]\n"


def test_a_shell_in_a_pipeline() -> None:
    """In a program of its own: its streams are what is looked at."""
    program = (
        "import os, sys; from aibemu.cli.shell import _run_defused; sys.exit(_run_defused(sys.argv[1:], os.environ))"
    )
    words = ["sh", "-c", "cat; printf '##vso[a.b]x'; printf '::error::y' >&2; exit 7"]
    done = subprocess.run([sys.executable, "-c", program, *words], input=b"in\n", capture_output=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in\n# #vso[a.b]x\n", b": :error::y\n")
