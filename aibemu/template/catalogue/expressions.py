"""Expressions, parameters, and what only Azure knows (facts: clients 3; Microsoft's documentation of ARM templates)."""

from __future__ import annotations

from aibemu.arm.diagnostics import Severity
from aibemu.template.catalogue.model import Example, Rule


def _deployment(*, parameters: str = "{}", variables: str = "{}", location: str = "westeurope", more: str = "") -> str:
    """A whole deployment template with one image template in it."""
    return f"""{{
  "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
  "contentVersion": "1.0.0.0",
  "parameters": {parameters},
  "variables": {variables},
  "resources": [
    {{
      "type": "Microsoft.VirtualMachineImages/imageTemplates",
      "apiVersion": "2024-02-01",
      "name": "web",
      "location": "{location}",{more}
      "identity": {{
        "type": "UserAssigned",
        "userAssignedIdentities": {{
          "[resourceId('Microsoft.ManagedIdentity/userAssignedIdentities', 'builder')]": {{}}
        }}
      }},
      "properties": {{
        "source": {{
          "type": "PlatformImage", "publisher": "Debian", "offer": "debian-12", "sku": "12-gen2", "version": "latest"
        }},
        "customize": [{{ "type": "Shell", "name": "greet", "inline": ["echo hello"] }}],
        "distribute": [{{ "type": "VHD", "runOutputName": "disk" }}]
      }}
    }}
  ]
}}
"""


def _with_deployment(properties: str) -> str:
    """The same with a nested deployment before it."""
    text = _deployment()
    nested = (
        '{ "type": "Microsoft.Resources/deployments", "apiVersion": "2022-09-01", "name": "network",'
        f' "properties": {{ "mode": "Incremental", {properties} }} }},'
    )
    return text.replace('"resources": [', f'"resources": [\n    {nested}', 1)


_EMPTY = (
    '{"$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",'
    ' "contentVersion": "1.0.0.0", "resources": []}'
)


def _whole(text: str) -> Example:
    return Example(text=text, whole=True)


_GOOD = _whole(_deployment(location="[resourceGroup().location]"))

