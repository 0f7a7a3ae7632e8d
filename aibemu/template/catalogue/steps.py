"""Customizers and validators: what to run, with which file, on which system."""

from __future__ import annotations

from aibemu.arm.diagnostics import Severity
from aibemu.template.catalogue.fragments import properties, step
from aibemu.template.catalogue.model import Example, Rule

_SUM = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_URL = "https://example.com/setup.sh"


def _script(checksum: str = "", files: dict[str, str] | None = None, uri: str = "setup.sh", kind: str = "") -> Example:
    member = f', "sha256Checksum": "{checksum}"' if checksum else ""
    text = f'"type": "Shell", "name": "setup", "scriptUri": "{uri}"{member}'
    if kind == "File":
        text = f'"type": "File", "name": "copy", "sourceUri": "{uri}", "destination": "/tmp/file"{member}'
    return Example(text=f'{{ "properties": {{ "customize": [{{ {text} }}] }} }}', files=files or {})


def _windows(text: str) -> Example:
    return step(text, system="windows")


def _steps(*texts: str) -> Example:
    return properties(f'"customize": [{", ".join(f"{{ {text} }}" for text in texts)}]', system="windows")


_RUN = '"type": "PowerShell", "name": "run", "inline": ["throw"]'
_RESTART = '"type": "WindowsRestart", "restartTimeout": "15m"'
_VALIDATE = (
    '"validate": { "continueDistributeOnFailure": FLAG, "inVMValidations": [{ "type": "Shell", "inline": ["true"] }] }'
)
_UPDATE = '"type": "WindowsUpdate"'

