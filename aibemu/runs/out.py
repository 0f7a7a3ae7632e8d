"""`--out DIR`: the finished outputs in a folder of the user's, one folder per runOutputName."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from aibemu.clock import Deadline
from aibemu.cloud.local import LocalCloud
from aibemu.distributors.sparse import duplicate, ensure_space_for_copies
from aibemu.errors import UsageError
from aibemu.files import PARTIAL, is_left, replacing, write_bytes, write_json
from aibemu.images import stored_digest
from aibemu.paths import safe_name
from aibemu.records import read_bytes
from aibemu.reports.summary import OutputSummary
from aibemu.runs.store import Run

LOGS = ("customization.log", "validation.log")
_HALVES = f".*{PARTIAL}"
_LONGEST_PATH = 64 * 1024  # bytes; a host takes less


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


def copy_outputs(
    out: Path, run: Run, outputs: Sequence[OutputSummary], template_id: str, cloud: LocalCloud, deadline: Deadline
) -> list[Path]:  # fmt: skip
    """Copy every finished output's files, its run output record and the logs; what was there under these names goes.

    Copies, no links: they are the user's, to write to. Where they go is noted with the run before, so that the next
    command finds what a process leaves half-written that dies here. `HostNotReady` when there is no room, and what
    `deadline` raises; what was copied by then stays.
    """
    wanted: list[tuple[Path, Path]] = []
    for output in outputs:
        if output.status == "ok":
            folder = out / safe_name(output.run_output_name)
            wanted += [(path, folder / _file_name(path, output.run_output_name)) for path in map(Path, output.paths)]
    wanted += [(run.log(log), out / log) for log in LOGS if run.log(log).exists()]
    out.mkdir(parents=True, exist_ok=True)
    ensure_space_for_copies([source for source, _ in wanted], out, f"the copies in {out}")
    write_bytes(run.out_file, os.fsencode(out))
    for source, target in wanted:
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as temporary:
            duplicate(source, temporary, deadline=deadline)
    for output in outputs:
        document = cloud.run_output(template_id, output.run_output_name) if output.status == "ok" else None
        if document:
            write_json(out / safe_name(output.run_output_name) / "runOutput.json", document)
    return [target for _, target in wanted]


def half_copied(run: Run) -> list[Path]:
    """What a process that died left half-written of the run's `--out`."""
    try:
        if not (name := read_bytes(run.out_file, largest=_LONGEST_PATH)):
            return []
        out = Path(os.fsdecode(name))
        return [path for path in (*out.glob(_HALVES), *out.glob(f"*/{_HALVES}")) if is_left(path)]
    except (OSError, ValueError):  # among them a `DamagedFile`
        return []


def _file_name(path: Path, name: str) -> str:
    """A stored image is named by its hash; for people it is called after its output."""
    return f"{safe_name(name)}{path.suffix}" if stored_digest(path) else path.name
