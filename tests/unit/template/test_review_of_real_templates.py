"""A review of public templates: exactly these findings at these lines, each with the reason why an expert says so too.

With the values that a user would give (`test_real_templates`). What the table does not list must not be found: people
who are told what is not so stop reading.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest

from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.template.loader import Inputs, load
from tests.unit.template.test_real_templates import (
    CASES,
    KINDS,
    PARAMETERS,
    PLACEHOLDERS,
    given_of,
    inputs,
    path_of,
)


class Finding(NamedTuple):
    line: int
    id: str
    because: str


ARM_ONLY = "the body of the resource has no such field; only az rest sends it, and 2024-02-01 refuses it then"
BIONIC = "Ubuntu 18.04 is out of standard support, and its images are marked as deprecated"
FOCAL = "Ubuntu 20.04 is out of standard support"
LOOSE = "scripts and files from a public repository, unlike their neighbour without a checksum; once, at the first"
ASKS = "apt install without -y gives up when it has anything to ask"
GOES_ON = "mkdir fails when the folder is there, and PowerShell goes on"

REVIEW: dict[str, tuple[Finding, ...]] = {
    "helloImageTemplateLinux": (
        Finding(3, "W05", ARM_ONLY),
        Finding(5, "W05", ARM_ONLY),
        Finding(31, "W12", BIONIC),
        Finding(39, "W27", LOOSE),
        Finding(69, "W36", ASKS),
    ),
    "helloImageTemplateWin.": (
        Finding(3, "W05", ARM_ONLY),
        Finding(5, "W05", ARM_ONLY),
        Finding(40, "W27", LOOSE),
        Finding(59, "W47", GOES_ON),
    ),
    "Linux_Shared_Image_Gallery_Image_helloImageTemplateforSIG.": (
        Finding(3, "W05", ARM_ONLY),
        Finding(5, "W05", ARM_ONLY),
        Finding(32, "W12", FOCAL),
        Finding(40, "W27", LOOSE),
        Finding(71, "W36", ASKS),
    ),
    "existingVNETWindows": (
        Finding(65, "W27", LOOSE),
        Finding(83, "W47", GOES_ON),
    ),
    "helloImageTemplateforSIGfromWinSIG": (
        Finding(60, "W47", GOES_ON),
        Finding(65, "W42", "updates on an image of one's own, after a script, without a restart before"),
        Finding(84, "W54", "judged by 2022-07-01, which brought targetRegions"),
    ),
    "helloImageTemplateMsi": (
        Finding(3, "W05", ARM_ONLY),
        Finding(5, "W05", ARM_ONLY),
        Finding(21, "W12", BIONIC),
        Finding(29, "W27", "a script from an address, without a checksum"),
    ),
    "Trigger_with_a_Custom_Linux_Image_helloImageTemplate.": (
        Finding(2, "W05", ARM_ONLY),
        Finding(12, "S04", "exactVersion was copied from an answer of the service"),
        Finding(15, "W12", BIONIC),
        Finding(49, "W36", ASKS),
    ),
    "devOpsEnvTemplate": (
        Finding(42, "W12", BIONIC),
        Finding(72, "W02", "aritfactTags: the tags are lost without a word"),
    ),
    "GoldenLinuxImage": (
        Finding(3, "W05", ARM_ONLY),
        Finding(5, "W05", ARM_ONLY),
        Finding(19, "E04", "the api version of 2019 has no stagingResourceGroup, and ignores it"),
        Finding(22, "E04", "the schema of 2019 has no osDiskSizeGB, Microsoft's article of that time has it; a note"),
        Finding(29, "W12", BIONIC),
        Finding(37, "W38", "the first step runs apt inside of bash -c; Ubuntu's own timers may hold its lock"),
        Finding(50, "W27", "an HTML page from a public repository, without a checksum"),
    ),
    "armTemplateWinSIG": (
        Finding(45, "W12", "Windows 10 is out of support; a note, for in Azure it still gets updates"),
        Finding(57, "W54", "judged by 2022-07-01, which brought targetRegions"),
        Finding(58, "J01", "<region> without quotes is no JSON"),
    ),
    "_trigger.": (Finding(1, "T01", "a trigger is no image template"),),
}


def others(part: str) -> Inputs:
    """For what is no template in the end: the values that it asks for."""
    text = path_of(part).read_text(encoding="utf-8")
    values = {**PLACEHOLDERS, "skuName": "win10-22h2-ent", "machinesku": "Standard_D2s_v3"}
    used = {name: value for name, value in values.items() if re.search(rf'"[^"\n]*<{name}>', text)}
    return Inputs(given=given_of(PARAMETERS if "parameters(" in text else {}), placeholders=used)


def findings(part: str) -> tuple[Diagnostic, ...]:
    case = next((case for case in CASES if case.file == part), None)
    try:
        return load(
            path_of(part), known_kinds=KINDS, inputs=inputs(case) if case else others(part), build=False
        ).diagnostics
    except TemplateInvalid as error:
        return error.diagnostics


@pytest.mark.parametrize("part", REVIEW)
def test_the_program_finds_what_an_expert_finds(part: str) -> None:
    found = [(d.span.line, d.id) for d in findings(part) if d.severity is not Severity.NOTE or d.id != "T03"]

    assert found == [(finding.line, finding.id) for finding in REVIEW[part]]


def test_every_template_is_reviewed() -> None:
    # The module of Azure Verified Modules has a test of its own: test_avm_module.
    left = {case.file for case in CASES} - set(REVIEW)
    assert left == set()


def test_findings_say_what_to_do() -> None:
    for part in REVIEW:
        for found in findings(part):
            assert found.id == "W05" or found.hint or found.severity is Severity.ERROR, found
