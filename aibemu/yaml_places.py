"""YAML that people write, with the place of what is wrong in it. PyYAML is imported only where a file is there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aibemu.errors import Span, UsageError
from aibemu.records import DamagedFile, read_bytes

if TYPE_CHECKING:
    import yaml

# What PyYAML makes of a value that does not fit its tag: `!!bool maybe`, `!!timestamp x`, `!!int ""`.
_UNFIT = (LookupError, AttributeError, TypeError, ArithmeticError)
# What PyYAML lets through: these, dates that do not exist, and nesting without end.
_ALSO = (ValueError, RecursionError, *_UNFIT)
# Bytes of a file that a person writes; and nodes in it, where each alias (`*name`) counts for all that it stands for.
LARGEST = 1 << 20
_MOST_NODES = 100_000
# Nodes as they are written: PyYAML takes a second for so many.
_MOST_WRITTEN = 20_000


def read_text(path: Path, *, what: str) -> str | None:
    """The text of a YAML file; None if there is none. `UsageError`, with the file's name, for what is no such file."""
    try:
        content = read_bytes(path, largest=LARGEST)
        return None if content is None else content.decode("utf-8-sig")
    except DamagedFile as error:
        raise UsageError(f"{what} {path} cannot be read: {error.why}", hint="move it away, or write it anew") from None
    except UnicodeDecodeError as error:
        why = f"it is not text (byte {error.start + 1})"
        raise UsageError(f"{what} {path} cannot be read: {why}", hint="save it as UTF-8") from None
    except OSError as error:
        raise UsageError(f"{what} {path} cannot be read: {error.strerror or error}") from None


def compose(text: str, file: str, *, what: str, hint: str | None = None) -> yaml.Node | None:
    """The tree of a file's only document, None of an empty one. file: its name in places; what: how the message calls
    it. Raises UsageError `WHAT is not YAML: ...`, with the place and the hint when the parser says where; and for a
    name that is there twice, and aliases that stand for too much, which PyYAML takes."""
    import yaml

    try:
        node = _tree(text, file, what)
        if node is not None:
            _check_size(node, file, what)
    except (yaml.YAMLError, *_ALSO) as error:
        if isinstance(error, UsageError):
            raise
        raise _not_yaml(error, file, what, hint) from error
    return node


def load(text: str, file: str, *, what: str, any_size: bool = False) -> Any:
    """The values of a file's only document, None of an empty one. Arguments and errors as of `compose`.

    any_size: of a file that is for another program, whose aliases may stand for more than anybody can print.
    """
    import yaml

    if not any_size:
        return values_of(compose(text, file, what=what), file, what=what)
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, *_ALSO) as error:
        raise _not_yaml(error, file, what) from error
    return values_of(node, file, what=what)


def values_of(node: yaml.Node | None, file: str, *, what: str) -> Any:
    """The values of a tree. It is not to be used after that: `<<` is resolved in it. Errors as of `compose`."""
    import yaml

    try:
        return None if node is None else yaml.SafeLoader("").construct_document(node)
    except (yaml.YAMLError, *_ALSO) as error:
        raise _not_yaml(error, file, what) from error


def _tree(text: str, file: str, what: str) -> yaml.Node | None:
    """Composed as PyYAML does, but not for longer than what a person writes takes."""
    import yaml

    class Loader(yaml.SafeLoader):
        written = 0

        def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
            self.written += 1
            if self.written > _MOST_WRITTEN:
                place = self.peek_event().start_mark  # type: ignore[no-untyped-call]
                span = Span(file=file, line=place.line + 1, column=place.column + 1)
                raise UsageError(f"{what} is not usable: it has more than {_MOST_WRITTEN} values", span=span)
            node: yaml.Node | None = super().compose_node(parent, index)
            return node

    return yaml.compose(text, Loader=Loader)


def _check_size(root: yaml.Node, file: str, what: str) -> None:
    """How many nodes there are, with aliases written out: as many as whoever prints or copies a value comes by."""
    import yaml

    sizes: dict[int, int | None] = {}  # None: it is being counted, so it holds itself

    def count(node: yaml.Node) -> int:
        if id(node) in sizes:
            if (known := sizes[id(node)]) is None:
                raise UsageError(f"{what} is not usable: a value holds itself", span=span_of(node, file))
            return known
        sizes[id(node)] = None
        below: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            below = node.value
        elif isinstance(node, yaml.MappingNode):
            below = [one for pair in node.value for one in pair]
            _check_names(node, file, what)
        size = 1 + sum(map(count, below))
        if size > _MOST_NODES:
            raise UsageError(f"{what} is not usable: it has more than {_MOST_NODES} values", span=span_of(node, file))
        sizes[id(node)] = size
        return size

    count(root)


def _check_names(node: yaml.MappingNode, file: str, what: str) -> None:
    names: set[str] = set()
    for key, _ in node.value:
        name = key.value if isinstance(key.value, str) else None
        if name in names:
            raise UsageError(f"{what} is not usable: {name!r} is there twice", span=span_of(key, file))
        names |= {name} if name is not None else set()


def span_of(node: yaml.Node, file: str) -> Span:
    """Where a node begins."""
    return Span(file=file, line=node.start_mark.line + 1, column=node.start_mark.column + 1)


def is_null(node: yaml.Node) -> bool:
    """True for nothing: `key:`, `null`, `~`."""
    return str(node.tag).endswith(":null")


def _not_yaml(error: Exception, file: str, what: str, hint: str | None = None) -> UsageError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    span = Span(file=file, line=mark.line + 1, column=mark.column + 1) if mark else None
    why = "it is nested too deeply" if isinstance(error, RecursionError) else getattr(error, "problem", error)
    why = "a value does not fit its tag (`!!...`)" if isinstance(error, _UNFIT) else why
    return UsageError(f"{what} is not YAML: {why}", span=span, hint=hint if span else None)
