"""Numbers as text: standard (`N2`, `X`, `P`) and custom (`#,##0.00;(0.00);zero`) formats of .NET's invariant culture.

A number with a fraction is rounded as .NET does it: exactly, and to the even neighbour, by standard formats; by custom
ones after 15 digits, and away from zero. Checked against Azure's engine: tests/contract/test_engine_live.py.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

MOST_DIGITS = 999_999_999
_STANDARD = re.compile(r"([A-Za-z])([0-9]*)")
# An escaped character, quoted text (which may be left open), an exponent, or one character.
_TOKEN = re.compile(r"""\\(.?)|'([^']*)'?|"([^"]*)"?|([eE](?:[+-]?0+))|(.)""", re.DOTALL)
_WORKED_DIGITS = 15  # .NET's custom formats look at no more digits of a number with a fraction
_LONGEST = 100_000  # digits; no text of a template may be longer


class FormatInvalid(Exception):
    """The number cannot be written with this format. azure: .NET's words."""

    azure = "Format specifier was invalid."


def double_text(number: float) -> str:
    """The shortest text that gives the number again: `1`, `0.0001`, `1E-05`, `1E+17`."""
    if not math.isfinite(number):
        return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"
    sign = "-" if math.copysign(1, number) < 0 else ""
    if number == 0:
        return f"{sign}0"
    mantissa, _, exponent = f"{abs(number)!r}".partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = int(exponent or 0) + (len(whole) if whole != "0" else len(digits) - len(fraction))
    return sign + _general(digits.rstrip("0"), point, 17, "E")


def formatted(number: int | float, pattern: str) -> str:
    """The number in this format; without one as double_text. Raises FormatInvalid."""
    if isinstance(number, float) and not math.isfinite(number):
        return double_text(number)
    if not pattern:
        return double_text(number) if isinstance(number, float) else str(number)
    standard = _STANDARD.fullmatch(pattern)
    if standard:
        digits = standard.group(2)
        if len(digits.lstrip("0")) > 9 or int(digits or 0) > MOST_DIGITS:
            raise FormatInvalid(f"'{pattern}' has too many digits")
        if int(digits or 0) > _LONGEST:
            raise FormatInvalid(f"'{pattern}' makes too long a text")
        return _standard(number, standard.group(1), int(digits) if digits else None)
    return _custom(number, pattern)


def _standard(number: int | float, letter: str, precision: int | None) -> str:
    kind = letter.upper()
    if kind in "BDX" and isinstance(number, int):
        return _whole(number, letter, precision or 0)
    if kind in "NFCP":
        return _fixed(number, kind, 2 if precision is None else precision)
    if kind == "E":
        return _exponential(number, letter, 6 if precision is None else precision)
    if kind == "R":
        return double_text(number) if isinstance(number, float) else str(number)
    if kind == "G":
        return _precise(number, "E" if letter == "G" else "e", precision or 0)
    raise FormatInvalid(f"'{letter}' is no format for {'a whole number' if isinstance(number, int) else 'a fraction'}")


def _whole(number: int, letter: str, precision: int) -> str:
    if letter in "dD":
        return f"{'-' if number < 0 else ''}{abs(number):0{max(1, precision)}}"
    text = (
        f"{number & 0xFFFFFFFFFFFFFFFF if number < 0 else number:0{max(1, precision)}{'b' if letter in 'bB' else 'x'}}"
    )
    return text.upper() if letter == "X" else text


def _fixed(number: int | float, kind: str, decimals: int) -> str:
    digits = _rounded(number, decimals, shift=2 if kind == "P" else 0)
    text = f"{digits.copy_abs():{'' if kind == 'F' else ','}f}"
    negative = digits.is_signed()
    if kind == "C":
        return f"(\u00a4{text})" if negative else f"\u00a4{text}"
    return f"{'-' if negative else ''}{text}{' %' if kind == 'P' else ''}"


def _exponential(number: int | float, letter: str, decimals: int) -> str:
    mantissa, _, exponent = f"{_exact(number):.{decimals}e}".partition("e")
    return f"{mantissa}{letter}{exponent[0]}{exponent[1:].zfill(3)}"