RULES: tuple[Rule, ...] = (
    Rule(
        id="T06",
        level=Severity.NOTE,
        title="a linked template that is not read",
        why="A nested deployment with a `templateLink` has its template elsewhere. aibemu looks only into "
        "templates that are in the file.",
        fix="Give aibemu the file of the linked template.",
        bad=_whole(_with_deployment('"templateLink": {"uri": "https://example.com/network.json"}')),
        good=_whole(_with_deployment(f'"template": {_EMPTY}')),
    ),
    Rule(
        id="X01",
        level=Severity.ERROR,
        title="an expression that cannot be read",
        why="Text in brackets is an expression of the ARM template language, and this one is not well "
        "formed: a quote, a bracket or a comma is missing, or it is meant as ordinary text. ARM refuses "
        "the whole deployment.",
        fix="Mend it where the caret is. Text stands in single quotes; text that only looks like an "
        "expression starts with two brackets: `[[...]`.",
        bad=_whole(_deployment(location="[resourceGroup(.location]")),
        good=_GOOD,
    ),
    Rule(
        id="X02",
        level=Severity.ERROR,
        title="a function that does not exist, or is called with the wrong arguments",
        why="The ARM template language has a fixed set of functions, each with a fixed set of arguments. ARM refuses "
        "the deployment when a name is unknown or an argument is of the wrong type.",
        fix="Check the name and the arguments; `aibemu eval \"[...]\"` tries an expression.",
        bad=_whole(_deployment(location="[toLowr('WestEurope')]")),
        good=_whole(_deployment(location="[toLower('WestEurope')]")),
    ),
    Rule(
        id="X03",
        level=Severity.ERROR,
        title="an expression that has no value",
        why="The expression is well formed, and its evaluation fails: an item or a property that is not there, text "
        "that is not a number, a circle of parameters or variables; or the template is larger than ARM takes.",
        fix="Mend the expression, or guard it: tryGet() gives null for what is not there, coalesce() something for "
        "null.",
        bad=_whole(_deployment(variables='{"regions": ["westeurope"]}', location="[variables('regions')[1]]")),
        good=_whole(_deployment(variables='{"regions": ["westeurope"]}', location="[variables('regions')[0]]")),
    ),
    Rule(
        id="X04",
        level=Severity.ERROR,
        title="a parameter or variable that is not declared",
        why="ARM refuses a template that uses a parameter, variable, lambda variable or loop it does not declare. "
        "Names are compared without case.",
        fix="Declare it, or mend the name.",
        bad=_whole(_deployment(variables='{"region": "westeurope"}', location="[variables('reqion')]")),
        good=_whole(_deployment(variables='{"region": "westeurope"}', location="[variables('region')]")),
    ),
    Rule(
        id="X05",
        level=Severity.ERROR,
        title="a parameter without a value",
        why="The parameter has no default, and no value was given. ARM refuses the deployment; az asks for it.",
        fix="Give it a value with `--parameters NAME=VALUE` or a parameters file, or give it a `defaultValue`.",
        bad=_whole(_deployment(parameters='{"region": {"type": "string"}}', location="[parameters('region')]")),
        good=_whole(
            _deployment(
                parameters='{"region": {"type": "string", "defaultValue": "westeurope"}}',
                location="[parameters('region')]",
            )
        ),
    ),
    Rule(
        id="X06",
        level=Severity.ERROR,
        title="a parameter's value that does not fit its declaration",
        why="The value is of another type than declared, is none of the `allowedValues`, is too long, too short, too "
        "large or too small; or the parameter is not declared at all. ARM refuses the deployment.",
        fix="Give another value, or change the declaration.",
        bad=_whole(
            _deployment(
                parameters='{"region": {"type": "string", "defaultValue": "mars", "allowedValues": ["westeurope"]}}',
                location="[parameters('region')]",
            )
        ),
        good=_whole(
            _deployment(
                parameters='{"region": {"type": "string", "defaultValue": "westeurope",'
                ' "allowedValues": ["westeurope"]}}',
                location="[parameters('region')]",
            )
        ),
    ),
    Rule(
        id="X07",
        level=Severity.ERROR,
        title="a value that only Azure knows",
        why="reference(), listKeys() and their like ask Azure about resources that exist there. What the template "
        "itself declares is answered from it; anything else cannot be known here. The service would know it, so this "
        "is an error of aibemu's, not of the template.",
        fix="Supply the value: `--supply \"reference('ID')={...}\"`, or in the setting `supplied`.",
        bad=_whole(_deployment(location="[reference('network', '2023-09-01', 'Full').location]")),
        good=_GOOD,
    ),
    Rule(
        id="X08",
        level=Severity.ERROR,
        title="dependsOn names a resource that is not there",
        why="`dependsOn` may only name resources of the same template, by name, by resource id or by symbolic name. "
        "ARM refuses the template otherwise ('The resource is not defined in the template').",
        fix="Remove the entry, or mend the name.",
        bad=_whole(_deployment(more='\n      "dependsOn": ["builder"],')),
        good=_whole(_deployment(more='\n      "dependsOn": [],')),
    ),
    Rule(
        id="X09",
        level=Severity.ERROR,
        title="a deployment template whose frame ARM does not take",
        why="A template has a `$schema` of a version that ARM knows, a `contentVersion` and `resources`; its parts are "
        "objects or arrays; the outermost template and its resources have only members that ARM knows; and some things "
        "need a `languageVersion`. ARM refuses the template before it evaluates anything ('InvalidTemplate', 'Could "
        "not find member').",
        fix="Write what is missing, or remove what ARM does not know. Remarks go into `metadata`, or a comment.",
        bad=_whole(_deployment().replace('"contentVersion": "1.0.0.0"', '"contentVersion": ""')),
        good=_GOOD,
    ),
    Rule(
        id="X10",
        level=Severity.ERROR,
        title="a declaration that ARM refuses",
        why="ARM checks every parameter, type, variable, output and function that a template declares, used or not: "
        "names, types and constraints that fit together, and the values of outputs.",
        fix="Mend the declaration, or remove it when nothing uses it.",
        bad=_whole(_deployment(variables='{"region": null}')),
        good=_whole(_deployment(variables='{"region": "[null()]"}')),
    ),
    Rule(
        id="X11",
        level=Severity.ERROR,
        title="a resource that ARM refuses",
        why="Each resource of a template has a type, an apiVersion, and a name with a part for each part of the type; "
        "no two of a template may be the same resource, and dependsOn may not go round in a circle. ARM refuses the "
        "deployment otherwise. Two loops of one name are a warning.",
        fix="Mend the resource. The name of a child is that of its parent, a `/` and its own: `gallery/image`.",
        bad=_whole(_deployment(more='\n      "dependsOn": ["web"],')),
        good=_whole(_deployment(more='\n      "dependsOn": [],')),
    ),
    Rule(
        id="X12",
        level=Severity.WARNING,
        title="brackets of a shell in a deployment template",
        why="A text that begins with `[[` and ends with `]` loses its first bracket: so ARM has text that looks like "
        "an expression (documented). Of bash's `[[ ... ]]` a line remains that no shell reads.",
        fix="Write three brackets, `[[[ ... ]]`, or put something before them: `true; [[ ... ]]`.",
        bad=_whole(_deployment().replace("echo hello", "[[ -f /etc/os-release ]]")),
        good=_whole(_deployment().replace("echo hello", "test -f /etc/os-release")),
    ),
)  # fmt: skip
