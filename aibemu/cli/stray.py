"""What Python and libraries print by themselves: tracebacks of threads, warnings, log lines. All of it may quote an
address with its signature, so it goes where the rest goes, and through the redactor."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Callable
from types import TracebackType
from typing import TextIO

from aibemu.cli.app import App


def own_stray_output(app: App) -> None:
    """Let this process print nothing but through `app`. For the program, not for who uses its parts."""
    show = _shower(app)
    sys.excepthook = show
    threading.excepthook = lambda seen: show(seen.exc_type, seen.exc_value, seen.exc_traceback)
    sys.unraisablehook = lambda seen: show(seen.exc_type, seen.exc_value, seen.exc_traceback)

    def warn(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, file: TextIO | None = None,
        line: str | None = None,
    ) -> None:  # fmt: skip
        app.say(f"{category.__name__}: {message} ({filename}:{lineno})")

    warnings.showwarning = warn
    # Without a handler Python prints what libraries log from WARNING on.
    logging.getLogger().addHandler(logging.NullHandler())


_Show = Callable[[type[BaseException], BaseException | None, TracebackType | None], None]


def _shower(app: App) -> _Show:
    def show(kind: type[BaseException], error: BaseException | None, trace: TracebackType | None) -> None:
        if not issubclass(kind, SystemExit):
            app.complain("".join(traceback.format_exception(kind, error, trace)).rstrip("\n"))

    return show
