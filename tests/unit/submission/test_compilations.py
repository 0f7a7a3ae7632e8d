"""What was compiled before is taken again only while nothing that it depends on has changed."""

from __future__ import annotations

import json
import os
import shlex
import sys
import time
from pathlib import Path

import pytest

from aibemu.clock import forever
from aibemu.submission.bicep import compile_file
from aibemu.submission.compilations import Memory
from aibemu.testing.clock import FakeClock
from tests.judges import need_bicep

# Counts its compilations, and says what it depends on: the files named in `references` beside it.
PROGRAM = """import json, pathlib, sys
here = pathlib.Path(__file__).parent
if sys.argv[1] == "jsonrpc":
    head = sys.stdin.readline()
    sys.stdin.readline()
    asked = json.loads(sys.stdin.read(int(head.split(":")[1])))
    result = json.loads((here / "references").read_text())
    body = json.dumps({"jsonrpc": "2.0", "id": asked["id"], **result})
    sys.stdout.write(f"Content-Length: {len(body)}\\r\\n\\r\\n{body}")
    sys.stdout.flush()
    sys.stdin.read()
else:
    count = here / "count"
    number = int(count.read_text()) + 1 if count.exists() else 1
    count.write_text(str(number))
    print(json.dumps({"number": number}))
    sys.stderr.write(f"{sys.argv[2]}(1,1) : Warning x: y\\n")
"""


class Place:
    """A folder with main.bicep, a module and the compiler."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.main = folder / "images" / "main.bicep"
        self.part = folder / "images" / "part.bicep"
        self.memory = folder / "memory"
        self.bin.mkdir()
        self.main.parent.mkdir()
        self.main.write_text("module part 'part.bicep' = {}")
        self.part.write_text("param x int")
        (self.bin / "bicep.py").write_text(PROGRAM)
        program = self.bin / "bicep"
        program.write_text(
            f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(self.bin / "bicep.py"))} "$@"\n'
        )
        program.chmod(0o755)
        self.answer({"result": {"filePaths": [str(self.main), str(self.part)]}})

    def answer(self, answer: object) -> None:
        (self.bin / "references").write_text(json.dumps(answer))

    def compile(self, after: float = 1.0) -> int:
        """Which compilation the JSON is of. after: how long after the last change this call begins."""
        now = max(file.stat().st_mtime for file in (self.main, self.part)) + after
        done = compile_file(self.main, self.main.parent, forever(FakeClock()), Memory(self.memory, now))
        assert [found.id for found in done.diagnostics] == ["x"]
        assert done.template is not None
        number: int = json.loads(done.template)["number"]
        return number


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    found = Place(tmp_path)
    monkeypatch.setenv("PATH", f"{found.bin}:/usr/bin:/bin")
    return found


def test_the_same_is_compiled_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [place.compile(), place.compile()] == [1, 1]
    (kept,) = place.memory.iterdir()
    assert kept.stat().st_mode & 0o077 == 0
    place.part.write_text("param x string")
    assert [place.compile(), place.compile()] == [2, 2]
    (place.main.parent / "bicepconfig.json").write_text("{}")
    assert [place.compile(), place.compile()] == [3, 3]
    monkeypatch.setenv("BICEP_TRACING_ENABLED", "1")
    assert place.compile() == 4
    (place.bin / "bicep").write_text((place.bin / "bicep").read_text() + "\n# newer\n")
    assert place.compile() == 5
    for file in place.memory.iterdir():
        file.write_text("damaged")
    assert place.compile() == 6


def test_what_may_have_changed_meanwhile_is_not_kept(place: Place) -> None:
    assert [place.compile(after=0), place.compile(after=-1), place.compile()] == [1, 2, 3]


@pytest.mark.parametrize(
    "answer",
    [{"error": {"message": "x"}}, {"result": None}, {"result": {"filePaths": "x"}}, {"result": {"filePaths": []}}],
)
def test_without_the_list_of_files_nothing_is_kept(place: Place, answer: object) -> None:
    place.answer(answer)
    assert [place.compile(), place.compile()] == [1, 2]
    assert not place.memory.exists()


@pytest.mark.parametrize(
    "text", ["module a 'br:x.azurecr.io/y:1' = {}", "module a 'ts/x:y:1' = {}", "var a = loadDirectoryFileInfo('.')"]
)
def test_what_the_list_does_not_have_is_not_kept(place: Place, text: str) -> None:
    place.part.write_text(text)
    assert [place.compile(), place.compile()] == [1, 2]


def test_the_real_compiler_names_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{need_bicep().parent}:/usr/bin:/bin")
    folder = tmp_path / "my images"
    folder.mkdir()
    (folder / "main.bicep").write_text("var text = loadTextContent('a.sh')\noutput o string = text\n")
    (folder / "a.sh").write_text("echo one\n")
    for file in folder.iterdir():
        os.utime(file, (1.0, 1.0))
    memory = Memory(tmp_path / "memory", time.time())
    first = compile_file(folder / "main.bicep", folder, forever(), memory)
    (kept,) = (tmp_path / "memory").iterdir()
    files = json.loads(kept.read_text())["files"]
    assert {str(folder / "main.bicep"), str(folder / "a.sh")} <= {name for name, digest in files.items() if digest}
    assert files[str(folder / "bicepconfig.json")] is None
    command = [str(need_bicep().parent / "bicep"), "build", str(folder / "main.bicep"), "--stdout", "--no-restore"]
    again = memory.recall(command)
    assert again is not None and again.stdout == first.template
    (folder / "a.sh").write_text("echo two\n")
    assert memory.recall(command) is None
