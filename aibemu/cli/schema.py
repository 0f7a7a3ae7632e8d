"""`aibemu schema`: the JSON Schema of image templates, for the completion and the red lines of an editor."""

from __future__ import annotations

import json

import click

from aibemu import plugins
from aibemu.cli.app import App
from aibemu.template.api_versions import check_option
from aibemu.template.spec import NEWEST
from aibemu.template.spec.json_schema import for_body, for_deployment


@click.command("schema", short_help="Print the JSON Schema of image templates, for an editor.")
@click.option("--api-version", metavar="VERSION", default=NEWEST, help=f"Of this api version (default: {NEWEST}).")
@click.option("--deployment", is_flag=True, help="For deployment templates, where any value may be an expression.")
@click.pass_obj
def command(app: App, api_version: str, deployment: bool) -> None:
    """Print a JSON Schema (draft-07) of image templates: names, types, bounds and descriptions of all fields.

    It is for files that hold the body of an image template; in VS Code, after `aibemu schema > aib.schema.json`, with
    this in settings.json:

    \b
      "json.schemas": [{"fileMatch": ["*.aib.json"], "url": "./aib.schema.json"}]

    A deployment template names its own "$schema", and VS Code goes by that name: say that it stands for this schema
    instead, made with --deployment.

    \b
      "json.schemas": [{
        "url": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "schema": {"$ref": "file:///FOLDER/aib.schema.json"}}]

    A schema sees one field at a time: `aibemu validate` knows more.
    """
    check_option(api_version)
    make = for_deployment if deployment else for_body
    schema = make(api_version, plugins.names("aibemu.customizers"), plugins.names("aibemu.distributors"))
    app.result(schema, json.dumps(schema, indent=2, ensure_ascii=False).split("\n"))
