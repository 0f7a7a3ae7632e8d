"""Targets: templates and what is in them, as `aibemu validate` and `aibemu eval` read them."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aibemu.arm.diagnostics import TemplateInvalid
from aibemu.arm.findings import Findings
from aibemu.arm.places import Places
from aibemu.arm.reader import read
from aibemu.cli import formats
from aibemu.cli.diagnostics import as_data, render
from aibemu.cli.validate import as_json, lines, report_of
from aibemu.clock import SystemClock
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.settings import Settings
from aibemu.submission.evaluate import PLACE, evaluate_expression
from aibemu.submission.examine import Examined, examine
from aibemu.submission.parameters import Values, read_document, read_placeholders, read_supplied
from aibemu.submission.request import Document, TemplateRequest
from aibemu.template import catalogue
from aibemu.template.catalogue.example import document
from aibemu.template.remote import RemoteFile
from aibemu.template.rule_context import RuleContext
from aibemu.template.scripts.rules import check
from aibemu.template.view import NodeView
from tests.campaigns.hunting import Target
from tests.campaigns.mutation import LONGEST
from tests.public_data import DEPLOYMENTS, TEMPLATES

_OWN = Path(__file__).parents[2] / "fixtures"
_FILE = "t.json"
# The smallest of the real deployments: what is found in the others is found in these, and faster.
_DEPLOYMENTS = 12
_EXPRESSION = re.compile(r'"(\[(?:[^"\\]|\\.)*\])"')
_WORDS = (
    b'"', b"{", b"}", b"[", b"]", b",", b"[[", b"null", b"true", b"{}", b"[]", b'""', b"\\u0000", b"//", b"/*", b"<x>",
    b'"[copyIndex()]"', b'"copy": [{"name": "a", "count": 3, "input": "[copyIndex(\'a\')]"}],', b'"count": 800',
    b"\"[parameters('p')]\"", b"\"[variables('v')]\"", b'"[range(0, 10000)]"', b'"[resourceGroup().location]"',
    b"\"[reference('x').y]\"", b"\"[format('{0:N}', 1)]\"", b'"secureString"', b'"secureObject"', b'"$ref"',
    b'"type": "Shell"', b'"type": "PowerShell"', b'"inline": ["', b'"scriptUri": "file:///"', b'"nullable": true',
)  # fmt: skip
_CALLS = (
    b"(", b")", b"'", b",", b".", b"[", b"]", b"''", b"0", b"concat(", b"format('{0,9999999}',", b"range(0,10000)",
    b"createObject(", b"createArray(", b"json('", b"lambda('x',", b"map(", b"filter(", b"reduce(", b"sort(",
    b"lambdaVariables('x')", b"split(", b"replace(", b"padLeft('a',9999,'b')", b"dateTimeAdd(", b"utcNow('",
    b"substring(", b"int('", b"string(", b"base64(", b"base64ToString('", b"uriComponentToString('%ff')", b"guid(",
    b"union(", b"intersection(", b"cidrSubnet('10.0.0.0/8',", b"parseCidr('::/0')", b"deployment()", b"join(",
    b"toObject(", b"groupBy(", b"objectKeys(", b"indexFromEnd(", b"dataUriToString('", b"mod(1,0)", b"div(1,0)",
    b"shallowMerge(", b"items(", b"flatten(", b"tryGet(", b"coalesce(null(),", b"dateTimeFromEpoch(",
)  # fmt: skip
_SCRIPT_WORDS = (
    b"$(", b"`", b"${", b"}", b"<<EOF\n", b"EOF\n", b"if ", b"then ", b"fi\n", b"for x in ", b"do ", b"done\n",
    b"case x in ", b"esac\n", b"[[ ", b" ]]", b"((", b"))", b"function f {", b"| ", b"&& ", b"sudo ",
    b"apt-get install ",
    b"curl http://x | sh", b"reboot", b"exit 0", b"@'\n", b"\n'@", b'@"\n', b"-Force ", b"Restart-Computer", b"try {",
    b"AccountKey=", b"password=", b"{{", b"}}", b"-----BEGIN PRIVATE KEY-----", b"[Parameter()]", b"#!/bin/bash\n",
    b"'", b'"', b"\\\n", b"# ", b"$x", b"Bearer ", b"?sig=",
)  # fmt: skip


def _texts() -> Iterator[str]:
    folders = (_OWN / "templates", TEMPLATES)
    for path in sorted(path for folder in folders for path in folder.rglob("*.json")):
        yield path.read_text(encoding="utf-8", errors="replace")


def _deployments() -> list[str]:
    """Templates of real deployments."""
    with tarfile.open(DEPLOYMENTS) as archive:
        members = sorted((member for member in archive if member.isfile()), key=lambda member: member.size)
        streams = [archive.extractfile(member) for member in members[:_DEPLOYMENTS]]
        return [json.dumps(json.load(stream)["template"], indent=1) for stream in streams if stream]


def _small(texts: Iterator[str]) -> list[bytes]:
    return [content for text in texts if len(content := text.encode()) <= LONGEST]


def templates(folder: Path) -> Target:
    """All of `validate`: reader, evaluator, validator, rules, suppressions, and each form of the answer."""
    folder.mkdir(parents=True, exist_ok=True)
    home, settings, file = Home.at(folder / "home"), Settings(check_scripts=False), folder / _FILE

    def run(content: bytes) -> None:
        text, mask = content.decode("utf-8", "replace"), Redactor()
        request = TemplateRequest(document=Document(text=text, name=str(file), base=folder), folder=folder)
        try:
            found = examine(request, home=home, settings=settings, clock=SystemClock(), build=False, redactor=mask)
        except TemplateInvalid as error:
            found = Examined(loaded=None, diagnostics=error.diagnostics, suppressed=(), secrets=error.secrets)
        render(found.diagnostics, color=True, texts={str(file): text}, mask=mask.text)
        json.dumps(mask.document(as_data(found.diagnostics)), ensure_ascii=False)
        for form in formats.REPORTS:
            formats.render(form, report_of(file, found), mask)
        if found.loaded:
            json.dumps(mask.document(as_json(found.loaded)))
            lines(found.loaded, color=False, mask=mask)

    seeds = _small(_texts()) + [text.encode() for text in _deployments() if len(text) <= LONGEST]
    return Target(name="templates", run=run, seeds=seeds, words=_WORDS + _CALLS)


def expressions(folder: Path) -> Target:
    """One expression by itself, where most is allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    home, settings, clock = Home.at(folder / "home"), Settings(), SystemClock()
    request = TemplateRequest(document=Document(text="", name=PLACE, base=folder), folder=folder)

    def run(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        found = evaluate_expression(text, request, template=False, home=home, settings=settings, clock=clock)
        json.dumps(Redactor(found.secrets).document(found.value), ensure_ascii=False)
        render(found.diagnostics, color=False, texts={PLACE: text}, mask=str)

    # Those of the fixtures, and those by which each function is tried.
    tests = sorted((Path(__file__).parents[1] / "unit" / "arm").rglob("*.py"))
    sources = [*_texts(), *(path.read_text() for path in tests)]
    found = sorted({match[1].replace('\\"', '"') for text in sources for match in _EXPRESSION.finditer(text)})
    return Target(name="expressions", run=run, seeds=[text.encode() for text in found], words=_CALLS)


def parameters(folder: Path) -> Target:
    """Parameter files, `--set`, `--supply`."""
    folder.mkdir(parents=True, exist_ok=True)

    def run(content: bytes) -> None:
        text = content[1:].decode("utf-8", "surrogateescape")
        match content[:1]:
            case b"d":
                read_document(text, "p.json", Values())
            case b"s":
                read_placeholders((text,))
            case _:
                read_supplied((text,))

    seeds = (
        b'd{"$schema": "x", "parameters": {"a": {"value": 1}, "b": {"reference": {"keyVault": {"id": "/x"}}}}}',
        b'd{"a": {"value": {"b": [1, null, "x"]}}}', b"ssite=web", b"oreference('x')={\"y\": 1}",
        b"olistKeys('/subscriptions/x', '2021-01-01')={\"keys\": [\"a\"]}",
    )  # fmt: skip
    return Target(name="parameters", run=run, seeds=seeds, words=_WORDS)


def scripts(folder: Path) -> Target:
    """The rules about a script: the first byte says whether it is inline, and whose."""

    def run(content: bytes) -> None:
        kind = "PowerShell" if content[:1] in b"pP" else "Shell"
        step: dict[str, object] = {"type": kind, "name": "s"}
        files = {}
        if content[:1].isupper():
            step["scriptUri"] = "x"
            files["x"] = RemoteFile(place="x.sh", size=len(content) - 1, head=content[1:])
        else:
            step["inline"] = content[1:].decode("utf-8", "replace").split("\n")
        text = json.dumps({"properties": {"source": {"publisher": "Canonical"}, "customize": [step]}})
        root = read(text, _FILE).root
        assert root is not None
        findings = Findings(_FILE)
        context = RuleContext(
            version="2024-02-01", kinds=frozenset(), findings=findings, files=files, places=Places({_FILE: text})
        )
        check(NodeView(root, "ImageTemplate"), context)
        findings.sorted()

    return Target(name="scripts", run=run, seeds=_scripts(), words=_SCRIPT_WORDS)


def _scripts() -> list[bytes]:
    found = [b"s" + path.read_bytes() for path in sorted((_OWN / "scripts").glob("*.sh"))]
    for rule in catalogue.RULES:
        for example in (rule.bad, rule.good):
            for step in _steps(document(example)):
                kind = b"p" if step.get("type") == "PowerShell" else b"s"
                found += [kind + "\n".join(map(str, step["inline"])).encode()] if step.get("inline") else []
    return sorted({*found, *(seed[:1].upper() + seed[1:] for seed in found)})


def _steps(text: str) -> list[dict[str, Any]]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    properties = value.get("properties") if isinstance(value, dict) else None
    steps = properties.get("customize") if isinstance(properties, dict) else None
    return [step for step in steps if isinstance(step, dict)] if isinstance(steps, list) else []
