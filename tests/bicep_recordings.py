"""What the real Bicep CLI said (fixtures/bicep), and a program `bicep` for tests that answers as it did."""

from __future__ import annotations

import json
import lzma
import shlex
import sys
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from tests.public_data import BICEP

_PLACE = "<DIR>"
# Answers from answers.json beside it: [[arguments, exit code, standard output, standard error], ...].
_PROGRAM = """import json, pathlib, sys
here = pathlib.Path(__file__).parent
(here / "arguments").open("a").write(repr(sys.argv[1:]) + "\\n")
for arguments, code, out, err in json.loads((here / "answers.json").read_text()):
    if sorted(arguments) == sorted(sys.argv[1:]):
        sys.stdout.write(out)
        sys.stderr.write(err)
        sys.exit(code)
sys.exit(f"nothing was recorded for {sys.argv[1:]}")
"""


@cache
def recorded(name: str) -> dict[str, Any]:
    """`cli`, `diagnostics`: cases by name; `places`: sources by path."""
    data = json.loads(lzma.decompress((BICEP / f"{name}.json.xz").read_bytes()))
    found: dict[str, Any] = data["sources" if name == "places" else "cases"]
    return found


def in_folder(text: str, folder: Path) -> str:
    """What was recorded, as if it had been in `folder`."""
    return text.replace(_PLACE, str(folder))


def unpack_sources(folder: Path, part: str) -> Path:
    """Copy the sources `cli`, `faulty` or `places` into `folder`; where they are."""
    with tarfile.open(BICEP / "sources.tar.xz") as packed:
        members = [one for one in packed if one.name.startswith(f"sources/{part}/")]
        packed.extractall(folder, members, filter="data")
    return folder / "sources" / part


def public() -> Iterator[tuple[str, Any, dict[str, Any]]]:
    """Name, template, and what the engine predicts for it: `sets`, by name."""
    with tarfile.open(BICEP / "public.tar.xz") as packed:
        texts = {one.name: file.read() for one in packed if (file := packed.extractfile(one)) is not None}
    for member in sorted(texts):
        if not member.endswith(".snapshot.json"):
            name = member.removesuffix(".json")
            yield name, json.loads(texts[member]), json.loads(texts[f"{name}.snapshot.json"])


def builds() -> dict[str, dict[str, Any]]:
    """The recorded calls that aibemu makes: of `build` and `build-params` with --stdout, of one file, in the
    environment as it is. Of a file with and without --no-restore, the first."""
    found: dict[str, dict[str, Any]] = {}
    seen: dict[tuple[str, ...], str] = {}
    for name, case in sorted(recorded("cli").items(), key=lambda one: "--no-restore" not in one[1]["args"]):
        words = tuple(word for word in case["args"] if word not in ("--stdout", "--no-restore"))
        plain = "--stdout" in case["args"] and len(words) == 2 and not set(case) & {"env", "cwd", "cached", "written"}
        if plain and words not in seen and isinstance(case["stderr"], str) and isinstance(case["stdout"], str):
            seen[words] = name
            found[name] = case
    return found


def file_of(case: dict[str, Any]) -> str:
    """The name of the file that a case of `builds` compiles."""
    return next(str(word) for word in case["args"][1:] if not word.startswith("--"))


def install(folder: Path, sources: Path) -> None:
    """Put a `bicep` into `folder`, that answers for the files in `sources` (unpacked `cli`)."""
    answers = []
    for case in builds().values():
        name = in_folder(file_of(case), sources)
        arguments = [case["args"][0], str(Path(sources, name)), "--stdout", "--no-restore"]
        answers.append(
            [arguments, case["exit"], in_folder(case["stdout"], sources), in_folder(case["stderr"], sources)]
        )
    (folder / "answers.json").write_text(json.dumps(answers))
    script = folder / "bicep.py"
    script.write_text(_PROGRAM)
    program = folder / "bicep"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {shlex.quote(str(script))} "$@"\n')
    program.chmod(0o755)
