"""The same steps for Windows by Packer and by aibemu, each to a WinRM server of its own: what they send is the same.

Packer: Debian's, null builder, one template. aibemu: its customizers, the engine's guest, the WinRM communicator. What
came in is decoded and compared: files (path and content), command lines and their shells, the scheduled task, what
is removed, all in order, with ids numbered as they appear. What differs on purpose is taken out first: `DIFFERENCES`,
which docs/windows-steps.md shows, each proven to be there.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from aibemu.customizers.windows.restart import PROBE
from aibemu.systems.windows.commands import BOOT_ID
from tests.bench.packer import find
from tests.public_data import PACKER_WINDOWS
from tests.steps_sent import ELEVATED, HOST_NAME, SCRIPT, UPLOAD, Sent, from_aibemu, from_packer
from tests.winrm_guests import PASSWORD
from tests.winrm_told import Run, Write

pytestmark = pytest.mark.timeout(180)

CAPTURED: dict[str, Any] = json.loads(PACKER_WINDOWS.read_text())
DOCS = Path(__file__).parents[2] / "docs" / "windows-steps.md"
_ID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Sent, Sent]:
    packer = find()
    if packer is None:
        pytest.skip("HashiCorp's packer is not installed (Debian 12: apt-get install packer)")
    folder = tmp_path_factory.mktemp("steps")
    (folder / "upload.bin").write_bytes(UPLOAD)
    (folder / "script.ps1").write_bytes(SCRIPT)
    return from_packer(packer, folder), from_aibemu(folder)


# What is compared


def common(sent: list[Write | Run]) -> list[Any]:
    """Without what differs on purpose; ids are numbered."""
    return _numbered([line for one in sent for line in (_file(one) if isinstance(one, Write) else _command(one))])


def _file(file: Write) -> Iterator[Any]:
    if "/packer-cleanup-" in file.path:
        paths = re.findall(r"\{Remove-Item (\S+)\}", file.content.decode())
        yield ("remove", [path for path in paths if path != file.path])
    elif ELEVATED in file.path:
        yield ("write", file.path, *_task(file.content.decode("utf-8-sig")))
    else:
        # The builder's type and name; AIB's are these.
        content = re.sub(b'(?<=_TYPE=")null(?=")|(?<=_NAME=")failed(?=")', b"azure-arm", file.content)
        yield ("write", file.path, content.removeprefix(codecs.BOM_UTF8).decode("latin-1"))


def _command(run: Run) -> Iterator[Any]:
    if run.text.startswith("del /f"):
        yield ("remove", [path.replace("\\", "/") for path in re.findall('"([^"]+)"', run.text)])
    elif not _only_one_of_them(run.text):
        yield ("run", HOST_NAME if run.text == PROBE else run.text, run.shell)


def _only_one_of_them(text: str) -> bool:
    packers = ("WinRM connected.", "/packer-cleanup-", "packer restart test", "shutdown /a")
    return any(word in text for word in packers) or text == BOOT_ID or text.startswith("if exist")


def _task(wrapper: str) -> tuple[Any, ...]:
    """The task as it is registered: its text, without the end of its time, and how it logs in."""
    xml, login = task_of(wrapper), re.search(r'(?m)^\$(?:password|logon) = "?(.*?)"?$', wrapper)
    assert login and re.search(r"RegisterTaskDefinition\(\$name, \$\w+, 6, ", wrapper)
    by_password = login[1] == "1" or login[1] == PASSWORD
    assert by_password or login[1] in ("5", "")
    elements = []
    for element in xml.iter():
        name = element.tag.rpartition("}")[2]
        # Packer's wrapper takes it out itself when there is no password.
        if name != "ExecutionTimeLimit" and (by_password or name != "LogonType"):
            elements.append((name, sorted(element.attrib.items()), (element.text or "").strip()))
    [name] = re.findall(r"(?m)^\$name = [\"'](.+)[\"']$", wrapper)
    return name, by_password, elements


def task_of(wrapper: str) -> ElementTree.Element:
    """The definition in a wrapper's text."""
    return ElementTree.fromstring(wrapper.partition("@'\n")[2].partition("\n'@")[0].partition("?>")[2])


def _numbered(lines: list[Any]) -> list[Any]:
    numbers: dict[str, str] = {}

    def number(value: Any) -> Any:
        if isinstance(value, str):
            return _ID.sub(lambda found: numbers.setdefault(found[0], f"ID-{len(numbers) + 1}"), value)
        return type(value)(number(part) for part in value) if isinstance(value, list | tuple) else value

    return [number(line) for line in lines]


def test_all_steps_send_the_same_but_for_the_differences(both: tuple[Sent, Sent]) -> None:
    packers, ours = (common(sent.all) for sent in both)
    assert ours == packers
    kinds = [line[0] for line in packers]
    assert (kinds.count("write"), kinds.count("run"), kinds.count("remove")) == (11, 7, 4)


def test_a_step_that_fails_leaves_its_files(both: tuple[Sent, Sent]) -> None:
    packers, ours = (common(sent.failed) for sent in both)
    assert ours == packers and [line[0] for line in ours] == ["write", "write", "run"]


@pytest.mark.parametrize(
    ("name", "place"),
    [("powershell-inline", slice(0, 4)), ("powershell-elevated", slice(13, 18)), ("windows-restart", slice(19, 20))],
)
def test_the_kept_captures_are_what_packer_sends(both: tuple[Sent, Sent], name: str, place: slice) -> None:
    live = [_anonymous([line[0], line[1], *line[2:3]]) for line in common(both[0].all)[place]]
    kept = CAPTURED[name]["told"]
    assert [line[:2] for line in live] == [line[:2] for line in kept]
    assert [line[2] for line in live if "env-vars" in line[1] and line[0] == "write"] == [
        line[2] for line in kept if "env-vars" in line[1] and line[0] == "write"
    ]


