"""`.aibemu.yaml`: findings that a project decided to live with, each with the reason.

The file lies beside the template, or in a folder above up to the repository's root, so that it is versioned with what
it is about; the nearest one holds. Its name is the program's, hidden like those of other linters, for it is the
project's own file: the user's settings are `config.yaml` elsewhere. Whatever is wrong in it is an error with its place:
a suppression that is silently not read would be worse than none.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.errors import Span, UsageError
from aibemu.submission.matching import Suppression, Suppressions
from aibemu.suggestions import did_you_mean
from aibemu.yaml_places import compose, is_null, read_text, span_of

if TYPE_CHECKING:
    import yaml

FILE = ".aibemu.yaml"
_KEYS = ("id", "reason", "file", "path")
_SHELLCHECK = re.compile(r"SC\d{4}")


def load_suppressions(template: Path, base: Path, disabled: Sequence[str] = ()) -> Suppressions:
    """What holds for a template file, a name that starts from the folder `base`. disabled: ids of `--disable`. Raises
    `UsageError` with file, line and column."""
    entries = [Suppression(id=_known(id_, f"--disable {id_}"), reason="disabled with --disable") for id_ in disabled]
    found = find_file(base / template)
    if found is None:
        return Suppressions(template=str(template), base=str(base), entries=tuple(entries))
    shown = found if template.is_absolute() or not found.is_relative_to(base) else found.relative_to(base)
    entries += read(_text(found), str(shown))
    return Suppressions(template=str(template), base=str(base), folder=str(found.parent), entries=tuple(entries))


def find_file(template: Path) -> Path | None:
    """The nearest file of suppressions; the folder with `.git` is the last one looked at."""
    # By name, not by where symbolic links lead: what is said of a file is said by the name that it is known by.
    start = _without_dots(template).parent
    for folder in (start, *start.parents):
        try:
            if (folder / FILE).is_file():
                return folder / FILE
            if (folder / ".git").exists():
                return None
        except PermissionError:
            return None
    return None


def read(text: str, file: str) -> Iterator[Suppression]:
    """The entries of a file's text; `file` is how to call it in a place."""
    root = _composed(text, file)
    if root is None:
        return
    pairs = _pairs(root, file, ("suppress",), "the file has one key, `suppress`, with a list of entries")
    import yaml

    entries = pairs.get("suppress")
    if entries is None or (isinstance(entries, yaml.ScalarNode) and is_null(entries)):
        return
    if not isinstance(entries, yaml.SequenceNode):
        raise _wrong(entries, file, "`suppress` holds a list: an entry begins with `- id: `")
    for node in entries.value:
        yield _entry(node, file)


def _without_dots(path: Path) -> Path:
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path does not take `..` out without following links


def _text(path: Path) -> str:
    text = read_text(path, what="the file of suppressions")
    if text is None:
        raise UsageError(f"{path} cannot be read: there is no such file")
    return text


def _composed(text: str, file: str) -> yaml.Node | None:
    hint = "put a value that begins with `*` or `[` into quotes" if re.search(r":\s+[*\[]", text) else None
    return compose(text, file, what=file, hint=hint)


def _entry(node: yaml.Node, file: str) -> Suppression:
    pairs = _pairs(node, file, _KEYS, f"an entry has the keys {', '.join(_KEYS)}")
    values = {key: _value(value, key, file) for key, value in pairs.items()}
    if "id" not in values:
        raise _wrong(node, file, "the entry has no `id`", "say which finding, like `id: W37`")
    if "reason" not in values:
        raise _wrong(node, file, "the entry has no `reason`", "say why this is right here: others will read it")
    id_ = _known(values.pop("id"), file, span_of(pairs["id"], file))
    return Suppression(id=id_, span=span_of(node, file), **values)


def _known(text: str, where: str, span: Span | None = None) -> str:
    """The id in its proper case. The catalogue is imported only for this."""
    from aibemu.template import catalogue

    id_ = text.strip().upper()
    if _SHELLCHECK.fullmatch(id_) or catalogue.find(id_):
        return id_
    question, listing = did_you_mean(id_, [rule.id for rule in catalogue.RULES]), "`aibemu explain` lists all of them"
    hint = f"{question} {listing}" if question else listing
    raise UsageError(f"{where}: there is no finding {text!r}", span=span, hint=hint)


def _pairs(node: yaml.Node, file: str, known: Sequence[str], what: str) -> dict[str, yaml.Node]:
    import yaml

    if not isinstance(node, yaml.MappingNode):
        raise _wrong(node, file, what)
    pairs: dict[str, yaml.Node] = {}
    for key, value in node.value:
        name = str(key.value)
        if name not in known:
            raise _wrong(key, file, f"unknown key {name!r}: {what}", did_you_mean(name, known))
        if name in pairs:
            raise _wrong(key, file, f"{name!r} is there twice")
        pairs[name] = value
    return pairs


def _value(node: yaml.Node, key: str, file: str) -> str:
    import yaml

    if not isinstance(node, yaml.ScalarNode) or is_null(node) or not node.value.strip():
        raise _wrong(node, file, f"`{key}` must be a text", "put it into quotes if it begins with `[` or `{`")
    return str(node.value).strip()


def _wrong(node: yaml.Node, file: str, why: str, hint: str | None = None) -> UsageError:
    return UsageError(f"{file}: {why}", span=span_of(node, file), hint=hint)
