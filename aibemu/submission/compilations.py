"""What was compiled before, by all the files that it depends on: a compiler takes seconds to start.

Which files those are the compiler is asked, beside the compilation (`bicep jsonrpc`, getFileReferences). Where it
cannot say so (`az bicep`, an old `bicep`) nothing is kept, and each call compiles. So it is with modules of a registry
and folders that are listed, which that answer does not have.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.errors import AibemuError
from aibemu.files import write_private_json
from aibemu.processes import Finished, RunningTool
from aibemu.reading import TEXT, read_bytes
from aibemu.records import parse_json

if TYPE_CHECKING:
    from aibemu.clock import Deadline

# Entries; the oldest goes for the next.
MOST = 64
# Seconds for the answer: most of it is the start of the program.
_SECONDS = 30.0
_CONFIG = "bicepconfig.json"
# What may change without a change of a file that is told: modules of a registry, folders.
_UNTOLD = re.compile(rb"'(?:br|ts)[:/]|loadDirectory")
# A call of the resident process asks a host for the list of public modules; this host refuses at once.
NO_NETWORK = {"HTTP_PROXY": "http://127.0.0.1:1", "HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": ""}


class Memory:
    """Compilations in `folder`. now: when this call began, in seconds of the system's clock: a file that was changed
    since may have been compiled as it was."""

    def __init__(self, folder: Path, now: float) -> None:
        self._folder = folder
        self._now = now

    def recall(self, command: Sequence[str]) -> Finished | None:
        """What the same command printed, if nothing that it depends on has changed since."""
        try:
            entry = parse_json(read_bytes(self._file(command)).decode())
            files, out, err = entry["files"], entry["stdout"], entry["stderr"]
            if entry["program"] != _program(command) or not (isinstance(out, str) and isinstance(err, str)):
                return None
            if any(_digest(Path(file)) != digest for file, digest in files.items()):
                return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None
        return Finished(stdout=out, stderr=err)

    def keep(self, command: Sequence[str], compile_: Callable[[], Finished], deadline: Deadline) -> Finished:
        """Compile, and remember what was printed. Raises what `compile_` raises."""
        if Path(command[0]).name != "bicep":
            return compile_()
        body = json.dumps(
            {"jsonrpc": "2.0", "id": 1, "method": "bicep/getFileReferences", "params": {"path": command[2]}}
        )
        question = f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
        words = [command[0], "jsonrpc", "--stdio"]
        with RunningTool(words, stdin=question, goes_on=True, env={**os.environ, **NO_NETWORK}) as tool:
            done = compile_()
            if done.status == 0:
                self._remember(command, done, _references(tool, deadline))
        return done

    def _remember(self, command: Sequence[str], done: Finished, files: Sequence[Path]) -> None:
        try:
            if not files or any(_is_untold(file) or file.stat().st_mtime >= self._now for file in files):
                return
            entry = {
                "program": _program(command), "stdout": done.stdout, "stderr": done.stderr,
                "files": {str(file): _digest(file) for file in (*files, *_configs(files))},
            }  # fmt: skip
            self._folder.mkdir(parents=True, exist_ok=True)
            for old in sorted(self._folder.glob("*.json"), key=lambda file: file.stat().st_mtime)[: 1 - MOST]:
                old.unlink()
            write_private_json(self._file(command), entry)
        except OSError:
            return  # it is compiled again, then

    def _file(self, command: Sequence[str]) -> Path:
        settings = sorted(f"{name}={value}" for name, value in os.environ.items() if name.startswith("BICEP_"))
        words = "\0".join([*command, *settings])
        return self._folder / f"{sha256(words.encode('utf-8', 'surrogateescape')).hexdigest()[:32]}.json"


def _program(command: Sequence[str]) -> list[object]:
    """The compiler: another one may say otherwise."""
    there = Path(command[0]).resolve().stat()
    return [command[0], there.st_size, there.st_mtime_ns]


def _references(tool: RunningTool, deadline: Deadline) -> list[Path]:
    """The files that the compiler names; none if it cannot say so."""
    try:
        said = tool.until(lambda text: _answer(text) is not None, deadline, seconds=_SECONDS)
    except AibemuError:
        deadline.check()
        return []
    answer = _answer(said) or {}
    result = answer.get("result")
    named = result.get("filePaths") if isinstance(result, dict) else None
    return [Path(file) for file in named if isinstance(file, str)] if isinstance(named, list) else []


def _answer(said: str) -> Mapping[str, object] | None:
    """The first message, when all of it is there."""
    head, found, body = said.partition("\r\n\r\n")
    length = re.search(r"content-length: *([0-9]{1,9})", head, re.IGNORECASE)
    if not found or length is None or len(body.encode()) < int(length[1]):
        return None
    try:
        answer = parse_json(body.encode()[: int(length[1])].decode())
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _configs(files: Iterable[Path]) -> set[Path]:
    """Where a configuration is looked for, whether there is one or not: one may come."""
    return {folder / _CONFIG for file in files if file.name != _CONFIG for folder in file.parents}


def _is_untold(file: Path) -> bool:
    return file.suffix.casefold() == ".bicep" and _UNTOLD.search(read_bytes(file, limit=TEXT)) is not None


def _digest(file: Path) -> str | None:
    """None for what is not there."""
    try:
        return sha256(read_bytes(file, limit=TEXT)).hexdigest()
    except FileNotFoundError:
        return None
