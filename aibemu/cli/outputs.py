"""`aibemu outputs [RUN]`: what a run made, where it is, and each run output as the service's JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.runs import Sizes, find_run, run_argument, sizes_of, summarize
from aibemu.images import stored_digest
from aibemu.reports.summary import OutputSummary, RunSummary


@click.command("outputs", short_help="What a run made, and where it is.")
@run_argument
@click.pass_obj
def command(app: App, run: str | None) -> None:
    """Show the outputs of RUN (the newest if left out): artifact ids, files, and the run outputs' JSON."""
    found = find_run(app, run)
    summary = summarize(found)
    data = [_as_json(app, summary, output) for output in summary.outputs]
    lines: list[str] = []
    for output, described in zip(summary.outputs, data, strict=True):
        lines.append(f"{output.run_output_name} ({output.target}): {output.status}")
        if output.artifact:
            lines.append(f"  artifact  {output.artifact}")
        for file in described["files"]:
            if file["image"]:
                lines.append(f"  image     {file['image'][:12]} (aibemu images show {file['image'][:12]})")
            lines.append(f"  file      {file['path']} ({_size(file)})")
        if output.error:
            lines.append(f"  error     {output.error}")
    if not lines:
        lines = [f"{summary.noun} has no outputs ({summary.shown_state})"]
    elif summary.dry_run:
        lines.insert(0, f"{summary.noun}: what a build would write")
    app.result({"run": found.id, "dryRun": summary.dry_run, "directory": str(found.outputs), "outputs": data}, lines)


def _as_json(app: App, summary: RunSummary, output: OutputSummary) -> dict[str, Any]:
    files = []
    for text in output.paths:
        path = Path(text)
        there = path.exists()
        sizes = sizes_of(path) if there else Sizes()
        files.append({"path": text, "exists": there, **sizes.as_json(), "image": stored_digest(path)})
    return {
        "runOutputName": output.run_output_name, "type": output.target, "status": output.status,
        "artifact": output.artifact, "files": files, "error": output.error,
        "runOutput": None if summary.dry_run else _document(app, summary, output.run_output_name),
    }  # fmt: skip


def _document(app: App, summary: RunSummary, name: str) -> Any:
    """As the local cloud has it: of the template's last run, which may be a later one."""
    from aibemu.cloud.local import LocalCloud
    from aibemu.errors import AibemuError

    try:
        return LocalCloud(app.home.cloud, app.clock).run_output(summary.template_id, name)
    except AibemuError:
        return None


def _size(file: dict[str, Any]) -> str:
    return str(Sizes(file["bytes"], file["bytesOnDisk"])) if file["exists"] else "gone"
