"""What a PowerShell step does not do although it ends with 0 (facts: provisioners 1.2; a real PowerShell was asked)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aibemu.template.scripts.judge import Check, Judge
from aibemu.template.scripts.powershell_model import Kind, Start, Token
from aibemu.template.scripts.powershell_parts import Call, mistakes_of

_NEW_WRAPPER = "the newer wrapper (setting powershell_wrapper)"
_BOM_HINT = "save it as UTF-8 with a byte-order mark"
_INLINE_HINT = "write it as `[char]0x...`, or put it into a file with a byte-order mark, for scriptUri"
# What each byte is in Windows-1252; Windows leaves the five that it does not use as they are.
_ANSI = {code: bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(0x80, 0xA0)}
_ITEMS = frozenset(
    f"{verb}-item{noun}" for verb in ("get", "set", "new", "remove", "copy", "move", "rename", "clear")
    for noun in ("", "property", "propertyvalue")
) | {"test-path", "get-childitem", "gci", "dir", "ls", "sp", "gp", "gi", "ni", "rp", "ri", "push-location", "get-acl",
     "set-location", "cd", "resolve-path", "set-acl"}  # fmt: skip
_HIVE = r"HKLM|HKCU|HKCR|HKU|HKCC|HKEY_\w+"
_NO_COLON = re.compile(rf"(?:{_HIVE})(?:\\|$)", re.IGNORECASE)
_NO_DRIVE = re.compile(r"(HKCR|HKU|HKCC|HKEY_\w+):", re.IGNORECASE)
# Parameters whose value is no path.
_NOT_PATHS = frozenset({"-value", "-name", "-newname", "-filter", "-include", "-exclude", "-propertytype", "-type"})
_DELETES = frozenset({"remove-item", "ri", "rm", "del", "erase", "rd", "rmdir"})
_LISTS = frozenset({"get-childitem", "gci", "dir", "ls", "get-item", "gi"})
_TEMP = re.compile(
    r"(?:c:|\$\{?env:(?:windir|systemroot)\}?|\$\{?env:systemdrive\}?)[\\/](?:windows[\\/])?temp(?:[\\/]\*(?:\.\*)?)?",
    re.IGNORECASE,
)
_FAR = 2000  # tokens from one that is looked at to another: all of them for each would be their square
_DEEP = 50  # blocks around a token that are looked at
_LATER_TABLE = 4  # properties: more become a list, which is written at once


def check_syntax(judge: Judge) -> None:
    """W63: what Windows PowerShell cannot parse it does not run at all."""
    if why := judge.tokens.given_up:
        hint = "aibemu says nothing more of it; the build runs it as it is"
        judge.note("W63", 0, f"this script was not judged: {why}", hint)
    elif wrong := mistakes_of(judge.tokens):
        judge.warn("W63", wrong[0].at, unread(judge, wrong[0].what), "mend the script; nothing of it runs as it is")


def unread(judge: Judge, why: str) -> str:
    """The sentence about a script that does not parse."""
    fails = judge.script.inline and judge.context.wrapper == "new"
    end = "the step fails" if fails else "the step ends with 0 all the same"
    return f"PowerShell cannot read this script: {why}; {end}"


def check_return(judge: Judge) -> None:
    """W65: the newer wrapper looks at $LASTEXITCODE after the script, in the same script."""
    if judge.context.wrapper != "new" or not judge.script.inline:
        return
    tokens = judge.tokens.tokens
    for token in tokens:
        if token.text.lower() == "return" and token.start is Start.STATEMENT and _in_statements(tokens, token):
            message = f"`return` leaves {_NEW_WRAPPER} too: the step ends with 0 whatever failed before"
            judge.warn("W65", token.at, message, "write `exit 0`, or `exit $LASTEXITCODE`")


def _in_statements(tokens: list[Token], token: Token) -> bool:
    """True where no function and no script block is around a token, but only `if`, loops and `try`."""
    for _ in range(_DEEP):
        if token.opener < 0:
            return True
        opened = tokens[token.opener]
        if opened.text != "{" or opened.command:
            return False
        index, most = token.opener, token.opener - _FAR
        while index >= max(0, most) and not (
            tokens[index].opener == opened.opener and tokens[index].start is Start.STATEMENT
        ):
            index -= 1
        keywords = ("if", "elseif", "else", "foreach", "for", "while", "do", "try", "catch", "finally", "switch")
        if index < max(0, most) or tokens[index].text.lower() not in keywords:
            return False
        token = opened
    return False


def check_parameters(judge: Judge) -> None:
    """W66: inside of `try {}` these are commands, or refused."""
    if judge.context.wrapper != "new" or not judge.script.inline:
        return
    first = next((token for token in judge.tokens.tokens if token.kind not in (Kind.COMMENT, Kind.END)), None)
    if first and re.match(r"(?:param|using)$|\[CmdletBinding", first.text, re.IGNORECASE):
        what = "using" if first.text.lower() == "using" else "param(...)"
        message = f"`{what}` must begin a script, and {_NEW_WRAPPER} puts lines before it: the step fails"
        judge.warn("W66", first.at, message, "put it into a file, for scriptUri, or set variables in its place")


def check_table(judge: Judge) -> None:
    """W67: `exit` does not wait for the formatter, which waits for more lines of the table."""
    if (at := _last_table(judge)) is not None:
        message = "a table is the last output: it is not printed, since the step's `exit` does not wait for it"
        judge.note("W67", at, message, "end the line with `| Format-Table`, or `| Out-String`")


def _last_table(judge: Judge) -> int | None:
    """Where the last statement begins, if all it does is to make new objects of a few properties."""
    tokens = [token for token in judge.tokens.tokens if token.kind is not Kind.COMMENT]
    starts = [i for i, token in enumerate(tokens) if token.opener < 0 and token.start is Start.STATEMENT
              and token.kind is not Kind.END]  # fmt: skip
    if starts and tokens[starts[-1]].text.lower() == "exit":
        starts.pop()
    if not starts or judge.tokens.mistakes:
        return None
    first = tokens[starts[-1]]
    if first.text.lower() == "[pscustomobject]" and starts[-1] + 1 < len(tokens):
        table = judge.tokens.tokens.index(tokens[starts[-1] + 1])
        keys = [token for token in tokens if token.opener == table and token.start is Start.STATEMENT
                and token.kind is not Kind.END]  # fmt: skip
        rest = [token for token in tokens if token.at >= first.at and token.opener < 0]
        whole = all(token.kind is not Kind.PIPE for token in rest)
        return first.at if tokens[starts[-1] + 1].text == "@{" and 0 < len(keys) <= _LATER_TABLE and whole else None
    calls = [call for call in judge.calls if call.at >= first.at and judge.tokens.tokens[call.first].opener < 0]
    assigned = any(token.opener < 0 and re.fullmatch(r"[-+*/]?=", token.text) for token in tokens[starts[-1] :])
    if not calls or assigned or calls[-1].name not in ("select-object", "select"):
        return None
    return first.at if 0 < _properties(calls[-1]) <= _LATER_TABLE else None


def _properties(call: Call) -> int:
    """How many properties `Select-Object` takes; 0 when it passes its objects on, or their values, or all of them."""
    number, skip = 0, False
    for argument in call.arguments:
        lower = argument.lower()
        passed = lower.startswith(("$", "@")) and lower[1:2] != "{"
        if lower.startswith(("-exp", "-excl")) or "*" in argument or passed:
            return 0
        if lower.startswith("-"):
            skip = lower in ("-first", "-last", "-skip", "-index", "-skiplast")
        elif skip:
            skip = False
        elif argument != ",":
            number += 1
    return number


def check_encoding(judge: Judge) -> None:
    """W68: without a byte-order mark Windows PowerShell takes the script for ANSI."""
    script = judge.script
    if script.marked or script.text.isascii():
        return
    found = next(
        (token for token in judge.tokens.tokens if token.kind is not Kind.COMMENT and not token.text.isascii()), None
    )
    if found is None:
        return
    at = found.at + next(index for index, char in enumerate(found.text) if not char.isascii())
    misread = script.text.encode("utf-8", "replace").decode("latin-1").translate(_ANSI)
    char = script.text[at]
    shown = char.encode("utf-8", "replace").decode("latin-1").translate(_ANSI)
    message = f"no byte-order mark: in Azure, Windows PowerShell reads '{char}' as '{shown}'"
    hint = _INLINE_HINT if script.inline else _BOM_HINT
    from aibemu.template.scripts.powershell_tokens import tokens_of

    if not judge.tokens.mistakes and tokens_of(misread).mistakes:
        judge.warn("W68", at, f"{message}, and then cannot read the script: nothing of it runs", hint)
    else:
        judge.note("W68", at, f"{message}; aibemu adds the mark", hint)


def check_registry(judge: Judge) -> None:
    """W69: without a colon it is a path in the current folder."""
    paths, parameters = _variables_of_keys(judge), set[str]()
    for call in judge.calls:
        for before, argument, at in _with_parameters(call) if call.name in _ITEMS else ():
            if before not in _NOT_PATHS:
                parameters.add(argument.lower().replace("$", "-"))
                _say_registry(judge, argument, at, paths)
    # Functions of the script that hand such a parameter on.
    functions = set(re.findall(r"\bfunction\s+([\w-]+)", judge.lower))
    for call in judge.calls:
        for before, argument, at in _with_parameters(call) if call.name in functions else ():
            if before in parameters:
                _say_registry(judge, argument, at, paths)


def _with_parameters(call: Call) -> Iterator[tuple[str, str, int]]:
    """Each argument with the one before it, in lower case, and its place."""
    before = ""
    for argument, at in zip(call.arguments, call.places, strict=True):
        yield before, argument, at
        before = argument.lower()


def _variables_of_keys(judge: Judge) -> dict[str, Token]:
    """Variables that get such a path and nothing else, with the token of the path."""
    tokens, found = judge.tokens.tokens, dict[str, Token]()
    for name, equals, value in zip(tokens, tokens[1:], tokens[2:], strict=False):
        if name.kind is Kind.VARIABLE and equals.text == "=" and value.kind is Kind.STRING:
            if _NO_COLON.match(value.value):
                found.setdefault(name.text.lower(), value)
            else:
                found.pop(name.text.lower(), None)
    return found


def _say_registry(judge: Judge, argument: str, at: int, paths: dict[str, Token]) -> None:
    token = paths.get(re.match(r"\$?\w*", argument.lower())[0]) if argument.startswith("$") else None  # type: ignore[index]
    text, at = (token.value, token.at + 1) if token else (argument, at)
    if _NO_COLON.match(text):
        hive = re.split(r"\\", text)[0]
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
    for call in judge.calls:
        path = next((argument for argument in call.arguments if _TEMP.fullmatch(argument)), None)
        chosen = any(argument.lower().startswith(("-fil", "-inc")) for argument in call.arguments)
        if path and not chosen and (call.name in _DELETES or (call.name in _LISTS and _piped_into_delete(judge, call))):
            message = (
                f"this empties {path}, where the service keeps the script and the log of a step while it runs, and "
                "other steps their files"
            )
            judge.warn("W87", call.at, message, "delete what you put there by name, or do it in the last step")


def _piped_into_delete(judge: Judge, call: Call) -> bool:
    """`Get-ChildItem ... | Where-Object ... | Remove-Item`."""
    tokens = judge.tokens.tokens
    opener, index = tokens[call.first].opener, call.last
    while index < min(len(tokens), call.last + _FAR) and tokens[index].kind not in (Kind.END, Kind.CLOSE):
        if tokens[index].kind is Kind.PIPE and index + 1 < len(tokens) and tokens[index + 1].text.lower() in _DELETES:
            return True
        partner = tokens[index].partner
        index = partner + 1 if tokens[index].kind is Kind.OPEN and partner > index else index + 1
        if index < len(tokens) and tokens[index].kind is Kind.END and tokens[index].opener != opener:
            index += 1
    return False


CHECKS: tuple[Check, ...] = (
    check_syntax, check_return, check_parameters, check_table, check_encoding, check_registry, check_temporary
)  # fmt: skip
