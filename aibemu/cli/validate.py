"""`aibemu validate FILE...`: everything that is wrong with templates, all at once, each at its place."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from aibemu.arm.diagnostics import Severity, TemplateInvalid
from aibemu.cli import formats
from aibemu.cli.app import App
from aibemu.cli.diagnostics import as_data, count, render
from aibemu.cli.formats import report_files
from aibemu.cli.render import as_json as error_json
from aibemu.cli.render import human
from aibemu.cli.template_options import FILES, MAPPINGS, VALUES, WHICH, options, request_of
from aibemu.engine.preparing.lacking import runnable_kinds
from aibemu.events import Kind
from aibemu.redact import Redactor
from aibemu.settings import Settings
from aibemu.submission.examine import Examined, examine
from aibemu.submission.request import TemplateRequest, may_hold_template
from aibemu.template.loader import Loaded
from aibemu.template.model import Template
from aibemu.text import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """One FILE, judged. error: why there is no template."""

    file: Path
    examined: Examined
    error: TemplateInvalid | None = None


@click.command("validate", short_help="Check templates, without running them.")
@options(FILES)
@options(WHICH, VALUES, MAPPINGS)
@click.option("--online", is_flag=True, help="Look at scripts and files on the network too: there, unchanged, sane.")
@click.option("--explain", is_flag=True, help="Show what Azure says of an expression, too.")
@click.option("--disable", "disabled", metavar="ID", multiple=True, help="Do not show findings of this id.")
@click.option(
    "--fail-on",
    type=click.Choice(["error", "warning", "note"]),
    default="error",
    show_default=True,
    help="End with 3 when there is a finding as bad as this, or worse.",
)
@click.option(
    "--templates-only", is_flag=True, help="Pass over files that hold no image template, as a hook gets them."
)
@click.option(
    "--format", "form", type=click.Choice(["human", "json", *formats.REPORTS]), help="How to answer (default: human)."
)
@click.option(
    "--report", "wanted", metavar="FORMAT=PATH", multiple=True, callback=report_files,
    help=f"Write the findings to PATH too. FORMAT: {', '.join(formats.REPORTS)}.",
)  # fmt: skip
@click.pass_obj
def command(
    app: App,
    /,
    files: tuple[Path, ...],
    form: str | None,
    wanted: formats.Wanted,
    templates_only: bool,
    fail_on: str,
    **given: Any,
) -> None:
    """Check the template in each FILE as the service would, and say what it would refuse, silently ignore, or fail at
    later. A valid template that this aibemu cannot build is valid; the answer says what is missing.

    FILE is JSON (the body of a resource, or a deployment template with parameters) or Bicep, `-` is standard input;
    options count for each. Ends with 0 when all templates are valid (warnings included, see --fail-on), with 3 when one
    is not. `aibemu explain ID` tells more about a finding.
    """
    app.explain = given.pop("explain")
    if form == "json":
        app.output = "json"
    settings = Settings.load(app.home.config)
    requests = [(file, request_of(file, **given)) for file in files]
    if templates_only:
        requests = [(file, one) for file, one in requests if may_hold_template(one.document.text)]
    checked = [_checked(app, settings, file, request) for file, request in requests]
    made = [report_of(one.file, one.examined) for one in checked]
    for name, path in wanted:
        formats.save(name, path, made, app.redactor)
    if form not in (None, "human", "json"):
        for line in formats.render(str(form), made, app.redactor):
            formats.WRITERS[str(form)](app.screen, line)
    elif len(files) == 1 and checked:
        _answer(app, checked[0])
    else:
        _answer_all(app, checked)
    if not all(report.valid for report in made):
        sys.exit(TemplateInvalid.exit_code)
    if bad := sum(_is_as_bad(finding, fail_on) for report in made for finding in report.findings):
        app.say(f"the exit code is {TemplateInvalid.exit_code}: {counted(bad, 'finding')} (--fail-on {fail_on})")
        sys.exit(TemplateInvalid.exit_code)


def _is_as_bad(finding: Mapping[str, Any], level: str) -> bool:
    order = [severity.value for severity in Severity]
    return order.index(str(finding["severity"])) <= order.index(level)


def _checked(app: App, settings: Settings, file: Path, request: TemplateRequest) -> Checked:
    def tell(kind: Kind, /, **fields: Any) -> None:
        """Tries that fail, of what is looked at with --online: there may be ten, each a while after the other."""
        if kind is Kind.NOTICE:
            app.warn(fields["message"])

    examined = None
    try:
        examined = examine(
            request, home=app.home, settings=settings, clock=app.clock, redactor=app.redactor, build=False, emit=tell,
            kinds=runnable_kinds(),
        )  # fmt: skip
        examined.require()
    except TemplateInvalid as error:
        app.redactor.learn(error.secrets)
        unread = Examined(loaded=None, diagnostics=error.diagnostics, suppressed=(), secrets=error.secrets)
        return Checked(file=file, examined=examined or unread, error=error)
    return Checked(file=file, examined=examined)


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


def _answer(app: App, checked: Checked) -> None:
    if checked.error:
        raise checked.error
    loaded = checked.examined.require()
    app.result(app.redactor.document(as_json(loaded)), lines(loaded, color=app.color, mask=app.redactor))


def _answer_all(app: App, checked: Sequence[Checked]) -> None:
    """The answer about several files: each as if it were alone, then how many of them are valid."""
    invalid = [one for one in checked if one.error]
    if app.output == "json":
        found = tuple(finding for one in invalid for finding in one.examined.diagnostics)
        secrets = frozenset(secret for one in invalid for secret in one.examined.secrets)
        data = {"templates": [app.redactor.document(_one_json(one)) for one in checked]}
        error = error_json(TemplateInvalid(found, secrets)) if invalid else None
        app.envelope("error" if invalid else "success", data=data, error=error)
        return
    for one in checked:
        if one.error:
            for line in human(one.error, app.redactor, color=app.error_color, explain=app.explain):
                app.complain(line)
        else:
            for line in lines(one.examined.require(), color=app.color, mask=app.redactor):
                app.show(line)
    if not checked:
        app.show("no image template in the files given")
    elif len(checked) > 1:
        app.show(f"{counted(len(checked), 'template')}: {len(checked) - len(invalid)} valid, {len(invalid)} not valid")


def _one_json(checked: Checked) -> dict[str, Any]:
    """{file, valid} and what `as_json` says of a valid one, {diagnostics} of another."""
    loaded = checked.examined.loaded
    told = as_json(loaded) if loaded else {"diagnostics": as_data(checked.examined.diagnostics)}
    return {"file": str(checked.file), "valid": loaded is not None, **told}


def as_json(loaded: Loaded) -> dict[str, Any]:
    """The answer for programs: {template, outputs, diagnostics, buildable, missing}."""
    from aibemu.engine.preparing.lacking import lacking

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
    from aibemu.engine.preparing.lacking import lacking

    missing = [one.partition(" (")[0] for one in lacking(loaded.template)]
    valid = f"valid, not buildable here (no {', no '.join(missing)})" if missing else "valid"
    return [*found, *([""] if found else []), f"{summary(loaded.template)}: {valid}, {count(loaded.diagnostics)}"]


def summary(template: Template) -> str:
    """The template in one line."""
    count_ = len(template.customize)
    steps = f"{count_} customizer{'s' if count_ != 1 else ''}"
    targets = ", ".join(target.kind for target in template.distribute)
    return f"{template.name} (api version {template.api_version}, {steps}, to {targets})"
