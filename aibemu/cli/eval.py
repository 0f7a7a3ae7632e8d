"""`aibemu eval "[...]"`: the value of one expression, by itself or as in a template."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from aibemu.arm.diagnostics import ExpressionInvalid
from aibemu.cli.app import App
from aibemu.cli.template_options import VALUES
from aibemu.cli.template_options import options as value_options
from aibemu.settings import Settings
from aibemu.submission.request import Document, TemplateRequest, read_document
from aibemu.text import clean_json


@click.command("eval", short_help="Evaluate one expression.")
@click.argument("expression")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@value_options(VALUES)
@click.option("--explain", is_flag=True, help="Show what Azure says of the expression, too.")
@click.pass_obj
def command(app: App, /, expression: str, file: Path | None, explain: bool, **options: Any) -> None:
    """Print the value of EXPRESSION as JSON: "[concat('a', 'b')]", the brackets may be left out.

    With FILE, a deployment template, its parameters and variables, functions and resources can be used.
    """
    from aibemu.submission.evaluate import PLACE, evaluate_expression
    from aibemu.submission.parameters import supplied_secrets

    app.explain = explain
    settings = Settings.load(app.home.config)
    here = Path.cwd()
    nothing = Document(text="", name=PLACE, base=here)
    document = nothing if file is None else read_document(file, here)
    request = TemplateRequest(document=document, folder=here, **options)
    app.redactor.learn(supplied_secrets((*settings.supplied, *request.supplied)))
    found = evaluate_expression(
        expression, request, template=file is not None, home=app.home, settings=settings, clock=app.clock
    )
    app.redactor.learn(found.secrets)
    if found.failed:
        raise ExpressionInvalid(found.diagnostics, found.secrets, {PLACE: expression})
    value = app.redactor.document(found.value)
    # Whoever reads the JSON gets the value whole, so nothing in it is left for the screen to take out.
    app.result({"value": value}, [clean_json(json.dumps(value, indent=1, ensure_ascii=False))])
