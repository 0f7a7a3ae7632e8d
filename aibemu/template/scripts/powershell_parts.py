"""What a PowerShell script is made of: its commands, and mistakes in how statements are built."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from aibemu.template.scripts.powershell_model import Kind, Mistake, Start, Token, Tokens

# Words that begin a statement also where a value is expected: `$x = if (...) {...}`.
_LONGEST = 40  # tokens of one argument that are shown
_STATEMENTS = "if switch foreach for while do try data catch finally function"
_NO_COMMANDS = frozenset(_STATEMENTS.split())
_COMPARISONS = "eq ne gt ge lt le like notlike match notmatch contains notcontains in notin replace split"
_OTHERS = "and or xor not band bor bxor bnot shl shr is isnot as f join"
_OPERATORS = frozenset(
    [*_OTHERS.split(), *(f"{case}{word}" for case in ("", "c", "i") for word in _COMPARISONS.split())]
)


# Words of other languages, where PowerShell has an operator with a dash. `in` and `is` stand elsewhere, too.
_WORD_OPERATOR = re.compile(r"and|or|eq|ne|gt|lt|ge|le|like|notlike|match|notmatch|contains", re.IGNORECASE)
_VALUES = (Kind.STRING, Kind.VARIABLE, Kind.CLOSE)


def _is_operator(word: str) -> bool:
    return word.startswith("-") and word[1:].lower() in _OPERATORS


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One command. name: in lower case, without folder, module and `.exe`. arguments: as written, what stands together
    as one; ends: the offset after the last. tokens: those of the arguments, brackets and what is in them included."""

    name: str
    at: int
    arguments: tuple[str, ...]
    places: tuple[int, ...]
    first: int
    last: int

    @property
    def text(self) -> str:
        """All of it in lower case, single blanks between the arguments."""
        return " ".join((self.name, *self.arguments)).lower()


def calls_of(found: Tokens) -> Iterator[Call]:
    """Every command whose name is written out."""
    tokens = found.tokens
    for index, token in enumerate(tokens):
        if token.start is Start.NOTHING or not token.command or token.kind not in (Kind.WORD, Kind.BREAK):
            continue
        if token.text.lower() in _NO_COMMANDS:
            continue
        first = index
        if token.text in ("&", "."):
            first += 1
        if first < len(tokens) and (call := _call(tokens, index, first)):
            yield call


def _call(tokens: Sequence[Token], index: int, first: int) -> Call | None:
    name, place = tokens[first], tokens[index]
    if name.kind not in (Kind.WORD, Kind.STRING, Kind.VARIABLE) or name.opener != place.opener:
        return None
    groups = list(_groups(tokens, first))
    if not groups:
        return None
    texts = tuple("".join(token.value for token in tokens[start : min(end, start + _LONGEST)]) for start, end in groups)
    last = re.split(r"[\\/]", texts[0].replace("`", ""))[-1].lower()
    return Call(
        name=last.removesuffix(".exe"), at=tokens[first].at, arguments=texts[1:],
        places=tuple(tokens[start].at for start, _ in groups[1:]), first=first, last=groups[-1][1],
    )  # fmt: skip


def _groups(tokens: Sequence[Token], at: int) -> Iterator[tuple[int, int]]:
    """The tokens that stand together without a blank, from `at` to the end of the command, as half-open ranges."""
    start = at
    while at < len(tokens):
        token = tokens[at]
        if token.kind in (Kind.END, Kind.PIPE, Kind.CLOSE) or token.text in ("&&", "||"):
            break
        if token.kind is Kind.COMMENT:
            at += 1
            continue
        after = token.partner + 1 if token.kind is Kind.OPEN else at + 1
        if token.kind is Kind.OPEN and token.partner < 0:
            break
        end = tokens[after - 1].end
        following = tokens[after] if after < len(tokens) else None
        joined = following is not None and following.at == end and following.kind in (
            Kind.WORD, Kind.VARIABLE, Kind.STRING, Kind.OPEN
        ) and following.text[:1] != "{"  # fmt: skip
        if not joined:
            yield start, after
            start = after
            while start < len(tokens) and tokens[start].kind is Kind.COMMENT:
                start += 1
            at = start
        else:
            at = after


