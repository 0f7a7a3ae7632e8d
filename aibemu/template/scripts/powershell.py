"""Rules about PowerShell scripts (facts: service 5 and 7.2)."""

from __future__ import annotations

import re

from aibemu.template.scripts.judge import Check, Judge

_WAITS = re.compile(
    r"while\s{0,20}\(\s{0,20}\(\s{0,20}Get-Service\s{1,20}(?:-Name\s{1,20})?['\"`]{0,2}(?P<name>RdAgent|WindowsAzure\w{1,40})"
    r"['\"`]{0,2}\s{0,20}\)\.Status\s{1,20}-ne\s{1,20}['\"`]{0,2}Running['\"`]{0,2}\s{0,20}\)",
    re.IGNORECASE,
)
_QUESTIONS = frozenset({"read-host", "pause", "get-credential", "out-gridview"})


def check_restart(judge: Judge) -> None:
    """W35: the step ends with the connection."""
    for call in judge.calls:
        restarts = call.name in ("restart-computer", "stop-computer")
        if restarts or (call.name == "shutdown" and re.search(r"\s[/-][rs]\b", call.text)):
            message = f"`{call.name}` in a script: the connection ends with the machine, and the step may fail"
            judge.warn("W35", call.at, message, "use a WindowsRestart customizer after this step")


def check_questions(judge: Judge) -> None:
    """W36: nobody answers."""
    for call in judge.calls:
        if call.name in _QUESTIONS:
            judge.warn("W36", call.at, f"`{call.name}` waits for somebody, and nobody is there", "remove it")


def check_access(judge: Judge) -> None:
    """W39: the build goes on over the WinRM connection that this closes."""
    for call in judge.calls:
        cuts = call.name == "disable-psremoting" or (call.name == "winrm" and " delete" in call.text)
        cuts = cuts or (call.name in ("stop-service", "set-service") and "winrm" in call.text
                        and (call.name == "stop-service" or "disabled" in call.text))  # fmt: skip
        blocks = re.search(r"inboundaction\s+block", call.text) is not None
        cuts = cuts or (call.name == "set-netfirewallprofile" and blocks)
        cuts = cuts or (call.name == "netsh" and "blockinbound" in call.text)
        if cuts:
            message = f"`{call.name}` may cut the WinRM connection that the build needs to its end"
            judge.warn("W39", call.at, message, "do it in the deprovision script, or where the image is used")


def check_deletions(judge: Judge) -> None:
    r"""W40: c:\ holds the script that generalises the image."""
    for call in judge.calls if judge.script.before_capture else ():
        if call.name in ("remove-item", "del", "rm", "ri", "erase") and re.search(
            r"c:\\(?:\*|deprovisioningscript\.ps1)", call.text
        ):
            message = r"this deletes c:\DeprovisioningScript.ps1 too, and the image is then not generalised"
            judge.warn("W40", call.at, message, "delete what you put there by name")


def check_sysprep(judge: Judge) -> None:
    """W41: the service runs sysprep at the end."""
    if not judge.script.before_capture or "deprovisioningscript" in judge.script.text.lower():
        return
    for call in judge.calls:
        if call.name == "sysprep" or (call.name == "start-process" and "sysprep.exe" in call.text):
            message = "the service runs sysprep by itself after the last customizer; a second one is refused by Windows"
            judge.warn("W41", call.at, message, r"leave it out; to change how, write c:\DeprovisioningScript.ps1")


def check_agents(judge: Judge) -> None:
    """W92: the text of the service's script until it asked whether the agents are there; also inside of strings."""
    for wait in _WAITS.finditer(judge.script.text):
        name = wait["name"]
        message = f"this waits for {name} without asking whether it is there: without Azure's agent it never ends"
        if "deprovisioningscript" in judge.lower:
            message += " (aibemu ends it in the last step, and says so)"
        hint = f"write `while ((Get-Service {name}) -and ((Get-Service {name}).Status -ne 'Running'))`"
        judge.warn("W92", wait.start(), message, hint)


CHECKS: tuple[Check, ...] = (
    check_restart, check_questions, check_access, check_deletions, check_sysprep, check_agents
)  # fmt: skip

_HANDLES_ERRORS = re.compile(r"\$ErrorActionPreference|-ErrorAction|\bthrow\b|\bexit\b|\$LASTEXITCODE", re.IGNORECASE)


def ignores_errors(text: str) -> bool:
    """True when nothing in a script says what an error means: PowerShell then goes on, and the step succeeds."""
    return _HANDLES_ERRORS.search(text) is None