def _precise(number: int | float, letter: str, precision: int) -> str:
    if not precision:
        return double_text(number).replace("E", letter) if isinstance(number, float) else str(number)
    if number == 0:
        return "-0" if math.copysign(1, number) < 0 else "0"
    mantissa, _, exponent = f"{abs(_exact(number)):.{precision - 1}e}".partition("e")
    digits = mantissa.replace(".", "").rstrip("0")
    return ("-" if number < 0 else "") + _general(digits, int(exponent) + 1, precision, letter)


def _general(digits: str, point: int, most: int, letter: str) -> str:
    """Digits with the point after so many of them, as .NET's format G: with an exponent where the point is far."""
    if -4 < point <= most:
        if point <= 0:
            return f"0.{'0' * -point}{digits}"
        padded = digits.ljust(point, "0")
        return f"{padded[:point]}.{padded[point:]}" if len(padded) > point else padded
    mantissa = f"{digits[0]}.{digits[1:]}" if len(digits) > 1 else digits
    return f"{mantissa}{letter}{'-' if point < 1 else '+'}{abs(point - 1):02}"


def _exact(number: int | float) -> Decimal:
    """Unlike a float, of any size."""
    from decimal import Decimal

    return Decimal(number)


def _rounded(number: int | float, decimals: int, *, shift: int = 0) -> Decimal:
    """To so many decimals. shift: times a power of ten."""
    from decimal import ROUND_HALF_EVEN, Context, Decimal  # 20 ms that most templates need not spend

    context = Context(prec=decimals + 700 + len(str(number)), rounding=ROUND_HALF_EVEN)
    return Decimal(number).scaleb(shift, context).quantize(Decimal(1).scaleb(-decimals), context=context)


@dataclass(slots=True)
class _Section:
    """What a section of a custom format says. shift: of the decimal point; whole, fraction: places for digits."""

    tokens: list[tuple[str, str]]  # the kind (`digit`, `point`, `exponent`, `text`) and the text
    whole: int = 0
    fraction: int = 0
    first_zero: int = -1  # the first place before the point that is always written
    last_zero: int = -1  # the last place that is always written
    shift: int = 0
    grouped: bool = False
    exponent: bool = False


def _section(pattern: str) -> _Section:
    section = _Section(tokens=[])
    comma_after = -1  # the place of the digits that the last comma follows
    places = point = 0
    seen_point = False
    for match in _TOKEN.finditer(pattern):
        escaped, single, double, exponent, char = match.groups()
        if exponent and not section.exponent:
            section.exponent = True
            section.tokens.append(("exponent", exponent))
        elif char and char in "#0":
            if char == "0":
                section.first_zero = places if section.first_zero < 0 else section.first_zero
                section.last_zero = places
            if comma_after >= 0 and not seen_point:
                section.grouped = True
            places += 1
            section.tokens.append(("digit", char))
        elif char == ".":
            if not seen_point:
                seen_point, point = True, places
                section.tokens.append(("point", char))
        elif char == ",":
            if places and not seen_point:
                comma_after = places if comma_after < 0 else comma_after
                section.tokens.append(("comma", char))
        else:
            section.shift += {"%": 2, "\u2030": 3}.get(char or "", 0)
            text = next((part for part in (escaped, single, double, exponent, char) if part is not None), "")
            section.tokens.append(("text", text))
    section.whole = point if seen_point else places
    section.fraction = places - section.whole
    _commas(section)
    return section


def _commas(section: _Section) -> None:
    """Commas at the end of the places before the point divide by a thousand each; others group digits."""
    seen = 0
    trailing = 0
    section.grouped = False
    for kind, _ in section.tokens:
        if kind == "digit" and seen < section.whole:
            section.grouped = section.grouped or trailing > 0
            trailing = 0
            seen += 1
        elif kind == "comma":
            trailing += 1
    section.shift -= 3 * trailing
    section.tokens = [token for token in section.tokens if token[0] != "comma"]


