"""The tokens of a PowerShell script: strings, comments, brackets, words, each at its place.

No grammar that can be had reads PowerShell well enough to blame anybody: tree-sitter-powershell is wrong about a
quarter of public scripts. Which characters are in strings and comments, and which brackets belong together, is a matter
of few rules, and these are PowerShell's own: what is told here as a mistake is one (proven against the real parser).
"""

from __future__ import annotations

import re
from time import thread_time

from aibemu.template.scripts.powershell_model import Kind, Mistake, Start, Token, Tokens

SINGLE, DOUBLE = "'\u2018\u2019\u201a\u201b", '"\u201c\u201d\u201e'
_WORDS = """if elseif else while for foreach do until switch try catch finally trap function filter workflow
    configuration class enum param begin process end dynamicparam clean return throw exit break continue data using in
    var from define hidden static"""
_KEYWORDS = frozenset(_WORDS.split())
# After these a new element begins.
_INTRODUCE = frozenset({"return", "throw", "exit", "else", "in", "do", "try", "finally", "begin", "process", "end"})
_CLOSERS = {"(": ")", "$(": ")", "@(": ")", "{": "}", "@{": "}"}
_BLANK = re.compile(r"(?:[^\S\r\n]|`\r\n|`[\r\n])+")
_COMMENT = re.compile(r"#[^\r\n]*")
_LINE = re.compile(r"\r\n|[\r\n;]")
_OPEN = re.compile(r"[$@]?\(|@?\{")
_VARIABLE = re.compile(r"\$(?:\{(?:[^}`]|`[\s\S])*\}|(?:(?:\w+:)(?=[\w?]))?[\w?]+(?<!:)|[$^?])")
_BREAK = re.compile(r"&&|\|\||(?:>>?(?:&[12])?)|[<,&]")
# A word: until something that always begins a new token. In expressions `#` does, too.
_REST = rf"`[\s\S]|[^\s`;|&(){{}},>$\"{SINGLE}{DOUBLE[1:]}]"
_WORD = re.compile(rf"(?:{_REST}|\$(?![\w(?{{$^:]))+")
_OPERAND = re.compile(rf"(?:(?!#|@[({{])(?:{_REST})|\$(?![\w(?{{$^:]))+")
# What a command's name begins with; a single dot runs a script in the same scope.
_NAME = re.compile(r"[A-Za-z_\\/?%~*<`$]|-(?!(?:not|bnot|[ci]?split|join)\b)[A-Za-z]|\.(?![\w.]*\w)|\.\.[\\/]")
_KEY = re.compile(r"[\w-]+(?=\s*=)")
# What stands directly before the `(` of a method's or an attribute's arguments.
_MEMBER = re.compile(r"\[\w.]+|.*[.:]\w+")
_HERE = re.compile(rf"@([{SINGLE}{DOUBLE}])[^\S\r\n]*(?:\r\n|[\r\n])")
_HERE_OPEN = re.compile(rf"@[{SINGLE}{DOUBLE}]")
_PLAIN_SINGLE = re.compile(rf"[^{SINGLE}]+")
_PLAIN_DOUBLE = re.compile(rf"[^{DOUBLE}`$]+")
_DRIVE = re.compile(r"\$(\w+):(?![\w:?])")
_DEEPEST = 60
_LONGEST = 1 << 20
# Seconds of work for one script; a megabyte of an ordinary one takes less than one, one of brackets alone seven.
_SECONDS, _SECONDS_A_MEGABYTE = 1.0, 5.0
_LOOK = 256  # tokens between two looks at the time


def tokens_of(text: str) -> Tokens:
    """The tokens of a script, and what nobody can parse in it. More than a megabyte is data, and would take seconds."""
    if len(text) > _LONGEST:
        return Tokens(given_up="it is larger than a megabyte")
    # This thread's own work, so that a busy host makes no difference.
    scanner = _Scanner(text, ends=thread_time() + _SECONDS + _SECONDS_A_MEGABYTE * len(text) / 2**20)
    scanner.script()
    return scanner.found


