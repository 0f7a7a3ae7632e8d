"""What a compiler made of Bicep: where it is kept for a look, and from which places in Bicep its places come.

A template's JSON is kept. That of parameters is not: it holds the values of secure parameters, and those that a
.bicepparam file reads from the environment. Findings in it are told at the .bicepparam file.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.arm.diagnostics import Diagnostic
from aibemu.arm.findings import Findings
from aibemu.errors import Span
from aibemu.files import write_bytes
from aibemu.paths import safe_name
from aibemu.reading import read_bytes
from aibemu.submission.bicep import source_text

if TYPE_CHECKING:
    from aibemu.arm.nodes import Node
    from aibemu.paths import Home
    from aibemu.submission.bicep_places import BicepPlaces
    from aibemu.template.loader import Understood

# From a place in what was compiled to the one in Bicep; any other place stays.
Locate = Callable[[Span], Span]


class Located:
    """The places of all files that were compiled for one template. They are worked out when the first is asked for:
    most templates have no finding."""

    def __init__(self, folder: Path) -> None:
        """folder: where names that were typed start from, absolute."""
        self._folder = folder
        self._made: dict[str, Callable[[], BicepPlaces | None]] = {}
        self._places: dict[str, BicepPlaces | None] = {}

    def __call__(self, span: Span) -> Span:
        """The place in Bicep, or `span` itself."""
        if span.file not in self._made:
            return span
        if span.file not in self._places:
            self._places[span.file] = self._made[span.file]()
        places = self._places[span.file]
        return places.of(span) if places is not None else span

    def template(self, text: str, typed: Path, home: Home) -> str:
        """Keep the `text` of a template that was compiled from `typed`; how findings are to name it."""
        source = self._source(typed)
        if source is not None and source.suffix.casefold() != ".bicep":
            # `using './main.json'`: the compiler gives that file as it is.
            with contextlib.suppress(OSError, ValueError):
                if read_bytes(source).decode("utf-8-sig") == text:
                    return self._named(typed)(source)
        file = keep(home, Path(self._folder, typed), text)
        if source is not None:
            self._made[file] = lambda: self._of_template(text, file, source, typed)
        return file

    def parameters(self, text: str, typed: Path) -> str:
        """How findings in the parameters of the .bicepparam file `typed` are to be named, until they are located."""
        file = f"parameters compiled of {typed}"
        self._made[file] = lambda: self._of_parameters(text, file, typed)
        return file

    def _source(self, typed: Path) -> Path | None:
        """The file that the template comes from: `typed`, or the one that it is `using`."""
        from aibemu.submission.bicep_syntax import Doubt, declarations

        path = Path(self._folder, typed)
        if typed.suffix.casefold() == ".bicep":
            return path
        try:
            found = next((one.text for one in declarations(source_text(path)) if one.word == "using"), None)
        except (OSError, Doubt, RecursionError):
            return None
        return Path(os.path.normpath(path.parent / found)) if found and ":" not in found else None

    def _named(self, typed: Path) -> Callable[[Path], str]:
        """A file is called as it was typed; others by their whole path, as the compiler does."""
        whole = Path(self._folder, typed)
        return lambda path: str(typed) if path == whole else str(path)

    def _of_template(self, text: str, file: str, source: Path, typed: Path) -> BicepPlaces | None:
        from aibemu.submission.bicep_places import places_of_template

        root = _read(text, file)
        named = self._named(typed)
        return places_of_template(root, text, source, read_text=source_text, named=named) if root else None

    def _of_parameters(self, text: str, file: str, typed: Path) -> BicepPlaces | None:
        from aibemu.submission.bicep_places import places_of_parameters

        root = _read(text, file)
        source, named = Path(self._folder, typed), self._named(typed)
        return places_of_parameters(root, text, source, read_text=source_text, named=named) if root else None


def in_bicep(
    understood: Understood, said: Sequence[Diagnostic], locate: Locate, main: str
) -> tuple[Understood, tuple[Diagnostic, ...]]:  # fmt: skip
    """A template and what was found in it, with the places of Bicep. said: by the compiler; what ours tell too is left
    out. main: the file whose findings come first."""
    from aibemu.submission.bicep_twins import without_twins

    ours = [replace(found, span=locate(found.span)) for found in understood.findings.sorted()]
    findings = Findings(main)
    findings.extend(ours)
    findings.extend(without_twins(said, ours))
    view = understood.resource
    resource = replace(view, node=moved(view.node, locate)) if view is not None else None
    return replace(understood, resource=resource, findings=findings), findings.sorted()


def moved(node: Node, locate: Locate) -> Node:
    """The same value with the places of Bicep."""
    return replace(
        node,
        span=locate(node.span),
        members={
            key: replace(member, key_span=locate(member.key_span), value=moved(member.value, locate))
            for key, member in node.members.items()
        },
        items=tuple(moved(item, locate) for item in node.items),
    )


def _read(text: str, file: str) -> Node | None:
    from aibemu.arm.reader import read

    return read(text, file).root


def keep(home: Home, path: Path, text: str) -> str:
    """Keep the template that was compiled from `path` (absolute), so that a finding in it can be looked at; its path.

    Each Bicep file has a name of its own there: many are called main.bicep.
    """
    folder = home.cache / "bicep"
    digest = sha256(os.fsencode(path)).hexdigest()[:12]
    kept = folder / f"{safe_name(path.stem)}-{digest}.template.json"
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(kept, text.encode(), mode=0o600)
    for old in ("template", "parameters"):
        # Of an earlier version, which kept values there.
        with contextlib.suppress(OSError):
            (folder / f"{safe_name(path.stem)}.{old}.json").unlink()
    return str(kept)


def as_in_bicep(secrets: Iterable[str]) -> Iterator[str]:
    """How secrets stand in a Bicep file, where that is another way: a line of it may be shown."""
    for secret in secrets:
        written = secret.replace("\\", "\\\\").replace("'", "\\'").replace("${", "\\${")
        written = written.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
        if written != secret:
            yield written
