"""Which view a person gets: the live one on a terminal that can, plain lines everywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from typing import Protocol, TextIO, runtime_checkable

from aibemu.clock import Clock
from aibemu.events import View
from aibemu.views.plain import PlainView
from aibemu.views.screen import in_pipeline
from aibemu.views.several import Names, PlainSeveral, Shared


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
    plain = PlainView(stream, color=color, verbosity=verbosity, pipeline=in_pipeline(environ))
    return [plain, *annotating_views(stream, environ, place)]


def shared_view(
    stream: TextIO, clock: Clock, names: Iterable[str], *, color: bool, verbosity: int, environ: Mapping[str, str]
) -> Shared:
    """The view that several builds share on `stream`. names: what they will be called."""
    called, pipeline = Names(names), in_pipeline(environ)
    if verbosity >= 0 and can_live(stream, environ):
        from aibemu.views.live_several import LiveSeveral

        live = LiveSeveral(stream, clock, called, color=color, verbosity=verbosity, pipeline=pipeline)
        return Shared(stream=stream, names=called, drawing=live)
    plain = PlainSeveral(stream, called, color=color, verbosity=verbosity, pipeline=pipeline)
    return Shared(stream=stream, names=called, drawing=plain)


def annotating_views(stream: TextIO, environ: Mapping[str, str], place: Callable[[str], str]) -> list[View]:
    """The annotations of one build in GitHub Actions; none elsewhere. place: a file's name in its repository."""
    if environ.get("GITHUB_ACTIONS") != "true":
        return []
    from aibemu.views.github import GithubView

    return [GithubView(stream, place)]


def can_live(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """A terminal that can move its cursor, nobody who reads along (CI), and rich is there."""
    if environ.get("TERM", "dumb") in {"dumb", "unknown", ""} or environ.get("CI"):
        return False
    return stream.isatty() and find_spec("rich") is not None
