"""YAML that people write, with the place of what is wrong in it. PyYAML is imported only where a file is there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aibemu.errors import Span, UsageError

if TYPE_CHECKING:
    import yaml

# What PyYAML lets through: dates that do not exist, and nesting without end.
_ALSO = (ValueError, RecursionError)


def compose(text: str, file: str, *, what: str, hint: str | None = None) -> yaml.Node | None:
    """The tree of a file's only document, None of an empty one. file: its name in places; what: how the message calls
    it. Raises UsageError `WHAT is not YAML: ...`, with the place and the hint when the parser says where."""
    import yaml

    try:
        node: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, *_ALSO) as error:
        raise _not_yaml(error, file, what, hint) from error
    return node


def load(text: str, file: str, *, what: str) -> Any:
    """The values of a file's only document, None of an empty one. Arguments and errors as of `compose`."""
    import yaml

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, *_ALSO) as error:
        raise _not_yaml(error, file, what) from error


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
    return UsageError(f"{what} is not YAML: {why}", span=span, hint=hint if span else None)
