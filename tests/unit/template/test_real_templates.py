"""Public templates as people wrote them: understood, or refused for a reason that holds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from aibemu.errors import UsageError
from aibemu.template.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.template.loader import load

SHARED = Path(os.environ.get("AIBEMU_SHARED") or Path(__file__).parents[4] / "shared")
TEMPLATES = SHARED / "data" / "templates"
KINDS = frozenset({"Shell", "File", "PowerShell", "WindowsRestart", "WindowsUpdate"})

pytestmark = pytest.mark.skipif(
    not TEMPLATES.is_dir(), reason=f"the public templates are not there ({TEMPLATES}; AIBEMU_SHARED names the folder)"
)

# What each has besides unresolved placeholders and expressions (E08), reviewed by hand. W05: apiVersion and dependsOn
# in a bare body; W02: aritfactTags; T03: no name; T04: the api version is an expression.
REVIEWED = {
    "armTemplateWinSIG": {"E08", "J01", "T04"},
    "helloImageTemplateforSIGfromWinSIG": {"E08", "T04"},
    "helloImageTemplateforSIG": {"E08", "T03", "W05"},
    "helloImageTemplateLinux": {"E08", "T03", "W05"},
    "helloImageTemplateWin": {"E08", "T03", "W05"},
    "existingVNETWindows": {"E08", "T04"},
    "helloImageTemplateMsi": {"E08", "T03", "W05"},
    "helloImageTemplate": {"E08", "S04", "T03", "W05"},
    "trigger": {"T01"},
    "devOpsEnvTemplate": {"E08", "W02"},
    "main": {"E08"},
    "GoldenLinuxImage": {"E04", "E08", "T03", "W05"},
}


def files(ending: str) -> list[Path]:
    return sorted(TEMPLATES.glob(f"*.{ending}"))


def findings(path: Path) -> tuple[Diagnostic, ...]:
    with pytest.raises(TemplateInvalid) as caught:
        load(path, known_kinds=KINDS)
    return caught.value.diagnostics


@pytest.mark.parametrize("path", files("json"), ids=lambda path: path.stem[-40:])
def test_findings_are_the_reviewed_ones(path: Path) -> None:
    name = path.stem.rsplit("_", 1)[-1]
    assert {d.id for d in findings(path)} == REVIEWED[name]


def test_the_broken_one_is_broken_where_it_is() -> None:
    (path,) = [path for path in files("json") if path.stem.endswith("armTemplateWinSIG")]
    line = next(i for i, text in enumerate(path.read_text().splitlines(), 1) if text.strip() == "<region>")

    (slip,) = [d for d in findings(path) if d.id == "J01"]

    assert slip.span.line == line
    assert slip.hint == 'write "<region>"'


GROUP = "/subscriptions/s/resourceGroups/g"
# What a user would do: sed the placeholders.
VALUES = {
    "<subscriptionID>": "00000000-0000-0000-0000-000000000000",
    "<imgBuilderId>": f"{GROUP}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/aib",
    "<scriptUrl>": "https://example.com/a.sh",
}


@pytest.mark.parametrize("path", [p for p in files("json") if "hello" in p.stem], ids=lambda path: path.stem[-40:])
def test_filled_in_they_are_valid(path: Path, tmp_path: Path) -> None:
    text = path.read_text(encoding="utf-8-sig")
    if "parameters(" in text:
        pytest.skip("needs expressions")
    for name, value in VALUES.items():
        text = text.replace(name, value)
    filled = tmp_path / path.name
    filled.write_text(text.replace("<", "").replace(">", ""))

    loaded = load(filled, known_kinds=KINDS)

    assert loaded.template.customize
    assert not [d for d in loaded.diagnostics if d.severity is Severity.ERROR]


@pytest.mark.parametrize("path", files("bicep"), ids=lambda path: path.stem[-40:])
def test_bicep_is_called_bicep(path: Path) -> None:
    with pytest.raises(UsageError, match="is Bicep"):
        load(path, known_kinds=KINDS)
