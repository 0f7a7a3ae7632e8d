"""Which view a person gets: the live one on a terminal that can, plain lines everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Protocol, TextIO, runtime_checkable

from aibemu.clock import Clock
from aibemu.events import View
from aibemu.views.plain import PlainView
from aibemu.views.screen import in_pipeline


@runtime_checkable
class Pausable(Protocol):
    """A view that shares its terminal with a prompt or a shell. Both are safe at any time, and to call twice."""

    def pause(self) -> None:
        """Leave the terminal to somebody else."""
        ...

    def resume(self) -> None:
        """Take it up again, and say what happened meanwhile."""
        ...


def console_views(
    stream: TextIO,
    clock: Clock,
    *,
    color: bool,
    verbosity: int,
    environ: Mapping[str, str],
    place: Callable[[str], str] = str,
) -> list[View]:
    """The views for `stream` (standard error). In GitHub Actions its annotations come with the plain lines.

    place: a file's name in its repository.
    """
    if verbosity >= 0 and can_live(stream, environ):
        from aibemu.views.live import LiveView

        return [LiveView(stream, clock, color=color, verbosity=verbosity, pipeline=in_pipeline(environ))]
    views: list[View] = [PlainView(stream, color=color, verbosity=verbosity, pipeline=in_pipeline(environ))]
    if environ.get("GITHUB_ACTIONS") == "true":
        from aibemu.views.github import GithubView

        views.append(GithubView(stream, place))
    return views


def can_live(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """A terminal that can move its cursor, nobody who reads along (CI), and rich is there."""
    if environ.get("TERM", "dumb") in {"dumb", "unknown", ""} or environ.get("CI"):
        return False
    return stream.isatty() and find_spec("rich") is not None