class _Scanner:
    """Reads once, from the begin to the end."""

    def __init__(self, text: str, at: int = 0, depth: int = 0, *, ends: float) -> None:
        self.text, self.at, self.depth, self.ends = text, at, depth, ends
        self.found = Tokens()
        self.stack: list[int] = []
        self.start = Start.STATEMENT
        self.command = False

    def wrong(self, at: int, what: str) -> None:
        self.found.mistakes.append(Mistake(at, what))

    def add(self, kind: Kind, end: int, *, literal: bool = True) -> Token:
        opener = self.stack[-1] if self.stack else -1
        token = Token(
            kind=kind, text=self.text[self.at : end], at=self.at, end=end, start=self.start, opener=opener,
            literal=literal, command=self.command,
        )  # fmt: skip
        self.found.tokens.append(token)
        self.at = end
        return token

    def script(self, *, inside: bool = False) -> None:
        """Read to the end; inside: to the `)` that closes the `$(` in a string, which was read already."""
        while self.at < len(self.text) and not self.found.given_up:
            if len(self.found.tokens) % _LOOK == 0 and thread_time() > self.ends:
                self.found.given_up = "reading it takes too long"
            if inside and self.text[self.at] == ")" and not self.stack:
                self.at += 1
                return
            self.one()
        if inside:
            self.wrong(len(self.text), "`$(` in a string is not closed")
        for index in self.stack[:1]:
            opened = self.found.tokens[index]
            self.wrong(opened.at, f"`{opened.text}` is not closed")

    def one(self) -> None:
        """The next token."""
        text, at = self.text, self.at
        if match := _BLANK.match(text, at):
            self.at = match.end()
        elif match := _LINE.match(text, at):
            self.add(Kind.END, match.end())
            self.begin(Start.STATEMENT)
        elif text.startswith("<#", at):
            self.block_comment()
        elif text[at] == "#":
            match = _COMMENT.match(text, at)
            token = self.add(Kind.COMMENT, match.end() if match else at + 1)
            token.start = Start.NOTHING
        elif _HERE_OPEN.match(text, at):
            self.here_string()
        elif text[at] in SINGLE or text[at] in DOUBLE:
            self.string()
        elif match := _OPEN.match(text, at):
            self.opened(match)
        elif text[at] in ")}":
            self.close()
        elif match := _VARIABLE.match(text, at):
            self.operand()
            self.add(Kind.VARIABLE, match.end(), literal=False)
            self.start = Start.NOTHING
        else:
            self.other()

    def begin(self, start: Start) -> None:
        """What follows begins something."""
        self.start, self.command = start, False

    def operand(self) -> None:
        """An element that begins with a value is an expression."""
        if self.start is not Start.NOTHING:
            self.command = False

    def other(self) -> None:
        text, at = self.text, self.at
        if text.startswith("${", at):
            self.wrong(at, "`${` is not closed")
            self.at = len(text)
        elif text[at] == "|" and not text.startswith("||", at):
            self.add(Kind.PIPE, at + 1)
            self.begin(Start.ELEMENT)
        elif (match := _BREAK.match(text, at)) and not (text[at] == "<" and self.in_word()):
            token = self.add(Kind.BREAK, match.end())
            if token.text in ("&&", "||"):
                self.begin(Start.ELEMENT)
            elif token.text == "&" and token.start is not Start.NOTHING:
                self.start, self.command = Start.NOTHING, True
                token.command = True
        else:
            self.word()

    def in_word(self) -> bool:
        """Where `<` is like a letter: at the begin of a command, and directly after a part of an argument."""
        before = self.found.tokens[-1] if self.found.tokens else None
        return self.start is not Start.NOTHING or (self.command and before is not None and before.end == self.at)

    def word(self) -> None:
        """A word of a command, or an operator, number or type of an expression."""
        text, at, started = self.text, self.at, self.start
        if started is not Start.NOTHING:
            self.command = _NAME.match(text, at) is not None
        if started is Start.STATEMENT and self.in_table() and (key := _KEY.match(text, at)):
            self.command = False
            self.add(Kind.WORD, key.end())
            self.start = Start.NOTHING
            return
        pattern = _WORD if self.command else _OPERAND
        match = pattern.match(text, at + 1 if text[at] in "<$" else at)
        end = max(match.end() if match else at + 1, at + 1)
        word = text[at:end].lower()
        if not self.command and started is Start.NOTHING and (found := re.match(r"[-+*/%?]?=(?!=)|\?\?=", word)):
            end = at + found.end()
            self.add(Kind.WORD, end)
            self.begin(Start.ELEMENT)
            return
        keyword = started is Start.STATEMENT and word in _KEYWORDS and self.inside_block()
        if keyword:
            self.command = False
        token = self.add(Kind.WORD, end)
        self.start = Start.NOTHING
        if (keyword and word in _INTRODUCE) or (word == "in" and not token.command):
            self.begin(Start.ELEMENT)
        if token.command and word == "--%":
            stop = re.compile(r"[^\r\n|]*").match(text, self.at)
            self.at = stop.end() if stop else self.at

    def inside_block(self) -> bool:
        """Keywords are such where statements are: not inside `( )` and tables."""
        return not self.stack or self.found.tokens[self.stack[-1]].text in ("{", "$(", "@(")

    def in_table(self) -> bool:
        return bool(self.stack) and self.found.tokens[self.stack[-1]].text == "@{"

    def of_member(self) -> bool:
        """Arguments of a method or an attribute: expressions, no commands."""
        before = self.found.tokens[-1] if self.found.tokens else None
        if before is None or before.end != self.at or self.command:
            return False
        return before.kind is Kind.WORD and _MEMBER.fullmatch(before.text) is not None

    def opened(self, match: re.Match[str]) -> None:
        self.operand()
        command, start, member = self.command, self.start, self.of_member()
        token = self.add(Kind.OPEN, match.end())
        token.start = start
        self.stack.append(len(self.found.tokens) - 1)
        token.command = command
        self.begin(Start.NOTHING if member else Start.ELEMENT if token.text == "(" else Start.STATEMENT)

    def close(self) -> None:
        closer = self.text[self.at]
        if not self.stack:
            self.wrong(self.at, f"`{closer}` closes nothing")
            self.at += 1
            return
        index = self.stack.pop()
        opened = self.found.tokens[index]
        if _CLOSERS[opened.text] != closer:
            self.wrong(opened.at, f"`{opened.text}` is not closed before the `{closer}` that follows")
        self.begin(Start.NOTHING)
        self.command = opened.command
        token = self.add(Kind.CLOSE, self.at + 1)
        if (opened.text == "{" and self.ends_statement(index)) or (opened.text == "(" and self.of_param(index)):
            self.begin(Start.STATEMENT)
        token.partner, opened.partner = index, len(self.found.tokens) - 1

    def of_param(self, index: int) -> bool:
        """After the parentheses of `param` a statement begins, on the same line, too; `[CmdletBinding()]param` is one
        word here."""
        before = self.found.tokens[index - 1] if index else None
        return (
            before is not None
            and before.kind is Kind.WORD
            and re.fullmatch(r"(?:.*\])?param", before.text, re.IGNORECASE) is not None
        )

    def ends_statement(self, index: int) -> bool:
        """After the block of an `if` or a function no `;` is needed; after one that is a value it is."""
        opened, before = self.found.tokens[index], self.found.tokens[index - 1] if index else None
        if opened.start is Start.NOTHING:
            return not opened.command
        return before is not None and before.text.lower() in ("else", "try", "finally", "do")

    def block_comment(self) -> None:
        end = self.text.find("#>", self.at + 2)
        if end < 0:
            self.wrong(self.at, "`<#` is not closed")
            end = len(self.text)
        token = self.add(Kind.COMMENT, min(end + 2, len(self.text)))
        token.start = Start.NOTHING

    def string(self) -> None:
        self.operand()
        if self.text[self.at] in SINGLE:
            end, literal = self.single(self.at + 1), True
        else:
            end, literal = self.double(self.at + 1)
        if end < 0:
            self.wrong(self.at, "a string that begins here does not end")
            end = len(self.text)
        self.add(Kind.STRING, end, literal=literal)
        self.start = Start.NOTHING

    def single(self, at: int) -> int:
        """The end of a string in single quotes, or -1."""
        text = self.text
        while at < len(text):
            if match := _PLAIN_SINGLE.match(text, at):
                at = match.end()
            elif at + 1 < len(text) and text[at + 1] in SINGLE:
                at += 2
            else:
                return at + 1
        return -1

    def double(self, at: int) -> tuple[int, bool]:
        """The end of a string in double quotes, or -1, and whether nothing in it is expanded."""
        text, literal = self.text, True
        while at < len(text):
            if match := _PLAIN_DOUBLE.match(text, at):
                at = match.end()
            elif text[at] == "`":
                at, literal = at + 2, False
            elif text[at] == "$":
                at, literal = self.dollar(at), False
            elif at + 1 < len(text) and text[at + 1] in DOUBLE:
                at += 2
            else:
                return at + 1, literal
        return -1, literal

    def dollar(self, at: int) -> int:
        """Past a `$` in a string, and what belongs to it."""
        text = self.text
        if text.startswith("$(", at):
            if self.depth >= _DEEPEST:
                self.found.given_up = "it is nested too deeply"
                return len(text)
            inner = _Scanner(text, at + 2, self.depth + 1, ends=self.ends)
            inner.script(inside=True)
            self.found.mistakes += inner.found.mistakes
            self.found.given_up = self.found.given_up or inner.found.given_up
            return inner.at
        if match := _DRIVE.match(text, at):
            what = f"`${match[1]}:` in a string is taken for a drive: write `${{{match[1]}}}:`"
            self.wrong(at, what)
        if match := _VARIABLE.match(text, at):
            return match.end()
        if text.startswith("${", at):
            self.wrong(at, "`${` is not closed")
            return len(text)
        return at + 1

    def here_string(self) -> None:
        self.operand()
        text, header = self.text, _HERE.match(self.text, self.at)
        if header is None:
            self.wrong(self.at, f"text after `{text[self.at : self.at + 2]}`: a here-string begins on the next line")
            self.at = len(text)
            return
        single = header[1] in SINGLE
        at = header.end() - 1  # the newline may be that before the end
        footer = re.compile(rf"(?:\r\n|[\r\n])[{SINGLE if single else DOUBLE}]@")
        literal = single
        if single:
            match = footer.search(text, at)
            end = match.end() if match else -1
        else:
            end, literal = self.here_end(at, footer)
        if end < 0:
            self.wrong(self.at, f"the here-string is not closed: `{header[1]}@` must be the begin of a line")
            end = len(text)
        self.add(Kind.STRING, end, literal=literal)
        self.start = Start.NOTHING

    def here_end(self, at: int, footer: re.Pattern[str]) -> tuple[int, bool]:
        """The end of a here-string in double quotes: `$(...)` in it may hold lines that look like its end."""
        text, literal = self.text, True
        plain = re.compile(r"[^\r\n`$]+")
        while at < len(text):
            if match := plain.match(text, at):
                at = match.end()
            elif match := footer.match(text, at):
                return match.end(), literal
            elif text[at] == "`":
                # A backtick before the last newline does not save the here-string from its end.
                at, literal = at + (1 if text[at + 1 : at + 2] in ("\r", "\n") else 2), False
            elif text[at] == "$":
                at, literal = self.dollar(at), False
            else:
                at += 1
        return -1, literal
