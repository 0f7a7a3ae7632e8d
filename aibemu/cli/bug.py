"""What a person gets for a bug in aibemu: one sentence and a file, not a traceback."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path

from aibemu import __version__
from aibemu.cli.app import App
from aibemu.errors import AibemuError
from aibemu.files import write_bytes

KEPT = 20


def report_bug(app: App, error: BaseException) -> AibemuError:
    """Save the traceback below the cache folder (the newest 20 are kept) and give the error to show."""
    text = app.redactor.text("".join(traceback.format_exception(error)))
    details = [f"{type(error).__name__}: {error}".splitlines()[0]]
    if isinstance(error, MemoryError):
        details.append("this host ran out of memory")
    saved = _save(app, text)
    if saved:
        details.append(f"traceback: {saved}")
    if app.verbosity >= 2 or not saved:
        details += text.splitlines()
    return AibemuError(
        f"this is a bug in aibemu {__version__}", details=details,
        hint="please report it with the traceback; secrets that aibemu knows of are masked in it",
    )  # fmt: skip


def _save(app: App, text: str) -> Path | None:
    folder = app.home.cache / "bugs"
    now = app.clock.now().strftime("%Y%m%d-%H%M%S-%f")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for old in sorted(folder.glob("*.txt"))[: -KEPT + 1]:
            old.unlink(missing_ok=True)
        path = folder / f"{now}.txt"
        content = f"aibemu {__version__}, Python {sys.version}\n{app.command}\n\n{text}"
        write_bytes(path, content.encode("utf-8", "backslashreplace"), mode=0o600)
    except OSError:
        return None
    return path
