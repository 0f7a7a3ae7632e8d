"""What a PowerShell step does not do although it ends with 0 (facts: provisioners 1.2; a real PowerShell was asked)."""

from __future__ import annotations

import re

from aibemu.template.scripts.judge import Check, Judge
from aibemu.template.scripts.powershell_model import Kind, Start, Token
from aibemu.template.scripts.powershell_parts import mistakes_of

_NEW_WRAPPER = "the newer wrapper (setting powershell_wrapper)"
_BOM_HINT = "save it as UTF-8 with a byte-order mark"
_INLINE_HINT = "write it as `[char]0x...`, or put it into a file with a byte-order mark, for scriptUri"
_BEYOND = re.compile(r"[^\x00-\x7f]")
# What each byte is in Windows-1252; Windows leaves the five that it does not use as they are.
_ANSI = {code: bytes([code]).decode("cp1252", "ignore") or chr(code) for code in range(0x80, 0xA0)}
_FAR = 2000  # tokens from one that is looked at to another: all of them for each would be their square
_DEEP = 50  # blocks around a token that are looked at
_STATEMENTS = frozenset(
    ("if", "elseif", "else", "foreach", "for", "while", "do", "try", "catch", "finally", "switch", "trap")
)  # fmt: skip
# What must begin a script: parameters, with attributes before them or not; `using`; its own blocks.
_BEGINS = re.compile(
    r"(?P<parameters>param$|\[[\w.]+)|(?P<using>using$)|(?P<block>(?:begin|process|end|dynamicparam)$)", re.IGNORECASE
)


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
    """True where no function and no script block is around a token, but only `if`, loops, `switch` and such."""
    for _ in range(_DEEP):
        if token.opener < 0:
            return True
        opened = tokens[token.opener]
        if opened.text == "{" and not _of_statement(tokens, token.opener):
            return False
        token = opened
    return False


def _of_statement(tokens: list[Token], opener: int) -> bool:
    """Whether a `{` belongs to a statement or to a clause of a `switch`; else something runs it as a block."""
    first = _first_before(tokens, opener)
    if first is None:
        return False
    word = tokens[first].text.lower()
    if word.startswith(":") and first + 1 < opener:  # a label
        word = tokens[first + 1].text.lower()
    # After a pipe `foreach` is ForEach-Object.
    assigned = first > 0 and tokens[first - 1].text == "="
    if word in _STATEMENTS and (tokens[first].start is Start.STATEMENT or assigned):
        return True
    around = tokens[opener].opener
    if around < 0:
        return False
    of_switch = _first_before(tokens, around)
    return of_switch is not None and tokens[of_switch].text.lower() == "switch"


def _first_before(tokens: list[Token], opener: int) -> int | None:
    """Where the statement, or its part, begins that a bracket is in."""
    index, most = opener - 1, max(0, opener - _FAR)
    while index >= most:
        if tokens[index].opener == tokens[opener].opener and tokens[index].start is not Start.NOTHING:
            return index
        index -= 1
    return None


def check_parameters(judge: Judge) -> None:
    """W66: inside of `try {}` these are commands, or refused."""
    if judge.context.wrapper != "new" or not judge.script.inline:
        return
    tokens = [token for token in judge.tokens.tokens if token.kind not in (Kind.COMMENT, Kind.END)]
    found = _BEGINS.match(tokens[0].text) if tokens else None
    if found is None:
        return
    if found["block"] and (len(tokens) == 1 or tokens[1].text != "{"):
        return
    if found["parameters"] and tokens[0].text.startswith("[") and not _is_attribute(tokens):
        return
    what = f"{found['block'].lower()} {{...}}" if found["block"] else "using" if found["using"] else "param(...)"
    message = f"`{what}` must begin a script, and {_NEW_WRAPPER} puts lines before it: the step fails"
    judge.warn("W66", tokens[0].at, message, "put it into a file, for scriptUri, or write it without")


def _is_attribute(tokens: list[Token]) -> bool:
    """Whether a script's first `[...]` belongs to `param`, and is not the type of a value."""
    if tokens[0].text.lower() == "[cmdletbinding":
        return True
    outer = (token for token in tokens if token.opener < 0 and token.kind not in (Kind.OPEN, Kind.CLOSE))
    rest = (token.text.lower().lstrip("]") for token in outer if token.text[:1] != "[")
    return next((word for word in rest if word), "") == "param"


def check_encoding(judge: Judge) -> None:
    """W68: without a byte-order mark Windows PowerShell takes the script for ANSI."""
    script = judge.script
    if script.marked or script.text.isascii():
        return
    if (at := _beyond_ascii(judge)) is None:
        return
    misread = script.text.encode("utf-8", "replace").decode("latin-1").translate(_ANSI)
    char = script.text[at]
    shown = char.encode("utf-8", "replace").decode("latin-1").translate(_ANSI)
    message = f"no byte-order mark: in Azure, Windows PowerShell reads '{char}' as '{shown}'"
    hint = _INLINE_HINT if script.inline else _BOM_HINT
    from aibemu.template.scripts.powershell_tokens import tokens_of

    if not judge.tokens.mistakes and tokens_of(misread).mistakes:
        judge.warn("W68", at, f"{message}, and then cannot read the script: nothing of it runs", hint)
    else:
        # A file stays byte for byte, so that it is misread here, too.
        judge.note("W68", at, f"{message}; aibemu adds the mark" if script.inline else message, hint)


def _beyond_ascii(judge: Judge) -> int | None:
    """Where the first such letter is outside of comments; a blank that is none in ANSI counts."""
    tokens, text = judge.tokens.tokens, judge.script.text
    read = len(text) if judge.tokens.whole else (tokens[-1].end if tokens else 0)
    begin = 0
    for end, after in (*((token.at, token.end) for token in tokens if token.kind is Kind.COMMENT), (read, read)):
        if found := _BEYOND.search(text, begin, end):
            return found.start()
        begin = after
    return None


CHECKS: tuple[Check, ...] = (
    check_syntax, check_return, check_parameters, check_encoding
)  # fmt: skip
