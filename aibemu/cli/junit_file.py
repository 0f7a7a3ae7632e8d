"""`aibemu run --junit FILE`: the builds of a call as JUnit XML."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from aibemu.cli.app import App
from aibemu.errors import AibemuError, UsageError, error_record
from aibemu.files import write_bytes
from aibemu.text import clean_xml

if TYPE_CHECKING:
    from aibemu.engine.api import Prepared
    from aibemu.engine.preparing.options import BuildOptions
    from aibemu.reports.junit_builds import Built
    from aibemu.reports.summary import RunSummary


def built(prepared: Prepared, summary: RunSummary | None, error: AibemuError | None, skipped: str = "") -> Built:
    """A build that is over; see `Built` for `skipped`."""
    from aibemu.reports.junit_builds import Built

    record = error_record(error) if error else None
    return Built(name=prepared.plan.template.name, summary=summary, error=record, skipped=skipped)


def refused(name: str, error: AibemuError) -> Built:
    """A template that cannot be built: all that was found is in the one case of its suite."""
    from aibemu.arm.diagnostics import TemplateInvalid
    from aibemu.reports.junit_builds import Built

    record = error_record(error)
    if isinstance(error, TemplateInvalid):
        record["details"] = [f"{one.span}: {one.id}: {one.message}" for one in error.diagnostics]
    return Built(name=name, error=record)


@contextmanager
def told_of_refusal(app: App, file: Path | None, options: BuildOptions) -> Iterator[None]:
    """What keeps the one template of a call from being built is in the document, too."""
    try:
        yield
    except AibemuError as error:
        write_junit(app, file, [refused(options.template.document.name, error)])
        raise


def check_junit(file: Path | None) -> None:
    """`UsageError` for a file that cannot be written, before anything is built."""
    if file is None:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        why = "is a folder" if file.is_dir() else "" if os.access(file.parent, os.W_OK | os.X_OK) else "no permission"
    except OSError as error:
        why = error.strerror or str(error)
    if why:
        raise UsageError(f"--junit {file} cannot be written: {why}", hint="name a file in a folder that you may write")


def write_junit(app: App, file: Path | None, builds: Sequence[Built]) -> None:
    """Write the document; nothing when no file was named. The builds are over: that it cannot be is a warning."""
    if file is None:
        return
    from aibemu.reports.junit_builds import render

    mask = app.redactor
    shown = [replace(one, name=mask.text(one.name), error=one.error and mask(one.error)) for one in builds]
    try:
        write_bytes(file, "".join(f"{clean_xml(line)}\n" for line in render(shown)).encode("ascii"))
    except OSError as error:
        app.warn(f"--junit {file} was not written: {error.strerror or error}")
