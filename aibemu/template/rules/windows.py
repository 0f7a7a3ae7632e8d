"""Rules about what only Windows has: elevation, restarts, updates (facts: service 5, 7.1, 7.2)."""

from __future__ import annotations

import re

from aibemu.arm.findings import shorten
from aibemu.arm.nodes import NodeKind
from aibemu.template import publishers
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import (
    customizers_of,
    is_windows,
    listed_steps,
    source_of,
    steps_of,
    vm_profile_of,
)
from aibemu.template.rules.durations import seconds
from aibemu.template.view import NodeView
from aibemu.template.vm_sizes import lookup

_SHORT_RESTART = 10 * 60
_DEFAULT_RESTART = "5m"
_LARGEST_CODE = 2**32 - 1
_LONGEST_LINE = 8191
_CMDLET = re.compile(r"(?:Get|Set|New|Remove|Test|Restart|Stop|Start|Write|Invoke|Wait)-[A-Z]\w+\b", re.IGNORECASE)
_SHUTDOWN = re.compile(r"\s*\"?(?:\S*[\\/])?shutdown(?:\.exe)?\"?(?P<options>(?:\s.*)?)$", re.IGNORECASE | re.DOTALL)


def check_system_account(template: NodeView, context: RuleContext) -> None:
    """runAsSystem belongs to runElevated; and without it elevated scripts were seen to hang, mostly on clients."""
    lone = []
    for step in steps_of(template):
        system, elevated = step.flag("runAsSystem"), step.flag("runElevated")
        if system and not elevated and not step.is_unknown("runElevated"):
            hint = 'add "runElevated": true'
            context.bad("E24", step, "runAsSystem", "It can only be true when runElevated is true", hint)
        elif elevated and not system and not step.is_unknown("runAsSystem"):
            lone.append(step)
    if lone and is_windows(template):
        _say_elevated(template, lone, context)


def _say_elevated(template: NodeView, steps: list[NodeView], context: RuleContext) -> None:
    source = source_of(template, "PlatformImage")
    client = source is not None and publishers.is_client(source.text("publisher") or "")
    message = (
        f"runElevated without runAsSystem: {listed_steps(steps)}; such scripts were reported to hang"
        f"{' on Windows 10 and 11' if client else ', mostly on Windows 10 and 11'}"
    )
    say = context.findings.warning if client else context.findings.note
    hint = 'add "runAsSystem": true, unless the script needs the build user'
    say("W25", steps[0].at("runElevated"), message, path=steps[0].path, hint=hint)


def check_exit_codes(template: NodeView, context: RuleContext) -> None:
    """W93: WinRM tells a code as 32 bits without a sign, and Packer compares the numbers."""
    for step in steps_of(template):
        for item in step.items("validExitCodes") if step.text("type") == "PowerShell" else ():
            code = item.value
            if item.kind is not NodeKind.NUMBER or not isinstance(code, int) or 0 <= code <= _LARGEST_CODE:
                continue
            message = f"no script ends with {code}: the exit codes of Windows are 0 to {_LARGEST_CODE}"
            same = code % (_LARGEST_CODE + 1)
            hint = f"write {same}, which is what {code} arrives as" if code < 0 else "remove it"
            context.findings.warning("W93", item.span, message, path=step.path, hint=hint)


def check_restart_timeout(template: NodeView, context: RuleContext) -> None:
    """A Go duration; and the default's five minutes, written out or not, are often too few for updates."""
    short, updates, slow = [], False, _is_2016(template)
    for step in customizers_of(template):
        updates = updates or step.text("type") == "WindowsUpdate"
        if step.text("type") != "WindowsRestart" or step.is_unknown("restartTimeout"):
            continue
        text = step.text("restartTimeout") or _DEFAULT_RESTART
        length = seconds(text)
        if length is None:
            why = "It is a number with a unit (h, m, s), or several of them"
            context.bad("E43", step, "restartTimeout", why, _duration_hint(text))
        elif length < _SHORT_RESTART and (updates or slow or length < (seconds(_DEFAULT_RESTART) or 0)):
            short.append(step)
    if short:
        message = (
            f"restartTimeout below 10 minutes: {listed_steps(short)}; a restart that installs updates can take longer, "
            f"and then the build fails ('Timeout waiting for machine to restart.'); the default is {_DEFAULT_RESTART}"
        )
        say = context.findings.warning if slow else context.findings.note
        say("W44", short[0].at("restartTimeout"), message, path=short[0].path, hint='write "restartTimeout": "15m"')


