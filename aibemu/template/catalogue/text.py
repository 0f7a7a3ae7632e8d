"""What the file is: JSON or not, a template or not, of which api version."""

from __future__ import annotations

from aibemu.arm.diagnostics import Severity
from aibemu.template.catalogue.example import document
from aibemu.template.catalogue.fragments import properties, resource, step, validator, whole
from aibemu.template.catalogue.model import Rule

_GOOD = resource('"tags": { "team": "images" }')
_TEXT = document(_GOOD)
_DEPTH = '{ "a": ' * 120 + "1" + " }" * 120
_TEMPLATE = _TEXT.replace(
    "{", '{\n  "type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01",', 1
)


def _deployment(*resources: str) -> str:
    schema = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
    return f'{{\n"$schema": "{schema}",\n"contentVersion": "1.0.0.0",\n"resources": [{", ".join(resources)}]\n}}'


RULES: tuple[Rule, ...] = (
    Rule(
        id="J01",
        level=Severity.ERROR,
        title="not JSON",
        why="A quote, a bracket, a comma or a colon is missing or too much, or a word is no JSON value. "
        "Nobody can read it.",
        fix="Mend it where the caret is. Comments and trailing commas are read all the same.",
        bad=whole(_TEXT.replace('"westeurope",', '"westeurope"', 1)),
        good=whole(_TEXT),
    ),
    Rule(
        id="J02",
        level=Severity.ERROR,
        title="a bad escape or character in a string",
        why="JSON knows only some escapes, and no control characters inside strings.",
        fix=r"Write a backslash twice (`c:\\temp`), a line break as `\n`.",
        bad=whole(_TEXT.replace("echo hello", r"type c:\windows")),
        good=whole(_TEXT.replace("echo hello", r"type c:\\windows")),
    ),
    Rule(
        id="J03",
        level=Severity.WARNING,
        title="a key that is there twice",
        why="The last one counts, for Azure too, and the first is lost without a word.",
        fix="Remove one of the two.",
        bad=whole(_TEXT.replace('"name": "web",', '"name": "web", "name": "web2",', 1)),
        good=whole(_TEXT),
    ),
    Rule(
        id="J04",
        level=Severity.ERROR,
        title="nested too deeply",
        why="No template goes as deep, and readers of JSON have bounds.",
        fix="A bracket is probably missing.",
        bad=whole(_DEPTH),
        good=whole(_TEXT),
    ),
    Rule(
        id="T01",
        level=Severity.ERROR,
        title="not an image template",
        why="The file is JSON and something else: a parameters file, a trigger, a resource of another type, "
        "a deployment template that deploys no image template.",
        fix="Name the file of the template itself.",
        bad=whole('{ "location": "westeurope", "properties": { "kind": "SourceImage" } }'),
        good=whole(_TEXT),
    ),
    Rule(
        id="T02",
        level=Severity.ERROR,
        title="which image template is meant",
        why="The deployment template declares several image templates, or none of the name that was asked for.",
        fix="Choose one with `--name`.",
        bad=whole(_deployment(_TEMPLATE, _TEMPLATE.replace('"name": "web"', '"name": "db"', 1))),
        good=whole(_deployment(_TEMPLATE)),
    ),
    Rule(
        id="T03",
        level=Severity.NOTE,
        title="the name is taken from the file",
        why="The body of a resource may have no name: in Azure it is part of the address.",
        fix="Choose one with `--name`, or leave it so.",
        bad=resource('"name": null'),
        good=_GOOD,
    ),
    Rule(
        id="T04",
        level=Severity.NOTE,
        title="the api version is assumed",
        why="The file does not say its api version; in Azure it is part of the address. The newest one is used.",
        fix="Choose one with `--api-version`.",
        bad=whole(_TEXT),
        good=whole(_deployment(_TEMPLATE)),
    ),
    Rule(
        id="T05",
        level=Severity.ERROR,
        title="an api version that is not there, or is refused",
        why="There are ten api versions; those before 2019-05-01-preview are refused since May 2020 (documented).",
        fix="Use the newest one you can.",
        bad=whole(_deployment(_TEMPLATE.replace("2024-02-01", "2024-02-11"))),
        good=whole(_deployment(_TEMPLATE)),
    ),
    Rule(
        id="S01",
        level=Severity.ERROR,
        title="a value of the wrong type",
        why="The service's schema wants text, a number, true or false, an array or an object, and gets another.",
        fix="Write it as the message says; often only quotes or brackets are too many or too few.",
        bad=properties('"vmProfile": { "osDiskSizeGB": "30" }'),
        good=properties('"vmProfile": { "osDiskSizeGB": 30 }'),
    ),
    Rule(
        id="S02",
        level=Severity.ERROR,
        title="a field is missing",
        why="The service refuses a template without it: 'Missing field ...' (documented).",
        fix="Add the field.",
        bad=resource('"location": null'),
        good=_GOOD,
    ),
    Rule(
        id="S03",
        level=Severity.ERROR,
        title="a value that the service does not take",
        why="The field takes only some values, or values of a certain form: 'Field ... has a bad value' (documented).",
        fix="Write one of those the message names.",
        bad=properties('"errorHandling": { "onCustomizerError": "clean" }'),
        good=properties('"errorHandling": { "onCustomizerError": "cleanup" }'),
    ),
    Rule(
        id="S04",
        level=Severity.WARNING,
        title="a field that only the service sets",
        why="What a GET shows has fields that the service sets itself, such as provisioningState. It ignores "
        "them in a template.",
        fix="Remove it.",
        bad=properties('"provisioningState": "Succeeded"'),
        good=_GOOD,
    ),
    Rule(
        id="P01",
        level=Severity.NOTE,
        title="a customizer that this aibemu cannot run",
        why="The service knows the type, and the template is checked; building it here needs a later version "
        "of aibemu, or a plugin. The template is valid; `aibemu plan` and `run` end with 4 and say what is missing.",
        fix="Check the template here, and build it in Azure.",
        bad=step('"type": "PowerShell", "name": "a", "inline": ["throw"]', system="windows"),
        good=_GOOD,
    ),
    Rule(
        id="P02",
        level=Severity.WARNING,
        title="a customizer or distributor that the service does not know",
        why="A plugin of this aibemu brings the type. Azure refuses the template.",
        fix="Use it here only.",
        bad=step('"type": "Plugin", "name": "a"'),
        good=_GOOD,
    ),
    Rule(
        id="E01",
        level=Severity.ERROR,
        title="an unknown field, or wrong case",
        why="From api version 2024-02-01 on the service refuses a template with a field it does not know, "
        "and minds case (documented: 'unknown field').",
        fix="Write the name as the message says, or remove the field.",
        bad=properties('"vmProfile": { "vmsize": "Standard_B2s" }'),
        good=properties('"vmProfile": { "vmSize": "Standard_B2s" }'),
    ),
    Rule(
        id="W02",
        level=Severity.WARNING,
        title="a field that is silently ignored, or wrong case",
        why="Before api version 2024-02-01 the service reads names in any case and drops what it does not "
        "know, without a word (documented). What was meant by the field does not happen.",
        fix="Write the name as the message says, or remove the field.",
        bad=properties('"vmProfile": { "vmSise": "Standard_B2s" }', "2022-07-01"),
        good=properties('"vmProfile": { "vmSize": "Standard_B2s" }', "2022-07-01"),
    ),
    Rule(
        id="E03",
        level=Severity.ERROR,
        title="an unknown type",
        why="There is no such source, customizer, validator, distributor or versioning scheme. Case matters.",
        fix="Write one of those the message names.",
        bad=step('"type": "shell", "inline": ["true"]'),
        good=step('"type": "Shell", "inline": ["true"]'),
    ),
    Rule(
        id="E04",
        level=Severity.ERROR,
        title="something newer than the api version",
        why="The field or type came with a later api version. From 2024-02-01 on the service refuses it; "
        "before, it is ignored, and this is a warning. Where Microsoft's articles have it for an older version, this "
        "is a note.",
        fix="Use a newer api version.",
        bad=properties('"additionalDataDisks": [{ "sizeGB": 10 }]', "2024-02-01"),
        good=properties('"additionalDataDisks": [{ "sizeGB": 10 }]', "2025-10-01"),
    ),
    Rule(
        id="W05",
        level=Severity.NOTE,
        title="something for ARM in the body of a resource",
        why="`apiVersion`, `dependsOn` and their like are instructions to ARM. `az image builder create` "
        "does not send them; sent by `az rest`, the service ignores or refuses them, depending on the "
        "api version.",
        fix="Remove it, or use the file in a deployment template.",
        bad=resource('"dependsOn": []'),
        good=_GOOD,
    ),
    Rule(
        id="E06",
        level=Severity.ERROR,
        title="the name of the template",
        why="A name has 1 to 64 letters, digits, `-`, `_` and `.` (documented).",
        fix="Choose another name.",
        bad=resource('"name": "web server"'),
        good=resource('"name": "web-server"'),
    ),
    Rule(
        id="E07",
        level=Severity.ERROR,
        title="the identity of the template",
        why="Since api version 2020-02-14 a template has exactly one user-assigned identity; the service "
        "reads sources and writes images with it (documented: \"Missing field 'identity'\").",
        fix="Name one identity by its resource id. Those of the build machine belong into vmProfile.",
        bad=resource('"identity": null'),
        good=_GOOD,
    ),
    Rule(
        id="E08",
        level=Severity.ERROR,
        title="an unresolved placeholder or expression",
        why="`<name>` is meant for sed, and `[function()]` for ARM, which evaluates only deployment "
        "templates. The service takes both as they are. So it does with placeholders of other tools: `#{name}#`, "
        "`$(name)`, `${name}`, `{{name}}`. In the text of a script, and in tags, this is a warning.",
        fix="Give placeholders values with `--set NAME=VALUE`, and let another tool fill in its own first; put "
        "expressions into a deployment template.",
        bad=resource('"location": "<region>"'),
        good=_GOOD,
    ),
    Rule(
        id="W09",
        level=Severity.WARNING,
        title="JSON that is not strict",
        why="Comments, trailing commas, raw tabs and text over several lines are read by aibemu, and by az in "
        "deployments; other programs, `az image builder create` among them, refuse them.",
        fix="Write strict JSON where other programs read the file.",
        bad=whole(_TEXT.replace('"echo hello"', '"echo hello",')),
        good=whole(_TEXT),
    ),
    Rule(
        id="E80",
        level=Severity.ERROR,
        title="a customizer that cannot validate",
        why="There are three validators: Shell, PowerShell and File. Restarts and updates would change what "
        "is validated.",
        fix="Move it to customize.",
        bad=validator('"type": "WindowsRestart"'),
        good=validator('"type": "Shell", "inline": ["true"]'),
    ),
    Rule(
        id="E81",
        level=Severity.ERROR,
        title="what cannot be a name",
        why="Names become parts of paths, of resource ids and of lines that people read. `.` and `..`, slashes, "
        "backslashes, characters that cannot be seen, a dot or a space at the end, and more than 255 bytes cannot be "
        "in one, here or in Azure. In an address this is about the name of the file.",
        fix="Choose another name.",
        bad=resource('"name": ".."'),
        good=_GOOD,
    ),
)
