"""`aibemu report [RUN]`: how a run went, in the form that a CI system shows."""

from __future__ import annotations

import click

from aibemu.cli.app import App
from aibemu.cli.runs import find_run, run_argument, summarize
from aibemu.views.screen import Screen

FORMATS = ("junit", "markdown")


@click.command("report", short_help="How a run went, for a CI system: JUnit, Markdown.")
@run_argument
@click.option("--format", "form", type=click.Choice(FORMATS), default="markdown", help="Default: markdown.")
@click.pass_obj
def command(app: App, run: str | None, form: str) -> None:
    """Tell of RUN, or of the newest run, as JUnit XML or as Markdown for the summary page of a job.

    Each step, validator and output is a test case of the JUnit. Of a run that goes on still it tells what is over.
    """
    found = find_run(app, run)
    summary = summarize(found)
    if form == "junit":
        from aibemu.reports import run_junit

        lines, write = run_junit.render([summary]), Screen.xml
    else:
        from aibemu.reports import markdown

        lines, write = markdown.run(summary), Screen.line
    if app.output == "json":
        app.result({"run": found.id, "format": form, "text": "\n".join(lines)}, [])
        return
    for line in lines:
        write(app.screen, line)
