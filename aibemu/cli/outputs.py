"""`aibemu outputs [RUN]`: what a run made, where it is, and each run output as the service's JSON."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import click

from aibemu.cli.app import App
from aibemu.cli.runs import Sizes, find_run, human_size, run_argument, sizes_of, summarize
from aibemu.clock import Deadline
from aibemu.errors import UsageError
from aibemu.images import stored_digest
from aibemu.reports.summary import OutputSummary, RunSummary


@click.command("outputs", short_help="What a run made, and where it is.")
@run_argument
@click.option("--box", type=click.Path(path_type=Path), metavar="FILE", help="Write the image as a box for Vagrant.")
@click.pass_obj
def command(app: App, run: str | None, box: Path | None) -> None:
    """Show the outputs of RUN (the newest if left out): artifact ids, files, and the run outputs' JSON.

    --box writes the image of RUN to FILE for `vagrant box add` (provider libvirt), with the user that Vagrant needs.
    """
    found = find_run(app, run)
    summary = summarize(found)
    if box is not None:
        _write_box(app, summary, box)
        return
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
        lines += [f"  would {piece}" for piece in output.would]
        if output.error:
            lines.append(f"  error     {output.error}")
    if not lines:
        lines = [f"{summary.noun} has no outputs ({summary.shown_state})"]
    elif summary.dry_run:
        lines.insert(0, f"{summary.noun}: what a build would write")
    app.result({"run": found.id, "dryRun": summary.dry_run, "directory": str(found.outputs), "outputs": data}, lines)


def _write_box(app: App, summary: RunSummary, target: Path) -> None:
    """All outputs of a run hold one disk: the first that is there is taken."""
    from aibemu.images.box import make_box
    from aibemu.images.store import ImageStore

    written = [] if summary.dry_run else [output for output in summary.outputs if output.status == "ok"]
    disk = next((path for output in written for path in map(Path, output.paths) if path.is_file()), None)
    if disk is None:
        raise UsageError(
            f"{summary.noun} has no image here to make a box of ({summary.shown_state})",
            hint="name a run whose image is still here", commands=["aibemu status"],
        )  # fmt: skip
    with ImageStore(app.home.images, app.clock).scratch() as scratch:
        made = make_box(disk, target, scratch, deadline=Deadline(clock=app.clock), say=app.say)
    if made.no_login:
        app.warn(
            f"Vagrant's user was not added to the box: {made.no_login}; `vagrant up` cannot log in, unless the "
            "template adds the user (docs/vagrant.md)"
        )
    lines = [
        f"{made.path} ({human_size(made.size)}): a box for Vagrant, provider libvirt",
        f"to use it: vagrant box add --name NAME {shlex.quote(str(made.path))}",
    ]
    app.result({"run": summary.id, "box": str(made.path), "bytes": made.size, "login": not made.no_login}, lines)


def _as_json(app: App, summary: RunSummary, output: OutputSummary) -> dict[str, Any]:
    files = []
    for text in output.paths:
        path = Path(text)
        there = path.exists()
        sizes = sizes_of(path) if there else Sizes()
        files.append({"path": text, "exists": there, **sizes.as_json(), "image": stored_digest(path)})
    return {
        "runOutputName": output.run_output_name, "type": output.target, "status": output.status,
        "artifact": output.artifact, "files": files, "error": output.error, "would": list(output.would),
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
