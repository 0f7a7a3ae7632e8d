"""Customizers and in-VM validators (facts: service 1.3, 1.4)."""

from __future__ import annotations

from aibemu.template.spec.names import A_GUEST_PATH, A_LABEL, AN_ADDRESS, LINES, TEXT
from aibemu.template.spec.shapes import Array, Boolean, Era, Field, Integer, Record, Refusal, Union, Variant
from aibemu.template.spec.versions import V2019_02, V2019_05, V2020_02, V2022_02, V2022_07

NAME = Field(name="name", shape=A_LABEL, doc="What messages and logs call this step. Default: none.")
CHECKSUM = Field(
    name="sha256Checksum",
    shape=TEXT,
    doc="SHA-256 that the fetched file must have, 64 hex digits in lower case. Default: not checked.",
    era=Era(since=V2019_05),
    default="",
    aka=("sha256", "checksum"),
)
SCRIPT_URI = Field(
    name="scriptUri",
    shape=AN_ADDRESS,
    doc="Address of the script to run, fetched when the template is submitted. Either this or inline.",
    era=Era(since=V2019_05),
    aka=("script", "scriptUrl", "uri"),
    missing="E20",
)
OLD_SCRIPT = Field(
    name="script", shape=AN_ADDRESS, doc="Address of the script to run.", era=Era(until=V2019_05), instead="scriptUri"
)
EXIT_CODES = Field(
    name="validExitCodes",
    shape=Array(items=Integer()),
    doc="Exit codes of the script that are no failure. Default: [0].",
    default=[0],
)


def inline(since: str = "") -> Field:
    """Commands, one a line."""
    doc = "Commands to run, one in each entry, all in one script. Either this or scriptUri."
    aka = ("commands", "script")
    return Field(
        name="inline", shape=LINES, doc=doc, era=Era(since=since), missing="E20", mistyped="E21", aka=aka
    )  # fmt: skip


SHELL_FIELDS = (NAME, SCRIPT_URI, CHECKSUM, inline(V2019_02), OLD_SCRIPT)
FILE_FIELDS = (
    NAME,
    Field(
        name="sourceUri",
        shape=AN_ADDRESS,
        doc="Address of the file to copy into the machine, fetched when the template is submitted.",
        aka=("scriptUri", "source", "sourceUrl", "uri"),
    ),
    CHECKSUM,
    Field(
        name="destination",
        shape=A_GUEST_PATH,
        doc="Absolute path in the machine to copy the file to. Its folder has to exist, and on Linux the build user, "
        "who is not root, has to be able to write there.",
        aka=("target", "dest", "path"),
    ),
)
POWERSHELL_FIELDS = (
    NAME,
    SCRIPT_URI,
    CHECKSUM,
    inline(),
    EXIT_CODES,
    Field(
        name="runElevated",
        shape=Boolean(),
        doc="True: run with elevated privileges. Default: false.",
        era=Era(since=V2019_05),
        default=False,
    ),
    Field(
        name="runAsSystem",
        shape=Boolean(),
        doc="True: run elevated as Local System; runElevated has to be true as well. Default: false.",
        era=Era(since=V2020_02),
        default=False,
    ),
    OLD_SCRIPT,
)
RESTART_FIELDS = (
    NAME,
    Field(
        name="restartCommand",
        shape=TEXT,
        doc='Command that restarts the machine. Default: `shutdown /r /f /t 0 /c "packer restart"`.',
    ),
    Field(
        name="restartCheckCommand",
        shape=TEXT,
        doc="Command that succeeds once the machine is up again. Default: a check that PowerShell answers.",
    ),
    Field(
        name="restartTimeout",
        shape=TEXT,
        doc="How long the restart may take, as number and unit like `10m` or `2h`. Default: 5m.",
    ),
)
UPDATE_FIELDS = (
    NAME,
    Field(
        name="searchCriteria",
        shape=TEXT,
        doc="Which updates to look for, in the words of Windows Update. Default: `BrowseOnly=0 and IsInstalled=0`.",
    ),
    Field(
        name="filters",
        shape=LINES,
        doc="Which of the found updates to install: `include:EXPRESSION` and `exclude:EXPRESSION`, the first that fits "
        "decides. Default: all.",
    ),
    Field(
        name="updateLimit",
        shape=Integer(minimum=0),
        doc="How many updates to install at a time. Default: 0, which stands for 1000.",
    ),
)

_SCRIPT = ("scriptUri", "inline")
SHELL = Record(name="ImageTemplateShellCustomizer", what="a Shell customizer", fields=SHELL_FIELDS, one_of=_SCRIPT)
FILE = Record(name="ImageTemplateFileCustomizer", what="a File customizer", fields=FILE_FIELDS)
POWERSHELL = Record(
    name="ImageTemplatePowerShellCustomizer", what="a PowerShell customizer", fields=POWERSHELL_FIELDS, one_of=_SCRIPT
)  # fmt: skip
RESTART = Record(name="ImageTemplateRestartCustomizer", what="a WindowsRestart customizer", fields=RESTART_FIELDS)
UPDATE = Record(name="ImageTemplateWindowsUpdateCustomizer", what="a WindowsUpdate customizer", fields=UPDATE_FIELDS)

CUSTOMIZER = Union(
    what="customizer",
    discriminator="type",
    doc="What the step does: run a script (Shell, PowerShell), copy a file (File), restart (WindowsRestart) or install "
    "updates (WindowsUpdate).",
    plugins="customizers",
    variants=(
        Variant(tag="Shell", record=SHELL, era=Era(since=V2019_02)),
        Variant(tag="shell", record=SHELL, era=Era(until=V2019_02)),
        Variant(tag="PowerShell", record=POWERSHELL, era=Era(since=V2019_02)),
        Variant(tag="WindowsRestart", record=RESTART, era=Era(since=V2019_02)),
        Variant(tag="WindowsUpdate", record=UPDATE, era=Era(since=V2020_02, documented=V2019_05)),
        Variant(tag="File", record=FILE, era=Era(since=V2019_05)),
    ),
)

_NO_VALIDATOR = "{tag} is a customizer, and none of the validators (Shell, PowerShell, File)"
VALIDATOR = Union(
    what="validator",
    discriminator="type",
    doc="What the step does: run a script that fails when the image is bad (Shell, PowerShell), or copy a file (File).",
    plugins="customizers",
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
