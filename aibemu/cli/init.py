"""`aibemu init [KIND] [FILE]`: a template to begin with, which `aibemu run` and a deployment in Azure both take."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import click

from aibemu.cli.app import App
from aibemu.errors import UsageError, host_error
from aibemu.files import write_bytes
from aibemu.suggestions import did_you_mean

KINDS: Mapping[str, str] = {
    "linux": "Debian 12 to a managed image; builds here at once",
    "windows": "Windows Server 2022 with its updates to a managed image",
    "gallery": "Debian 12 to the next version of an image definition in a gallery; builds here at once",
}
# Only Linux guests can be run so far.
RUNS_HERE = frozenset({"linux", "gallery"})
FILE = Path("image-template.json")


@click.command("init", short_help="Write a template to begin with.")
@click.argument("kind", metavar="[linux|windows|gallery]", default="linux")
@click.argument("file", metavar="[FILE]", type=click.Path(path_type=Path), default=FILE)
@click.option("--force", is_flag=True, help="Replace FILE if it is there.")
@click.pass_obj
def command(app: App, kind: str, file: Path, force: bool) -> None:
    """Write a starter template to FILE (image-template.json), a deployment template with parameters for all names.

    linux: Debian 12 to a managed image. windows: Windows Server 2022, updated. gallery: a gallery image version.
    """
    content = starter(_known(kind))
    _write(file, content, force=force)
    commands = next_commands(kind, file)
    lines = [f"{file}: {KINDS[kind]}", "type next:", *(f"  {line}" for line in commands)]
    app.result({"file": str(file), "kind": kind, "commands": commands}, lines)


def starter(kind: str) -> bytes:
    """The template of that kind."""
    return (files("aibemu.template") / "starters" / f"{kind}.json").read_bytes()


def next_commands(kind: str, file: Path) -> list[str]:
    """What to type when the template has been written."""
    name = shlex.quote(str(file))
    here = [f"aibemu validate {name}", *([f"aibemu run {name}"] if kind in RUNS_HERE else [])]
    return [*here, f"az deployment group create --resource-group GROUP --template-file {name}"]


def _known(kind: str) -> str:
    if kind in KINDS:
        return kind
    hint = did_you_mean(kind, KINDS)
    if hint is None and Path(kind).suffix:
        hint = f"the kind comes first: aibemu init linux {shlex.quote(kind)}"
    raise UsageError(f"there is no starter {kind!r}: there are {', '.join(KINDS)}", hint=hint)


def _write(file: Path, content: bytes, *, force: bool) -> None:
    if file.suffix.casefold() in (".bicep", ".bicepparam"):
        raise UsageError(f"{file}: starters are JSON", hint=f"name it {file.with_suffix('.json').name}")
    if file.is_dir():
        raise UsageError(f"{file} is a folder", hint=f"name the file: {file / FILE.name}")
    if not force and (file.exists() or file.is_symlink()):
        raise UsageError(f"{file} is there already", hint="replace it with --force, or name another file")
    try:
        write_bytes(file, content)
    except (FileExistsError, NotADirectoryError) as error:  # on the way to it is a file
        raise UsageError(f"cannot write {file}: {error.strerror or error}") from None
    except OSError as error:
        raise host_error(error) or UsageError(f"cannot write {file}: {error.strerror or error}") from None
