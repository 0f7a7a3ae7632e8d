"""`--out DIR`: the finished outputs in a folder of the user's, one folder per runOutputName."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from aibemu.cloud.local import LocalCloud
from aibemu.errors import UsageError
from aibemu.files import replacing, write_json
from aibemu.images import stored_digest
from aibemu.paths import safe_name
from aibemu.reports.summary import OutputSummary
from aibemu.runs.store import Run


def check_out(out: Path) -> None:
    """Before anything starts: the folder can be made and written. It is not made yet, for a dry run makes none."""
    hint = "name a folder that you may write"
    try:
        there = next(folder for folder in (out, *out.parents) if folder.is_symlink() or folder.exists())
        if not there.is_dir():
            raise UsageError(f"--out {out}: {there} is not a folder", hint=hint)
    except OSError as error:
        raise UsageError(f"--out {out}: {error.strerror}", hint=hint) from error
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"--out {out}: no permission to write there", hint=hint)


def link_outputs(
    out: Path, run: Run, outputs: Sequence[OutputSummary], template_id: str, cloud: LocalCloud
) -> list[Path]:  # fmt: skip
    """Link every finished output's files, its run output record and the logs; what was there under these names goes."""
    made = []
    out.mkdir(parents=True, exist_ok=True)
    for output in outputs:
        if output.status != "ok":
            continue
        name = output.run_output_name
        folder = out / safe_name(name)
        folder.mkdir(parents=True, exist_ok=True)
        for path in map(Path, output.paths):
            made.append(_link(path, folder / _file_name(path, name)))
        if document := cloud.run_output(template_id, name):
            write_json(folder / "runOutput.json", document)
    for log in ("customization.log", "validation.log"):
        if run.log(log).exists():
            made.append(_link(run.log(log), out / log))
    return made


def _file_name(path: Path, name: str) -> str:
    """A stored image is named by its hash; for people it is called after its output."""
    return f"{safe_name(name)}{path.suffix}" if stored_digest(path) else path.name


def _link(source: Path, target: Path) -> Path:
    """A hard link where both are on one file system, else a symbolic one; replaces `target` at once."""
    with replacing(target, sync=False) as temporary:
        try:
            temporary.hardlink_to(source)
        except OSError:
            temporary.symlink_to(source)
    return target