def _anonymous(value: Any) -> Any:
    if isinstance(value, str):
        return re.sub(r"ID-\d+", "UUID", value)
    return [_anonymous(part) for part in value] if isinstance(value, list | tuple) else value


# What differs on purpose


@dataclass(frozen=True, slots=True)
class Difference:
    """A row of the table in docs/windows-steps.md. there: whether it is so, by what Packer and aibemu sent."""

    what: str
    packer: str
    aibemu: str
    why: str
    there: Callable[[Sent, Sent], bool]


def _marks(sent: Sent) -> set[bool]:
    """Whether the files that it makes itself have a byte order mark."""
    return {one.startswith(codecs.BOM_UTF8) for name in ("env-vars", ELEVATED, "/script-") for one in sent.files(name)
            if one != SCRIPT}  # fmt: skip


def _limits(sent: Sent) -> list[str]:
    tasks = [task_of(wrapper.decode("utf-8-sig")) for wrapper in sent.files(ELEVATED)]
    return [one.text or "" for task in tasks for one in task.iter() if one.tag.endswith("ExecutionTimeLimit")]


def _all(pieces: Iterable[bytes], word: str) -> bool:
    return all(word.encode() in piece for piece in pieces)


DIFFERENCES = [
    Difference(
        "the first command", '`echo "WinRM connected."`', "none: a shell is opened and closed",
        "it proves the login, and takes no PowerShell",
        lambda packer, ours: "WinRM connected." in packer.raw[0] and isinstance(ours.all[0], Write),
    ),
    Difference(
        "a file on its way",
        "base64 in `echo` lines of 8 KB to a temporary file, a script that joins them, one that removes it",
        "base64 to the standard input of one script, or the guest fetches it; the SHA-256 is compared",
        "many times as fast, and damage is seen",
        lambda packer, ours: (
            packer.count("echo ") >= packer.written and ours.count("echo ") == 0
            and ours.count("FromBase64String") == ours.written
        ),
    ),
    Difference(
        "files that it makes", "UTF-8 without a mark, which PowerShell 5.1 reads as the ANSI code page",
        "with a byte order mark", "`ä` in an inline line arrives as `ä`. A script from `scriptUri` stays byte for byte",
        lambda packer, ours: (_marks(packer), _marks(ours)) == ({False}, {True}),
    ),
    Difference(
        "the folder of a File", "made", "looked for first, by `if exist`; the step fails without it",
        "the service's documentation wants it to be there",
        lambda packer, ours: (
            packer.count("New-Item -ItemType directory") > 0 and ours.count("New-Item -ItemType directory") == 0
            and ours.count('if exist "C:\\folder\\upload.bin\\"') == 1
        ),
    ),
    Difference(
        "removing the files", "a third script, run by PowerShell, that removes itself, too", "`del`",
        "a second less for each step",
        lambda packer, ours: (packer.count("del /f"), ours.count("del /f"), ours.count("packer-cleanup")) == (0, 4, 0),
    ),
    Difference(
        "the password of an elevated step", "in a file in the guest", "by standard input",
        "no file of the image ever had it",
        lambda packer, ours: (
            any(PASSWORD.encode() in file for file in packer.files(ELEVATED))
            and not any(PASSWORD.encode() in one.content for one in ours.all if isinstance(one, Write))
            and [one.stdin for one in ours.all if isinstance(one, Run) and one.stdin] == [f"{PASSWORD}\n".encode()]
        ),
    ),
    Difference(
        "the log of a task", "read whole, ten times a second", "read on from where it was read to",
        "the time for a long log grows with its length, not with its square",
        lambda packer, ours: _all(packer.files(ELEVATED), "Get-Content $log | select -skip")
        and _all(ours.files(ELEVATED), "$script:stream.Read("),
    ),
    Difference(
        "the time of a task", "no end", "the end of the build", "nothing runs on when nobody waits for it",
        lambda packer, ours: set(_limits(packer)) == {"PT0S"}
        and all(re.fullmatch(r"PT[1-9]\d*S", limit) for limit in _limits(ours)),
    ),
    Difference(
        "whether a restart is over",
        '`shutdown /r /f /t 60 /c "packer restart test"`, until it is refused or taken back',
        "the time of the last boot", "no second restart is asked for, and a machine that never went down is found out",
        lambda packer, ours: ours.texts.count(BOOT_ID) > 0 and BOOT_ID not in packer.texts
        and ours.count("packer restart test") == 0,
    ),
    Difference(
        "the host's name after a restart", "by `-EncodedCommand`", "the same expression by `-Command`",
        "its errors come as text, and not as CLIXML",
        lambda packer, ours: HOST_NAME in packer.texts and PROBE in ours.texts,
    ),
    Difference(
        "the error of a failed step", "`status: 3.Allowed exit codes`", "`status: 3. Allowed exit codes`",
        "later versions of Packer have the space",
        lambda packer, ours: "." in packer.error and packer.error.replace(".Allowed", ". Allowed") == ours.error
        and packer.error != ours.error,
    ),
]  # fmt: skip


@pytest.mark.parametrize("difference", DIFFERENCES, ids=[difference.what for difference in DIFFERENCES])
def test_each_difference_is_there(both: tuple[Sent, Sent], difference: Difference) -> None:
    assert difference.there(*both)


def test_the_documentation_has_the_same_differences() -> None:
    section = DOCS.read_text(encoding="utf-8").partition("## What is sent\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ")]
    assert rows[1:] == [f"| {one.what} | {one.packer} | {one.aibemu} | {one.why} |" for one in DIFFERENCES]
