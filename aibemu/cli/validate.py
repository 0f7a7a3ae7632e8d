"""`aibemu validate FILE`: everything that is wrong with a template, all at once, each at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from aibemu import plugins
from aibemu.cli.app import App
from aibemu.cli.diagnostics import as_data, count, render
from aibemu.template.loader import Loaded, load
from aibemu.template.model import Template


@click.command("validate", short_help="Check a template, without running it.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", metavar="NAME", help="Which image template of FILE; or the name of one that has none.")
@click.option("--api-version", metavar="VERSION", help="Judge by this api version, whatever FILE says.")
@click.pass_obj
def command(app: App, file: Path, name: str | None, api_version: str | None) -> None:
    """Check the template in FILE as the service would, and say what it would refuse or silently ignore.

    Ends with 0 when the template is valid (warnings included), with 3 when it is not.
    """
    loaded = load(file, name=name, known_kinds=plugins.names("aibemu.customizers"), api_version=api_version)
    app.result(as_json(loaded), lines(loaded, color=app.color))


def as_json(loaded: Loaded) -> dict[str, Any]:
    """The answer for programs: {template, diagnostics}."""
    template = loaded.template
    return {
        "template": {
            "name": template.name,
            "apiVersion": template.api_version,
            "location": template.location,
            "file": template.file,
            "resource": dict(template.document),
        },
        "diagnostics": as_data(loaded.diagnostics),
    }


def lines(loaded: Loaded, *, color: bool) -> list[str]:
    """The answer for people: the findings, then one line about the template."""
    found = render(loaded.diagnostics, color=color)
    return [*found, *([""] if found else []), f"{summary(loaded.template)}: valid, {count(loaded.diagnostics)}"]


def summary(template: Template) -> str:
    """The template in one line."""
    count_ = len(template.customize)
    steps = f"{count_} customizer{'s' if count_ != 1 else ''}"
    targets = ", ".join(target.kind for target in template.distribute)
    return f"{template.name} (api version {template.api_version}, {steps}, to {targets})"