def mistakes_of(found: Tokens) -> list[Mistake]:
    """What Windows PowerShell 5.1 refuses in how statements are built, in the order of the text."""
    if not found.whole:
        return []
    wrong = list(found.mistakes)
    if not wrong:
        wrong = list(islice(_Statements(found.tokens).mistakes(), 1))
    return sorted(wrong, key=lambda mistake: mistake.at)


class _Statements:
    """Keywords and what must follow them; operators that only PowerShell 7 knows."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.page = False

    def mistakes(self) -> Iterator[Mistake]:
        for index, token in enumerate(self.tokens):
            if token.start is not Start.NOTHING:
                # A line of HTML or XML: `<` is then the name of a command that does not exist, and parses.
                self.page = token.text.startswith("<")
            if token.start is Start.STATEMENT and token.kind is Kind.WORD and self.in_block(token):
                yield from self.keyword(index, token.text.lower())
            if token.kind is Kind.BREAK:
                yield from self.operator(index)
            elif token.kind is Kind.WORD and index:
                yield from self.operand(index)
            elif token.kind is Kind.PIPE:
                yield from self.pipe(index)

    def in_block(self, token: Token) -> bool:
        return token.opener < 0 or self.tokens[token.opener].text in ("{", "$(", "@(")

    def following(self, index: int, *, lines: bool = True) -> int:
        """The next token that is no comment, and no new line either."""
        index += 1
        while index < len(self.tokens) and (
            self.tokens[index].kind is Kind.COMMENT
            or (lines and self.tokens[index].kind is Kind.END and self.tokens[index].text != ";")
        ):
            index += 1
        return index

    def text(self, index: int) -> str:
        return self.tokens[index].text.lower() if index < len(self.tokens) else ""

    def keyword(self, index: int, word: str) -> Iterator[Mistake]:
        at = self.tokens[index].at
        if word in ("if", "while", "for", "foreach"):
            head = self.following(index)
            if self.text(head) != "(":
                if not (word == "foreach" and self.text(head).startswith("-")) and not self.member(index):
                    yield Mistake(at, f"`{word}` without `(`: a condition stands in parentheses")
                return
            yield from self.head(index, word, head)
            if word == "if":
                yield from self.branches(index, head)
        elif word in ("function", "filter") and self.text(self.following(index)) in ("{", "("):
            yield Mistake(at, f"`{word}` without a name")
        elif word == "try" and self.text(body := self.following(index)) == "{":
            after = self.following(self.tokens[body].partner)
            if self.text(after) not in ("catch", "finally"):
                yield Mistake(at, "`try` without `catch` or `finally`")

    def head(self, index: int, word: str, head: int) -> Iterator[Mistake]:
        """What stands in the parentheses after a keyword, and the block after them."""
        at, end = self.tokens[index].at, self.tokens[head].partner
        if word in ("if", "while") and end == head + 1:
            yield Mistake(at, f"`{word} ()` without a condition")
        elif word == "foreach" and not any(
            token.opener == head and token.text.lower() == "in" for token in self.tokens[head:end]
        ):
            yield Mistake(at, "`foreach` without `in`: foreach ($one in $all) { ... }")
        if word in ("for", "foreach") and self.text(self.following(end)) != "{":
            yield Mistake(at, f"`{word}` without `{{` after its parentheses")

    def member(self, index: int) -> bool:
        """`if = 1`, `for: x`: a key, or a name of somebody's own."""
        after = self.text(self.following(index, lines=False))
        return after.startswith(("=", ".", ":")) or self.tokens[index].end == self.next_at(index)

    def next_at(self, index: int) -> int:
        return self.tokens[index + 1].at if index + 1 < len(self.tokens) else -1

    def branches(self, index: int, head: int) -> Iterator[Mistake]:
        """`if (...) {...} elseif (...) {...} else {...}`."""
        while True:
            body = self.following(self.tokens[head].partner)
            if self.text(body) != "{":
                yield Mistake(self.tokens[index].at, f"`{self.text(index)}` without `{{` after its condition")
                return
            index = self.following(self.tokens[body].partner)
            if self.text(index) == "else":
                if self.text(self.following(index)) != "{":
                    hint = ": `elseif` is one word" if self.text(self.following(index)) == "if" else ""
                    yield Mistake(self.tokens[index].at, f"`else` without `{{`{hint}")
                return
            if self.text(index) != "elseif":
                return
            head = self.following(index)
            if self.text(head) != "(":
                yield Mistake(self.tokens[index].at, "`elseif` without `(`: a condition stands in parentheses")
                return

    def operator(self, index: int) -> Iterator[Mistake]:
        token = self.tokens[index]
        if token.text in ("&&", "||"):
            yield Mistake(token.at, f"`{token.text}` is PowerShell 7's own; Windows Server has 5.1")
        elif token.text == "<" and token.start is Start.NOTHING and not self.page:
            yield Mistake(token.at, "`<` has no meaning in PowerShell: comparisons are `-lt` and `-le`")
        elif token.text == "," and self.nothing_after(index):
            yield Mistake(token.at, "nothing follows the `,`")
        elif token.text == "&" and token.start is Start.NOTHING:
            yield Mistake(token.at, "`&` after a command is for PowerShell 7 only; in an address it needs quotes")

    def operand(self, index: int) -> Iterator[Mistake]:
        """A word after a value, in an expression."""
        token, before = self.tokens[index], self.tokens[index - 1]
        if token.command or token.start is not Start.NOTHING or before.command:
            return
        word, joined = token.text, before.end == token.at
        if word.startswith("!="):
            yield Mistake(token.at, "`!=` is no operator: write `-ne`")
        elif re.fullmatch(r"[-+*/%]?=", word) and self.nothing_after(index):
            yield Mistake(token.at, f"nothing follows the `{word}`")
        if re.match(r"\?(?:\?=?$|$|[.\[])", word):
            yield Mistake(token.at, f"`{word[:3]}` is PowerShell 7's own; Windows Server has 5.1")
        if _is_operator(word) and re.match(r"[A-Za-z*]", self.text(after := self.following(index, lines=False))):
            yield Mistake(self.tokens[after].at, f"`{word}` wants a value: a text needs quotes, a command parentheses")
        elif _WORD_OPERATOR.fullmatch(word) and (before.kind in _VALUES or before.text.startswith(".")) and not joined:
            yield Mistake(token.at, f"`{word}` is no operator: write `-{word.lower()}`")
        if before.kind not in (Kind.STRING, Kind.VARIABLE) or (index > 1 and self.tokens[index - 2].end == before.at):
            return
        if before.start is Start.STATEMENT and (
            (before.kind is Kind.STRING and re.match(r"/[A-Za-z]", word)) or (joined and word.startswith("\\"))
        ):
            yield Mistake(before.at, "a path in quotes, or with a variable, is run only with `&` before it")
        elif (found := re.match(r"-([A-Za-z]+)", word)) and found[1].lower() not in _OPERATORS:
            hint = ": a path in quotes is run only with `&` before it" if before.start is Start.STATEMENT else ""
            yield Mistake(token.at, f"`-{found[1]}` is no operator{hint}")
        elif joined and before.kind is Kind.STRING and re.match(r"[A-Za-z0-9]", word):
            yield Mistake(token.at, "a word directly after a string: quotes inside of quotes are doubled")

    def pipe(self, index: int) -> Iterator[Mistake]:
        if self.tokens[index].start is Start.STATEMENT and not self.tokens[index].command:
            yield Mistake(self.tokens[index].at, "`|` at the begin of a line is PowerShell 7's own")
        elif self.nothing_after(index):
            yield Mistake(self.tokens[index].at, "nothing follows the `|`")

    def nothing_after(self, index: int) -> bool:
        """Whether a bracket, a statement or a part of a pipe ends after a token that something must follow."""
        after = self.following(index)
        return after >= len(self.tokens) or self.tokens[after].kind in (Kind.END, Kind.CLOSE, Kind.PIPE)
