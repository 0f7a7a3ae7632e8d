"""What a user asks to be examined: the template's text and all that goes with it, as typed."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aibemu.errors import UsageError
from aibemu.template.loader import read_text

_TYPE = re.compile(r"microsoft\.virtualmachineimages/imagetemplates\b(?!/)", re.IGNORECASE)
# What the body of a resource has, whose type stands in the command that sends it.
_BODY = tuple(re.compile(rf'"{name}"\s*:', re.IGNORECASE) for name in ("properties", "source", "distribute"))
_STANDARD_INPUT = Path("/dev/stdin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A template as it was typed or sent: its text, not a file to be read later."""

    text: str
    # What findings call it: the path as typed.
    name: str
    # The folder that relative names in the template start from, absolute.
    base: Path
    # Whether the text is that of the file at `path`, which can be read again; not of what was sent, or came by a pipe.
    in_file: bool = False

    @property
    def path(self) -> Path:
        """Where the file is, if there is one; absolute."""
        return self.base / Path(self.name).name


@dataclass(frozen=True, slots=True, kw_only=True)
class TemplateRequest:
    """A template with what is put into it, and how it is to be checked."""

    document: Document
    # The folder that relative names in the other fields start from, absolute: where they were typed.
    folder: Path
    # Which image template of the document; or the name of one that has none.
    name: str | None = None
    api_version: str | None = None
    # `FILE`, `@FILE`, `NAME=VALUE`, `NAME=@FILE` or a JSON object, as for az; later ones win.
    parameters: tuple[str, ...] = ()
    # `NAME=VALUE` for `<NAME>`.
    placeholders: tuple[str, ...] = ()
    # `FUNCTION('TARGET')=JSON` for what only Azure knows.
    supplied: tuple[str, ...] = ()
    # `PREFIX=DIR`.
    mappings: tuple[str, ...] = ()
    # Look at scripts and files on the network too.
    online: bool = False
    # Ids of findings that are not to be shown.
    disabled: tuple[str, ...] = ()

    @classmethod
    def of_file(cls, file: Path, folder: Path, **options: Any) -> TemplateRequest:
        """The request for `file`, as typed in `folder` (absolute). Raises `UsageError` when it cannot be read."""
        return cls(document=read_document(file, folder), folder=folder, **options)


def read_document(file: Path, folder: Path) -> Document:
    """Read the template `file`, a name that starts from `folder`; `-` is standard input.

    What its scripts are relative to is its own folder; of a pipe of the shell's (`<(COMMAND)`) it is `folder`.
    """
    from aibemu.submission.bicep import is_bicep

    text, file = "", _STANDARD_INPUT if str(file) == "-" else file
    try:
        text = read_text(file, folder, pipe=not is_bicep(file))
    except UsageError:
        if not is_bicep(file):
            raise  # Bicep is read by its compiler, which says what is wrong with the file
    whole = Path(folder, file)
    base = folder if whole.is_relative_to("/dev") or whole.is_relative_to("/proc") else whole.parent
    return Document(text=text, name=str(file), base=base, in_file=whole.is_file())


def may_hold_template(text: str) -> bool:
    """Whether `text` looks like a template with an image template in it: it names the type, or is the body of one. For
    whoever gives all files of a repository, and does not want to hear that package.json is no template."""
    return bool(_TYPE.search(text)) or all(pattern.search(text) for pattern in _BODY)
