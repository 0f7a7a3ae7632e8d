"""Rules about PowerShell scripts (facts: service 5 and 7.2)."""

from __future__ import annotations

import re

from aibemu.template.scripts.judge import Check, Judge
from aibemu.template.scripts.powershell_model import Kind
from aibemu.template.scripts.powershell_parts import Call

_WAITS = re.compile(
    r"while\s{0,20}\(\s{0,20}\(\s{0,20}Get-Service\s{1,20}(?:-Name\s{1,20})?['\"`]{0,2}(?P<name>RdAgent|WindowsAzure\w{1,40})"
    r"['\"`]{0,2}\s{0,20}\)\.Status\s{1,20}-ne\s{1,20}['\"`]{0,2}Running['\"`]{0,2}\s{0,20}\)",
    re.IGNORECASE,
)
# How cmd, or another command, is told to run a program.
_RUNS = r"^(?:cmd(?: [/-][a-z]\S*)*|start-process(?: -filepath)?|start|saps|invoke-expression|iex) ['\"]?(?:\S*\\)?"
_RESTART_SWITCH = frozenset({
    "install-windowsfeature", "add-windowsfeature", "uninstall-windowsfeature", "remove-windowsfeature",
    "rename-computer", "add-computer", "remove-computer", "install-windowsupdate", "get-windowsupdate", "get-wuinstall",
    "install-addsdomaincontroller",
})  # fmt: skip
_SERVICE_STOPS = (
    r"(?:^|\s|\\)(?:net(?:\.exe)? stop ['\"]?(?:winrm|windows remote management)"
    r"|sc(?:\.exe)? (?:stop|delete) winrm|sc(?:\.exe)? config winrm start= ?disabled)"
)
_QUESTIONS = frozenset({"read-host", "pause", "get-credential", "out-gridview"})


def check_restart(judge: Judge) -> None:
    """W35: the step ends with the connection."""
    for call in judge.calls:
        if what := _restarts(call):
            message = f"`{what}` in a script: the connection ends with the machine, and the step may fail"
            judge.warn("W35", call.at, message, "use a WindowsRestart customizer after this step")


def _restarts(call: Call) -> str | None:
    """What of a command restarts the machine or turns it off."""
    name, text = call.name, call.text
    if name in ("restart-computer", "stop-computer"):
        return (
            None
            if re.search(r"\s-(?:whatif|computername|cn)\b(?! (?:localhost|\.|\$env:computername))", text)
            else name
        )
    if name == "shutdown" or re.search(_RUNS + r"shutdown(?:\.exe)?\b", text):
        stays = re.search(r"\s[/-](?:a|m)\b", text)
        return "shutdown" if re.search(r"[\s'\",(][/-][rsgp]\b", text) and not stays else None
    if name in _RESTART_SWITCH and re.search(r"\s-(?:restart|autoreboot|forcereboot)\b(?!:\s?\$false)", text):
        return f"{name} with {'-restart' if '-restart' in text else '-autoreboot'}"
    if name in ("msiexec", "wusa", "start-process", "cmd") and re.search(
        r"\b(?:msiexec|wusa)\b.{0,500}/forcerestart\b", text
    ):
        return f"{name} with /forcerestart"
    return None


def check_questions(judge: Judge) -> None:
    """W36: nobody answers."""
    for call in judge.calls:
        if call.name in _QUESTIONS:
            judge.warn("W36", call.at, f"`{call.name}` waits for somebody, and nobody is there", "remove it")


def check_access(judge: Judge) -> None:
    """W39: the build goes on over the WinRM connection that this closes."""
    for call in judge.calls:
        if _cuts(call):
            message = f"`{call.name}` may cut the WinRM connection that the build needs to its end"
            judge.warn("W39", call.at, message, "do it in the deprovision script, or where the image is used")


def _cuts(call: Call) -> bool:
    """Whether a command ends WinRM, or closes the way to it."""
    name, text = call.name, call.text
    if name in ("stop-service", "restart-service", "set-service", "suspend-service"):
        of_winrm = re.search(r"\bwinrm\b|windows remote management", text) is not None
        return of_winrm and (name != "set-service" or re.search(r"disabled|stopped", text) is not None)
    if name in ("net", "sc", "cmd"):
        return re.search(_SERVICE_STOPS, text) is not None
    if name == "netsh":
        closes = re.search(r"delete rule\b.{0,500}(?:598[56]|winrm|windows remote management)|blockinbound", text)
        return closes is not None
    if name in ("remove-netfirewallrule", "disable-netfirewallrule"):
        return re.search(r"winrm|windows remote management|598[56]|wsman", text) is not None
    if name == "set-netfirewallprofile":
        return re.search(r"inboundaction\s+block", text) is not None
    if name in ("remove-item", "ri", "rm", "del") and re.search(r"wsman:\\localhost\\listener", text):
        return True
    return name in ("disable-psremoting", "disable-netadapter") or (
        name == "winrm" and re.search(r"\bdelete\b|invoke restore", text) is not None
    )


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

# What says that an error ends the step. `-ErrorAction SilentlyContinue` says the opposite, and `exit 0` nothing.
_HANDLES_ERRORS = re.compile(
    r"ErrorActionPreference['\"}]?\s*(?:=|-Value)?\s*(?:\[[\w.]+\]::)?['\"]?(?:Stop|1\b)|-(?:ErrorAction|EA)[\s:]+['\"]?(?:Stop|1\b)"
    r"|ErrorAction['\"]?\]?\s*=\s*['\"]?Stop|\bthrow\b|\bexit\s+(?:[1-9$(-])|\$(?:global:)?LASTEXITCODE|\$\?"
    r"|\[Environment\]::Exit\(|SetShouldExit\(",
    re.IGNORECASE,
)


def ignores_errors(judge: Judge) -> bool:
    """True when nothing in a script says what an error means: PowerShell then goes on, and the step succeeds."""
    return _HANDLES_ERRORS.search(_without_comments(judge)) is None


def _without_comments(judge: Judge) -> str:
    text, parts, begin = judge.script.text, list[str](), 0
    for token in judge.tokens.tokens:
        if token.kind is Kind.COMMENT:
            parts.append(text[begin : token.at])
            begin = token.end
    return "".join([*parts, text[begin:]])