def _sections(pattern: str) -> list[str]:
    """The parts between semicolons that are not in quotes."""
    parts = [""]
    for match in _TOKEN.finditer(pattern):
        if match.group() == ";":
            parts.append("")
        else:
            parts[-1] += match.group()
    return parts


def _custom(number: int | float, pattern: str) -> str:
    parts = _sections(pattern)
    chosen = 0
    if number < 0 and len(parts) > 1 and parts[1]:
        chosen = 1
    if number == 0 and len(parts) > 2 and parts[2]:
        chosen = 2
    digits, point, section = _digits_for(number, parts[chosen])
    if not digits and number != 0 and len(parts) > 2 and parts[2] and chosen != 2:
        chosen = 2
        digits, point, section = _digits_for(0, parts[2])
    negative = math.copysign(1, number) < 0 if isinstance(number, float) else number < 0
    text = _written(digits, point, section)
    signed = negative and chosen == 0 and (digits or isinstance(number, float))
    return f"-{text}" if signed and text else text


def _digits_for(number: int | float, part: str) -> tuple[str, int, _Section]:
    """The digits that the section writes, and how many of them stand before the point."""
    section = _section(part)
    digits, point = _digits(number)
    point += section.shift if digits else 0
    kept = section.whole + section.fraction if section.exponent else point + section.fraction
    digits, carried = _cut(digits, kept)
    return digits, point + carried, section


def _digits(number: int | float) -> tuple[str, int]:
    if isinstance(number, int):
        text = str(abs(number))
        return (text.rstrip("0"), len(text)) if number else ("", 0)
    if number == 0:
        return "", 0
    mantissa, _, exponent = f"{abs(number):.{_WORKED_DIGITS - 1}e}".partition("e")
    return mantissa.replace(".", "").rstrip("0"), int(exponent) + 1


def _cut(digits: str, kept: int) -> tuple[str, int]:
    """So many digits, rounded away from zero; and 1 when that made one more before the point."""
    if kept >= len(digits):
        return digits, 0
    if kept < 0 or digits[kept] < "5":
        return digits[: max(0, kept)].rstrip("0"), 0
    raised = str(int(digits[:kept] or "0") + 1)
    return raised.rstrip("0"), len(raised) - max(kept, len(digits[:kept]))


def _written(digits: str, point: int, section: _Section) -> str:
    power = 0
    if section.exponent:
        power = point - section.whole if digits else 0
        point = section.whole if digits else 0
    whole = digits[: max(0, point)].ljust(max(0, point), "0")
    fraction = digits[point:] if point >= 0 else "0" * -point + digits
    zeros = section.whole - section.first_zero if 0 <= section.first_zero < section.whole else 0
    whole = whole.rjust(zeros, "0")
    always = max(0, section.last_zero - section.whole + 1)
    fraction = fraction.ljust(always, "0")
    return _laid_out(whole, fraction, power, section)


def _laid_out(whole: str, fraction: str, power: int, section: _Section) -> str:
    """The digits put into the places; those that are too many before the first place."""
    made: list[str] = []
    place = 0
    used = 0
    for kind, text in section.tokens:
        if kind == "digit" and place < section.whole:
            upto = len(whole) - (section.whole - place - 1)
            for at in range(used, max(used, upto)):
                made.append(whole[at])
                left = len(whole) - at - 1
                if section.grouped and left and left % 3 == 0:
                    made.append(",")
            used = max(used, upto)
            place += 1
        elif kind == "digit":
            made.append(fraction[place - section.whole : place - section.whole + 1])
            place += 1
        elif kind == "point":
            if not section.whole:
                made.append(whole)
            made.append("." if fraction else "")
        elif kind == "exponent":
            made.append(_power(text, power))
        else:
            made.append(text)
    return "".join(made)


def _power(text: str, power: int) -> str:
    sign = "-" if power < 0 else "+" if text[1] == "+" else ""
    return f"{text[0]}{sign}{abs(power):0{text.count('0')}}"
