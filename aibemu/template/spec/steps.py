"""Customizers and in-VM validators (facts: service 1.3, 1.4)."""

from __future__ import annotations

from aibemu.template.spec.shapes import Array, Boolean, Era, Field, Integer, Record, Refusal, Text, Union, Variant
from aibemu.template.spec.versions import V2019_02, V2019_05, V2020_02, V2022_02, V2022_07

TEXT = Text()
LINES = Array(items=TEXT)

NAME = Field(name="name", shape=TEXT)
CHECKSUM = Field(name="sha256Checksum", shape=TEXT, era=Era(since=V2019_05), default="", aka=("sha256", "checksum"))
SCRIPT_URI = Field(name="scriptUri", shape=TEXT, era=Era(since=V2019_05), aka=("script", "scriptUrl", "uri"))
OLD_SCRIPT = Field(name="script", shape=TEXT, era=Era(until=V2019_05))
EXIT_CODES = Field(name="validExitCodes", shape=Array(items=Integer()), default=[0])


def inline(since: str = "") -> Field:
    """Commands, one a line."""
    return Field(name="inline", shape=LINES, era=Era(since=since), mistyped="E21", aka=("commands", "script"))


SHELL_FIELDS = (NAME, SCRIPT_URI, CHECKSUM, inline(V2019_02), OLD_SCRIPT)
FILE_FIELDS = (
    NAME,
    Field(name="sourceUri", shape=TEXT, aka=("scriptUri", "source", "sourceUrl", "uri")),
    CHECKSUM,
    Field(name="destination", shape=TEXT, aka=("target", "dest", "path")),
)
POWERSHELL_FIELDS = (
    NAME,
    SCRIPT_URI,
    CHECKSUM,
    inline(),
    EXIT_CODES,
    Field(name="runElevated", shape=Boolean(), era=Era(since=V2019_05), default=False),
    Field(name="runAsSystem", shape=Boolean(), era=Era(since=V2020_02), default=False),
    OLD_SCRIPT,
)
RESTART_FIELDS = (
    NAME,
    Field(name="restartCommand", shape=TEXT),
    Field(name="restartCheckCommand", shape=TEXT),
    Field(name="restartTimeout", shape=TEXT),
)
UPDATE_FIELDS = (
    NAME,
    Field(name="searchCriteria", shape=TEXT),
    Field(name="filters", shape=LINES),
    Field(name="updateLimit", shape=Integer(minimum=0)),
)

SHELL = Record(name="ImageTemplateShellCustomizer", what="a Shell customizer", fields=SHELL_FIELDS)
FILE = Record(name="ImageTemplateFileCustomizer", what="a File customizer", fields=FILE_FIELDS)
POWERSHELL = Record(name="ImageTemplatePowerShellCustomizer", what="a PowerShell customizer", fields=POWERSHELL_FIELDS)
RESTART = Record(name="ImageTemplateRestartCustomizer", what="a WindowsRestart customizer", fields=RESTART_FIELDS)
UPDATE = Record(name="ImageTemplateWindowsUpdateCustomizer", what="a WindowsUpdate customizer", fields=UPDATE_FIELDS)

CUSTOMIZER = Union(
    what="customizer",
    discriminator="type",
    open=True,
    variants=(
        Variant(tag="Shell", record=SHELL, era=Era(since=V2019_02)),
        Variant(tag="shell", record=SHELL, era=Era(until=V2019_02)),
        Variant(tag="PowerShell", record=POWERSHELL, era=Era(since=V2019_02)),
        Variant(tag="WindowsRestart", record=RESTART, era=Era(since=V2019_02)),
        Variant(tag="WindowsUpdate", record=UPDATE, era=Era(since=V2020_02)),
        Variant(tag="File", record=FILE, era=Era(since=V2019_05)),
    ),
)

_NO_VALIDATOR = "{tag} is a customizer, and none of the validators (Shell, PowerShell, File)"
VALIDATOR = Union(
    what="validator",
    discriminator="type",
    open=True,
    variants=(
        Variant(
            tag="Shell",
            record=Record(name="ImageTemplateShellValidator", what="a Shell validator", fields=SHELL_FIELDS),
            era=Era(since=V2022_02),
        ),
        Variant(
            tag="PowerShell",
            record=Record(
                name="ImageTemplatePowerShellValidator", what="a PowerShell validator", fields=POWERSHELL_FIELDS
            ),
            era=Era(since=V2022_02),
        ),
        Variant(
            tag="File",
            record=Record(name="ImageTemplateFileValidator", what="a File validator", fields=FILE_FIELDS),
            era=Era(since=V2022_07),
        ),
    ),
    refused={
        tag: Refusal(id="E80", message=_NO_VALIDATOR.format(tag=tag), hint="move it to customize")
        for tag in ("WindowsRestart", "WindowsUpdate")
    },
)

SCRIPT_FIELDS = frozenset({"inline", "filters", "searchCriteria", "restartCommand", "restartCheckCommand"})
"""Fields that hold text for a shell, where `<x>` need not be a placeholder."""
