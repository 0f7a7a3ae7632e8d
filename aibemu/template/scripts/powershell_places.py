"""Paths that a PowerShell step writes otherwise than it means them, or must leave alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aibemu.template.scripts.judge import Check, Judge
from aibemu.template.scripts.powershell_model import Kind
from aibemu.template.scripts.powershell_parts import Call

_ALIASES = """gci dir ls sp gp gpv gi ni rp ri si clp cpp mp rnp rni ren mi move mv cpi copy cp rm del erase rd rmdir
    md mkdir sl cd chdir pushd push-location set-location test-path get-childitem get-acl set-acl resolve-path rvpa
    convert-path cvpa join-path"""
_ITEMS = frozenset(
    f"{verb}-item{noun}" for verb in ("get", "set", "new", "remove", "copy", "move", "rename", "clear")
    for noun in ("", "property", "propertyvalue")
) | frozenset(_ALIASES.split())  # fmt: skip
_HIVE = r"HKLM|HKCU|HKCR|HKU|HKCC|HKEY_\w+"
_NO_COLON = re.compile(rf"(?:{_HIVE})(?:[\\/]|$)", re.IGNORECASE)
_NO_DRIVE = re.compile(r"(HKCR|HKU|HKCC|HKEY_\w+):", re.IGNORECASE)
# Parameters whose value is no path.
_NOT_PATHS = frozenset({"-value", "-name", "-newname", "-filter", "-include", "-exclude", "-propertytype", "-type"})
_DELETES = frozenset({"remove-item", "ri", "rm", "del", "erase", "rd", "rmdir"})
_LISTS = frozenset({"get-childitem", "gci", "dir", "ls", "get-item", "gi"})
_MOVES = frozenset({"set-location", "sl", "cd", "chdir", "push-location", "pushd"})
_WINDOWS = (
    r"(?:(?:c:|\$(?:\(\$)?\{?env:systemdrive\}?\)?|%systemdrive%)[\\/]windows|\$(?:\(\$)?\{?env:(?:windir|systemroot)\}?\)?|"
    r"%(?:windir|systemroot)%)"
)
_ALL = r"(?:[\\/]+(?:\*(?:\.\*)?)?)?"
_TEMP = re.compile(rf"{_WINDOWS}[\\/]+temp{_ALL}", re.IGNORECASE)
# Of Local System, for whom they name the same folder.
_ITS_OWN = re.compile(rf"\$(?:\(\$)?\{{?env:te?mp\}}?\)?{_ALL}", re.IGNORECASE)
_EVERYTHING = re.compile(r"(?:\.[\\/])?\*(?:\.\*)?")
_IN_LINE = re.compile(
    rf"(?:\b(?:del|erase|rd|rmdir)\b[^&|]{{0,200}}?|\brobocopy\b[^&|]{{0,200}}?)({_WINDOWS}[\\/]+temp{_ALL})(?=[\s'\"]|$)",
    re.IGNORECASE,
)
_BY_NET = re.compile(r"\[(?:System\.)?IO\.Directory\]::Delete\(\s{0,9}['\"]([^'\"]{1,200})['\"]", re.IGNORECASE)
_FAR = 2000  # tokens from one that is looked at to another: all of them for each would be their square


def check_registry(judge: Judge) -> None:
    """W69: without a colon it is a path in the current folder."""
    parameters = set[str]()
    for call in judge.calls:
        # For reg.exe such a path is right, and what joins it may be for that.
        if call.name not in _ITEMS or (call.name == "join-path" and "reg " in judge.lower):
            continue
        for before, held in judge.values.of(call):
            if before not in _NOT_PATHS:
                parameters.add(held.text.lower().replace("$", "-"))
                _say_registry(judge, held.text, held.at)
    # Functions of the script that hand such a parameter on.
    functions = set(re.findall(r"\bfunction\s+([\w-]+)", judge.lower))
    for call in judge.calls:
        for before, held in judge.values.of(call) if call.name in functions else ():
            if before in parameters:
                _say_registry(judge, held.text, held.at)


def _say_registry(judge: Judge, text: str, at: int) -> None:
    if _NO_COLON.match(text):
        hive = re.split(r"[\\/]", text)[0]
        message = f"'{text}' is a path in the current folder: a registry path has a colon after {hive}"
        judge.warn("W69", at, message, f"write {_with_drive(hive)}\\..., or Registry::{hive}\\...")
    elif (drive := _NO_DRIVE.match(text)) and "new-psdrive" not in judge.lower:
        message = f"there is no drive {drive[1]}: in PowerShell, only HKLM: and HKCU:"
        judge.warn("W69", at, message, f"write {_with_drive(drive[1])}\\...")


def _with_drive(hive: str) -> str:
    drive = {"hkey_local_machine": "HKLM", "hkey_current_user": "HKCU"}.get(hive.lower(), hive.upper())
    return f"{drive}:" if drive in ("HKLM", "HKCU") else f"Registry::{hive}"


def check_temporary(judge: Judge) -> None:
    """W87: the service keeps scripts there, and steps their files."""
    if not judge.script.before_capture or not judge.script.followed:
        return
    for path, at in sorted(_emptied(judge), key=lambda found: found[1]):
        message = (
            f"this empties {path}, where the service keeps the script and the log of a step while it runs, and "
            "other steps their files"
        )
        judge.warn("W87", at, message, "delete what you put there by name, or do it in the last step")


def _emptied(judge: Judge) -> Iterator[tuple[str, int]]:
    """How the folder is named, and where: in commands of PowerShell, in a line for cmd or a program, by .NET."""
    inside = False
    # Join-Path in parentheses, by the place of these.
    joined = {call.at - 1: "\\".join(call.arguments[:2]) for call in judge.calls if call.name == "join-path"}
    for call in judge.calls:
        texts = [joined.get(held.at, held.text) for _, held in judge.values.of(call)]
        path = next((text for text in texts if _is_temporary(judge, text)), None)
        inside = path is not None if call.name in _MOVES else inside
        if call.name in _DELETES and path is None and inside:
            path = next((text for text in texts if _EVERYTHING.fullmatch(text)), None)
        lower = [text.lower() for text in texts]
        chosen = any(text.startswith(("-fil", "-inc", "-whatif")) for text in lower)
        if path and not chosen and (call.name in _DELETES or (call.name in _LISTS and _piped_into_delete(judge, call))):
            yield path, call.at
        elif call.name == "cmd" and (line := _IN_LINE.search(call.text)):
            yield line[1], call.at
        elif call.name == "robocopy" and path and {"/mir", "/purge"} & set(lower):
            yield path, call.at
    for found in _BY_NET.finditer(judge.script.text):
        if _is_temporary(judge, found[1]):
            yield found[1], found.start()


def _is_temporary(judge: Judge, text: str) -> bool:
    step = judge.script.step
    as_system = step.flag("runElevated") and step.flag("runAsSystem")
    return bool(_TEMP.fullmatch(text) or (as_system and _ITS_OWN.fullmatch(text)))


def _piped_into_delete(judge: Judge, call: Call) -> bool:
    """`Get-ChildItem ... | Where-Object ... | Remove-Item`, and `... | ForEach-Object { Remove-Item $_ }`."""
    tokens = judge.tokens.tokens
    opener, index = tokens[call.first].opener, call.last
    while index < min(len(tokens), call.last + _FAR) and tokens[index].kind not in (Kind.END, Kind.CLOSE):
        following = tokens[index + 1].text.lower() if index + 1 < len(tokens) else ""
        if tokens[index].kind is Kind.PIPE and (following in _DELETES or _deletes_each(judge, index + 1)):
            return True
        partner = tokens[index].partner
        index = partner + 1 if tokens[index].kind is Kind.OPEN and partner > index else index + 1
        if index < len(tokens) and tokens[index].kind is Kind.END and tokens[index].opener != opener:
            index += 1
    return False


def _deletes_each(judge: Judge, index: int) -> bool:
    """A ForEach-Object whose block deletes what comes to it, whatever it is: there is no condition in it."""
    tokens = judge.tokens.tokens
    if tokens[index].text.lower() not in ("foreach-object", "foreach", "%") or index + 1 >= len(tokens):
        return False
    block = tokens[index + 1]
    inside = tokens[index + 2 : min(block.partner, index + _FAR)] if block.text == "{" else []
    words = [token.text.lower() for token in inside]
    return "if" not in words and (bool(_DELETES & set(words)) or ".delete" in words)


CHECKS: tuple[Check, ...] = (check_registry, check_temporary)