def _duration_hint(text: str) -> str:
    """`10` and `10 minutes` are meant as 10m; what else there is, as in the examples."""
    match = re.fullmatch(r"\s*([0-9]+)\s*(h|m|s)?[a-z]*\s*", text, re.IGNORECASE)
    if not match:
        return "for example 15m, 1h30m or 90s"
    return f"write {match.group(1)}{(match.group(2) or 'm').lower()}"


def _is_2016(template: NodeView) -> bool:
    """Windows Server 2016 is known for slow restarts."""
    source = source_of(template, "PlatformImage")
    return source is not None and (source.text("sku") or "").startswith("2016")


def check_restart_commands(template: NodeView, context: RuleContext) -> None:
    """W90: both run in cmd; a machine that does not go down is found by no other means than time."""
    for step in customizers_of(template, "WindowsRestart"):
        for field in ("restartCommand", "restartCheckCommand"):
            text = (step.text(field) or "").strip()
            if _CMDLET.match(text):
                message = f"{field} '{shorten(text)}' is PowerShell, and cmd runs it: there is no such command"
                hint = f'write powershell -Command "{shorten(text)}"'
                context.findings.warning("W90", step.at(field), message, path=step.path, hint=hint)
            if len(text) > _LONGEST_LINE:
                message = f"{field} has {len(text)} characters, and cmd takes {_LONGEST_LINE} at most: it does not run"
                hint = "put a script into the image by a step before, and run that"
                context.findings.warning("W90", step.at(field), message, path=step.path, hint=hint)
        command = step.text("restartCommand") or ""
        if why := _no_restart(command, seconds(step.text("restartTimeout") or _DEFAULT_RESTART)):
            message = f"restartCommand '{shorten(command)}' {why}"
            hint = 'leave it out: the default is shutdown /r /f /t 0 /c "packer restart"'
            context.findings.warning("W90", step.at("restartCommand"), message, path=step.path, hint=hint)


def _no_restart(command: str, timeout: float | None) -> str | None:
    """Why a command of `shutdown` does not restart the machine in time; None for one that does, and any other."""
    match = _SHUTDOWN.match(command)
    if match is None:
        return None
    options = match["options"].lower()
    if re.search(r"[/-](?:s|sg|p|h|l)\b", options):
        return "does not restart the machine, and the build waits for it to come back"
    if not re.search(r"[/-](?:r|g)\b", options):
        return "does not restart the machine: it has no /r"
    delay = re.search(r"[/-]t\s+(\d+)", options)
    if delay and timeout and float(delay[1]) >= timeout:
        return f"waits {delay[1]} s before the restart, and restartTimeout is over by then"
    return None


def check_updates(template: NodeView, context: RuleContext) -> None:
    """WindowsUpdate wants no pending restart, and more than one CPU."""
    steps = list(customizers_of(template))
    updates = [step for step in steps if step.text("type") == "WindowsUpdate"]
    if not updates:
        return
    first = updates[0]
    kinds = [step.text("type") for step in steps]
    earlier = kinds[: kinds.index("WindowsUpdate")]
    # Copied files leave no restart pending.
    if set(earlier) - {"File"} and "WindowsRestart" not in earlier:
        message = (
            "no WindowsRestart before WindowsUpdate: with a restart pending, updates fail or never end (0x80240016)"
        )
        hint = "put a WindowsRestart before it, unless no earlier step installs anything"
        context.findings.note("W42", first.at("type"), message, path=first.path, hint=hint)
    profile = vm_profile_of(template)
    size = lookup(profile.text("vmSize") or "") if profile else None
    if profile and size and size.vcpus == 1:
        message = f"WindowsUpdate on {size.name}, which has 1 vCPU: updates were reported to run into timeouts there"
        hint = "use a size with 2 vCPUs or more, such as Standard_D2s_v5"
        context.findings.warning("W42", profile.at("vmSize"), message, path=profile.path, hint=hint)


CHECKS = (check_system_account, check_exit_codes, check_restart_timeout, check_restart_commands, check_updates)
