"""`aibemu validate FILE`: everything that is wrong with a template, all at once, each at its place."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from aibemu.arm.diagnostics import TemplateInvalid
from aibemu.cli import formats
from aibemu.cli.app import App
from aibemu.cli.diagnostics import as_data, count, render
from aibemu.cli.template_options import MAPPINGS, VALUES, WHICH, request_of, template_options
from aibemu.engine.preparing.buildable import runnable_kinds
from aibemu.events import Kind
from aibemu.redact import Redactor
from aibemu.settings import Settings
from aibemu.submission.examine import Examined, examine
from aibemu.template.loader import Loaded
from aibemu.template.model import Template


@click.command("validate", short_help="Check a template, without running it.")
@template_options(WHICH, VALUES, MAPPINGS)
@click.option("--online", is_flag=True, help="Look at scripts and files on the network too: there, unchanged, sane.")
@click.option("--disable", "disabled", metavar="ID", multiple=True, help="Do not show findings of this id.")
@click.option(
    "--format", "form", type=click.Choice(["human", "json", *formats.REPORTS]), help="How to answer (default: human)."
)
@click.pass_obj
def command(app: App, /, file: Path, form: str | None, **options: Any) -> None:
    """Check the template in FILE as the service would, and say what it would refuse, silently ignore, or fail at later.
    A valid template that this aibemu cannot build is valid; the answer says what is missing.

    FILE is JSON (the body of a resource, or a deployment template with parameters) or Bicep. Ends with 0 when the
    template is valid (warnings included), with 3 when it is not. `aibemu explain ID` tells more about a finding.
    """
    if form == "json":
        app.output = "json"
    settings = Settings.load(app.home.config)
    request = request_of(file, **options)
    place: dict[str, Any] = {"home": app.home, "settings": settings, "clock": app.clock, "redactor": app.redactor}

    def tell(kind: Kind, /, **fields: Any) -> None:
        """Tries that fail, of what is looked at with --online: there may be ten, each a while after the other."""
        if kind is Kind.NOTICE:
            app.warn(fields["message"])

    place |= {"build": False, "emit": tell, "kinds": runnable_kinds()}
    if form in (None, "human", "json"):
        _answer(app, examine(request, **place))
        return
    try:
        examined = examine(request, **place)
    except TemplateInvalid as error:
        examined = Examined(loaded=None, diagnostics=error.diagnostics, suppressed=(), secrets=error.secrets)
    for line in formats.render(str(form), report_of(file, examined), app.redactor):
        formats.WRITERS[str(form)](app.screen, line)
    if examined.loaded is None:
        sys.exit(TemplateInvalid.exit_code)


def report_of(file: Path, examined: Examined) -> formats.Report:
    """What the forms for other programs are made from."""
    suppressed = as_data(diagnostic for diagnostic, _ in examined.suppressed)
    reasons = [reason for _, reason in examined.suppressed]
    return formats.Report(
        file=str(file),
        name=examined.loaded.template.name if examined.loaded else None,
        valid=examined.loaded is not None,
        findings=as_data(examined.diagnostics),
        suppressed=list(zip(suppressed, reasons, strict=True)),
    )


def _answer(app: App, examined: Examined) -> None:
    loaded = examined.require()
    app.result(app.redactor.document(as_json(loaded)), lines(loaded, color=app.color, mask=app.redactor))


def as_json(loaded: Loaded) -> dict[str, Any]:
    """The answer for programs: {template, outputs, diagnostics, buildable, missing}."""
    from aibemu.engine.preparing.buildable import lacking

    template = loaded.template
    missing = lacking(template)
    return {
        "template": {
            "name": template.name,
            "apiVersion": template.api_version,
            "location": template.location,
            "file": template.file,
            "resource": dict(template.document),
        },
        "outputs": {name: {"type": output.type, "value": output.value} for name, output in loaded.outputs.items()},
        "diagnostics": as_data(loaded.diagnostics),
        "buildable": not missing,
        "missing": missing,
    }


def lines(loaded: Loaded, *, color: bool, mask: Redactor) -> list[str]:
    """The answer for people: the findings, then one line about the template."""
    found = render(loaded.diagnostics, color=color, mask=mask.text)
    from aibemu.engine.preparing.buildable import lacking

    missing = [one.partition(" (")[0] for one in lacking(loaded.template)]
    valid = f"valid, not buildable here (no {', no '.join(missing)})" if missing else "valid"
    return [*found, *([""] if found else []), f"{summary(loaded.template)}: {valid}, {count(loaded.diagnostics)}"]


def summary(template: Template) -> str:
    """The template in one line."""
    count_ = len(template.customize)
    steps = f"{count_} customizer{'s' if count_ != 1 else ''}"
    targets = ", ".join(target.kind for target in template.distribute)
    return f"{template.name} (api version {template.api_version}, {steps}, to {targets})"
