"""Text for people: foreign text without control characters, durations, ages.

Foreign is what others wrote: guests, servers, templates, images, file names, other programs. Two kinds of readers obey
text: terminals (control characters) and the runners of CI systems (workflow commands: `::name::` where a line starts,
`##[name]` and `##vso[area.event]` anywhere). `clean` is for the first, `defused` for the second, and where both read it
is cleaned first: what is taken out may have stood inside a command. `aibemu.views.screen` does both for all that is
shown.
"""

from __future__ import annotations

import re
from collections.abc import Sized
from datetime import timedelta

# Escape sequences with their arguments.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[PX^_][^\x1b]*(?:\x1b\\)?|[ -/]*[0-~])"
)
_BREAKS = re.compile(r"[\n\v\f\r\x85\u2028\u2029]+")
# Control characters but tab and line feed; what is not seen: soft hyphens, widths of zero, directions, tags. Not the
# byte order mark: a script that begins with one is shown as such.
_UNSEEN = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufff9-\ufffb"
    r"\U000e0000-\U000e0fff"
)
_CONTROLS = re.compile(rf"[\n{_UNSEEN}]")
# What `clean` takes out or away of one line: tabs stay.
UNSEEN = re.compile(rf"[{_UNSEEN}]")
# The runners compare as their culture does: a mark or control character inside of a command is passed over.
_MARK = r"[^\w\n -~]*"
_LETTERS = rf"(?:[a-z]{_MARK})*"
_HASHES = re.compile(rf"#(?={_MARK}#{_MARK}(?:{_LETTERS}\[|v{_MARK}s{_MARK}o))", re.IGNORECASE)
_COLONS = re.compile(rf"[^\w!-~]*:(?={_MARK}:)")
_LINE_ENDS = re.compile(r"([\n\r])")
_AGES = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATIONS = (("day", 86_400_000_000), ("hour", 3_600_000_000), ("minute", 60_000_000), ("second", 1_000_000),
              ("millisecond", 1000), ("microsecond", 1))  # fmt: skip


def clean(text: str) -> str:
    """One line, without anything that a terminal would obey or that nobody sees; tabs stay."""
    return _CONTROLS.sub("", _BREAKS.sub(" ", _ESCAPES.sub("", text)))


def seen(text: str) -> tuple[str, list[int]]:
    """What `clean` leaves of `text`, but a blank for each character that breaks a line; and where in `text` each
    character of it stands."""
    kept: list[tuple[str, int]] = []
    place = 0
    for escape in (*_ESCAPES.finditer(text), None):
        end = escape.start() if escape else len(text)
        for at in range(place, end):
            if _BREAKS.match(character := text[at]):
                kept.append((" ", at))
            elif not _CONTROLS.match(character):
                kept.append((character, at))
        place = escape.end() if escape else end
    return "".join(character for character, _ in kept), [at for _, at in kept]


def harmless(text: str) -> str:
    """`clean`, with blanks for tabs: for what is measured or stands in columns."""
    return clean(text).expandtabs(8)


def defused(text: str, *, hash_: str = "# ", colon: str = ": ") -> str:
    """`text` without workflow commands: `##vso[x]` becomes `# #vso[x]`, `::x::` where a line starts `: :x::`.

    hash_, colon: what the first of the two characters becomes, for text in which blanks count.
    """
    if "#" not in text and ":" not in text:
        return text
    return "".join(_defused_line(piece, hash_, colon) for piece in _LINE_ENDS.split(text))


def _defused_line(line: str, hash_: str, colon: str) -> str:
    line = _HASHES.sub(lambda _: hash_, line)
    if found := _COLONS.match(line):
        line = line[: found.end() - 1] + colon + line[found.end() :]
    return line


def clean_json(text: str) -> str:
    """JSON (one value or a part of its lines) that means the same, cleaned and defused by escapes."""
    text = UNSEEN.sub(lambda found: _json_escape(found[0]), text)
    return defused(text, hash_=_json_escape("#"))


def _json_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def clean_xml(text: str) -> str:
    """XML in ASCII that means the same, defused by references; it has no other controls to begin with."""
    return defused(text, hash_="&#35;", colon="&#58;")


class Painted(str):
    """A line with colours of aibemu's own, made by `painted`. The screen goes by `parts`: whoever changes the text
    loses the colours, and nobody else's get through with them."""

    parts: tuple[tuple[str, str], ...] = ()  # text, code of its colour or ""


def painted(*parts: str | tuple[str, str]) -> Painted:
    """A line of texts and of (text, code of the colour): `painted(("error:", "31;1"), " no such file")`."""
    pairs = tuple((part, "") if isinstance(part, str) else part for part in parts)
    line = Painted("".join(f"\x1b[{code}m{text}\x1b[0m" if code else text for text, code in pairs))
    line.parts = pairs
    return line


def counted(count: int, noun: str) -> str:
    """`1 run`, `2 runs`: any noun that takes an s."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def nth(number: int, of: Sized) -> str:
    """`number 2 of 3`: which one is meant, where its text must not be repeated. Numbers count from 1."""
    return f"number {number} of {len(of)}"


def short(seconds: float | None) -> str:
    """A duration: `0.4s`, `12s`, `3m13s`, `1h02m`; `-` for None."""
    if seconds is None:
        return "-"
    if seconds < 9.95:
        return f"{max(0.0, seconds):.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes}m{rest:02}s" if minutes < 60 else f"{minutes // 60}h{minutes % 60:02}m"


def packer_words(seconds: float) -> str:
    """`3 minutes 13 seconds`: the two largest units that are not zero (facts: service 4.1; Packer uses durafmt)."""
    left = max(0, round(seconds * 1_000_000))
    parts: list[str] = []
    for unit, size in _DURATIONS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'' if count == 1 else 's'}")
    return " ".join(parts[:2]) or "0 seconds"


def parse_age(text: str) -> timedelta | None:
    """`30m`, `12h`, `7d`, `2w`; None for anything else."""
    match = re.fullmatch(r"(\d{1,6})([smhdw])", text.strip())
    return timedelta(seconds=int(match[1]) * _AGES[match[2]]) if match else None


def age_words(age: timedelta) -> str:
    """`8 s`, `5 min`, `3 h`, `2 d`: the largest unit that it fills."""
    seconds = max(0, int(age.total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