RULES: tuple[Rule, ...] = (
    Rule(
        id="E20",
        level=Severity.ERROR,
        title="both or none of scriptUri and inline",
        why="A script is either inline or at an address; exactly one of the two says what to run (documented).",
        fix="Remove one of them, or add one.",
        bad=step(f'"type": "Shell", "inline": ["true"], "scriptUri": "{_URL}"'),
        good=step('"type": "Shell", "inline": ["true"]'),
    ),
    Rule(
        id="E21",
        level=Severity.ERROR,
        title="inline is not an array",
        why="Some examples show one text; the service takes an array of them.",
        fix="Put it into brackets.",
        bad=step('"type": "Shell", "inline": "true"'),
        good=step('"type": "Shell", "inline": ["true"]'),
    ),
    Rule(
        id="E22",
        level=Severity.ERROR,
        title="inline is empty",
        why="There is nothing to run.",
        fix="Add commands, or remove the step.",
        bad=step('"type": "Shell", "inline": []'),
        good=step('"type": "Shell", "inline": ["true"]'),
    ),
    Rule(
        id="E23",
        level=Severity.ERROR,
        title="a step for another system than the source's",
        why="PowerShell, WindowsRestart and WindowsUpdate need Windows, Shell needs Linux. The service "
        "refuses the others (`UnsupportedCustomizerType`; that this is what it means is inferred). "
        "Judged for well-known publishers only.",
        fix="Use the step of the source's system, or another source.",
        bad=step(_RUN),
        good=_windows(_RUN),
    ),
    Rule(
        id="E24",
        level=Severity.ERROR,
        title="runAsSystem without runElevated",
        why="It can only be true when runElevated is true (documented).",
        fix='Add `"runElevated": true`.',
        bad=_windows(f'{_RUN}, "runAsSystem": true'),
        good=_windows(f'{_RUN}, "runAsSystem": true, "runElevated": true'),
    ),
    Rule(
        id="W25",
        level=Severity.NOTE,
        title="runElevated without runAsSystem",
        why="Elevated scripts run in a scheduled task of the build user. They were reported to hang, mostly "
        "on Windows 10 and 11 (observed); as SYSTEM they do not. Where the source is a server this is a "
        "note.",
        fix='Add `"runAsSystem": true`.',
        bad=_windows(f'{_RUN}, "runElevated": true'),
        good=_windows(f'{_RUN}, "runElevated": true, "runAsSystem": true'),
    ),
    Rule(
        id="E26",
        level=Severity.ERROR,
        title="a checksum that is none, or another file's",
        why="The service compares the SHA-256 of what it fetched at submission, in lower case; when it differs, the "
        "template fails to provision (documented). The file is compared here when it is local, mapped or `--online`.",
        fix="`sha256sum FILE` prints it.",
        bad=_script(_SUM.upper(), {"setup.sh": ""}),
        good=_script(_SUM, {"setup.sh": ""}),
    ),
    Rule(
        id="W27",
        level=Severity.NOTE,
        title="no checksum",
        why="The service fetches scripts and files when the template is submitted, and keeps them; until "
        "then nobody would notice that they changed. PSRule asks for checksums too.",
        fix="Add sha256Checksum.",
        bad=_script(uri=_URL),
        good=_script(_SUM, uri=_URL),
    ),
    Rule(
        id="E28",
        level=Severity.ERROR,
        title="a file that cannot be had",
        why="It is not there, the address is that of a web page around the file (github.com/.../blob/...), has no "
        "http(s)://, has arguments after it, or a SAS token that is over. The service tries ten times and the template "
        "then fails to provision.",
        fix="Mend the address; of a file on GitHub take the raw one. A script with arguments is run inline.",
        bad=_script(_SUM, uri="missing.sh"),
        good=_script(_SUM, {"setup.sh": ""}),
    ),
    Rule(
        id="W17",
        level=Severity.NOTE,
        title="a file of this machine",
        why="aibemu takes local files in scriptUri and sourceUri; the service fetches http(s) addresses alone, and "
        "refuses the template.",
        fix="For Azure put the file where the service can fetch it. Here `--map PREFIX=DIR` takes what an address has "
        "from a folder.",
        bad=_script(_SUM, {"setup.sh": ""}),
        good=_script(_SUM, uri=_URL),
    ),
    Rule(
        id="W29",
        level=Severity.WARNING,
        title="a large file",
        why="A File step is meant for less than 20 MB (documented); over WinRM large files take very long (observed).",
        fix="Fetch it in a script, inside the machine.",
        bad=_script("", uri="https://example.com/everything.zip", kind="File"),
        good=_script("", uri="https://example.com/index.html", kind="File"),
    ),
    Rule(
        id="E30",
        level=Severity.WARNING,
        title="a File destination that the build user cannot write",
        why="On Linux a file is copied as the build user, who is not root: to /tmp and his home (documented). A path "
        "of the other system, and variables but `~/` and `$HOME/` at the beginning, do not lead where they should.",
        fix="Copy it to /tmp, and move it with sudo in a Shell customizer.",
        bad=step(f'"type": "File", "sourceUri": "{_URL}", "destination": "/etc/app.conf"'),
        good=step(f'"type": "File", "sourceUri": "{_URL}", "destination": "/tmp/app.conf"'),
    ),
    Rule(
        id="E31",
        level=Severity.WARNING,
        title="a File destination that is a folder, or whose folder nobody makes",
        why="The folder has to be there (documented). One below /tmp, or a new one on C:, is not in a fresh image, and "
        "no earlier step mentions it. A destination that is the folder itself ends in `/`: then the name of the source "
        "is put after it.",
        fix="Make the folder in a step before; end a destination that is a folder in `/`.",
        bad=step(f'"type": "File", "sourceUri": "{_URL}", "destination": "/tmp/app/app.conf"'),
        good=step(f'"type": "File", "sourceUri": "{_URL}", "destination": "/tmp/app.conf"'),
    ),
    Rule(
        id="W42",
        level=Severity.NOTE,
        title="Windows updates with a restart pending, or on one CPU",
        why="Updates do not install while a restart is pending, and run into timeouts on one vCPU (observed).",
        fix="Put a WindowsRestart before it, and take a larger vmSize.",
        bad=_steps(_RUN, _UPDATE),
        good=_steps(_RUN, _RESTART, _UPDATE),
    ),
    Rule(
        id="E43",
        level=Severity.ERROR,
        title="restartTimeout is not a duration",
        why="It is a number and a unit, as Go reads durations: `5m`, `2h`, `1h30m`, `90s` (documented by Packer).",
        fix="Write it like `15m`.",
        bad=_windows('"type": "WindowsRestart", "restartTimeout": "15 minutes"'),
        good=_windows(_RESTART),
    ),
    Rule(
        id="W44",
        level=Severity.NOTE,
        title="a short restartTimeout",
        why="A restart that installs updates takes longer than some minutes, above all on Windows Server "
        "2016 (observed). From 5 minutes on, which is the default, this is told only where updates came before.",
        fix='Write `"restartTimeout": "15m"`.',
        bad=_windows('"type": "WindowsRestart", "restartTimeout": "3m"'),
        good=_windows(_RESTART),
    ),
    Rule(
        id="W48",
        level=Severity.NOTE,
        title="two steps of the same name",
        why="Names tell steps apart in messages and logs; the service takes them as they are.",
        fix="Give each step its own name.",
        bad=_steps(_RUN, _RUN),
        good=_steps(_RUN, _RUN.replace('"run"', '"again"')),
    ),
    Rule(
        id="W81",
        level=Severity.WARNING,
        title="customize is ignored",
        why="With sourceValidationOnly the source itself is validated and nothing is built (documented).",
        fix="Remove customize, or sourceValidationOnly.",
        bad=properties('"validate": { "sourceValidationOnly": true }'),
        good=properties('"validate": { "sourceValidationOnly": true }, "customize": []'),
    ),
    Rule(
        id="W82",
        level=Severity.NOTE,
        title="distributed though validation failed",
        why="With continueDistributeOnFailure an image that failed validation is distributed all the same; "
        "the run is Failed in any case (documented).",
        fix="Leave it out unless that is what you want.",
        bad=properties(_VALIDATE.replace("FLAG", "true")),
        good=properties(_VALIDATE.replace("FLAG", "false")),
    ),
    Rule(
        id="W86",
        level=Severity.NOTE,
        title="errorHandling abort leaves a machine",
        why="The build VM and what belongs to it stay in the staging resource group, and cost, until you delete them "
        "(documented).",
        fix="Use it to look for a mistake, and go back to cleanup.",
        bad=properties('"errorHandling": { "onCustomizerError": "abort" }'),
        good=properties('"errorHandling": { "onCustomizerError": "cleanup" }'),
    ),
)
