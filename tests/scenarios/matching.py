"""How an expectation is held against what happened: small, and strict where silence would be agreement.

Values: a mapping matches when each of its keys does (`<absent>`: the key must not be there), a list needs the same
length, a text that starts with `~` is a regular expression that must be found, everything else must be equal.

Texts (logs, output, files): a list of regular expressions that must be found one after the other, or a mapping of
`in_order`, `never`, `count: {regex: number}`, `absent: true` (no such file), `empty: true`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

ABSENT = "<absent>"
TEXT_KEYS = frozenset({"in_order", "never", "count", "absent", "empty"})


class BadExpectation(Exception):
    """The expectation itself makes no sense."""


def check_keys(given: Any, known: frozenset[str], where: str) -> Mapping[str, Any]:
    """`given` as a mapping that has no other keys; an expectation that nobody reads would be no expectation."""
    if not isinstance(given, dict):
        raise BadExpectation(f"{where} must be a mapping, not {given!r}")
    if unknown := sorted(str(key) for key in given if key not in known):
        raise BadExpectation(f"{where} has unknown keys: {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    return given


def differences(expected: Any, actual: Any, where: str) -> list[str]:
    """One sentence for each place where `actual` is not as expected."""
    if isinstance(expected, dict):
        if not isinstance(actual, Mapping):
            return [f"{where}: expected a mapping, found {actual!r}"]
        found = []
        for key, wanted in expected.items():
            if wanted == ABSENT:
                found += [f"{where}.{key}: should not be there, is {actual[key]!r}"] if key in actual else []
            elif key not in actual:
                found.append(f"{where}.{key}: missing; there is: {', '.join(map(str, actual))}")
            else:
                found += differences(wanted, actual[key], f"{where}.{key}")
        return found
    if isinstance(expected, list):
        if not isinstance(actual, Sequence) or isinstance(actual, str):
            return [f"{where}: expected a list, found {actual!r}"]
        if len(expected) != len(actual):
            return [f"{where}: expected {len(expected)} entries, found {len(actual)}: {actual!r}"]
        return [
            line
            for place, (wanted, value) in enumerate(zip(expected, actual, strict=True))
            for line in differences(wanted, value, f"{where}[{place}]")
        ]
    if isinstance(expected, str) and expected.startswith("~"):
        good = isinstance(actual, str) and pattern(expected[1:]).search(actual)
        return [] if good else [f"{where}: {actual!r} has no match for {expected[1:]!r}"]
    same = expected == actual and isinstance(expected, bool) == isinstance(actual, bool)
    return [] if same else [f"{where}: expected {expected!r}, found {actual!r}"]


def pattern(text: str) -> re.Pattern[str]:
    """Lines count: ^ and $ are theirs."""
    try:
        return re.compile(text, re.MULTILINE)
    except re.error as error:
        raise BadExpectation(f"{text!r} is no regular expression: {error}") from None


def text_differences(expected: Any, actual: str | None, where: str) -> list[str]:
    """`actual` None: there is no such file."""
    wanted = _text_expectation(expected, where)
    if wanted.get("absent"):
        return [] if actual is None else [f"{where}: should not exist, holds:\n{_indented(actual)}"]
    if actual is None:
        return [f"{where}: does not exist"]
    if wanted.get("empty"):
        return [] if not actual else [f"{where}: should be empty, holds:\n{_indented(actual)}"]
    found: list[str] = []
    place = 0
    for regex in wanted.get("in_order") or ():
        if match := pattern(regex).search(actual, place):
            place = match.end()
        else:
            where_else = " (it is there, but earlier)" if pattern(regex).search(actual) else ""
            found.append(f"{where}: not found in order{where_else}: {regex!r}")
            break
    for regex in wanted.get("never") or ():
        if match := pattern(regex).search(actual):
            found.append(f"{where}: must not appear: {regex!r}, but there is {match.group()!r}")
    for regex, number in (wanted.get("count") or {}).items():
        if (seen := len(pattern(regex).findall(actual))) != number:
            found.append(f"{where}: {regex!r} expected {number} times, found {seen} times")
    return [*found, f"{where} holds:\n{_indented(actual)}"] if found else []


def told_differences(expected: Any, told: list[str] | None, where: str) -> list[str]:
    """Like a text, but of whole entries: each regular expression of `in_order` needs an entry of its own."""
    wanted = _text_expectation(expected, where)
    if wanted.get("absent"):
        return [] if told is None else [f"{where}: there should be no such machine"]
    if told is None:
        return [f"{where}: there was no such machine"]
    found: list[str] = []
    rest = iter(told)
    for regex in wanted.get("in_order") or ():
        if not any(pattern(regex).search(entry) for entry in rest):
            found.append(f"{where}: not told in order: {regex!r}")
            break
    for regex in wanted.get("never") or ():
        found += [f"{where}: must not be told {regex!r}: {entry!r}" for entry in told if pattern(regex).search(entry)]
    for regex, number in (wanted.get("count") or {}).items():
        if (seen := sum(1 for entry in told if pattern(regex).search(entry))) != number:
            found.append(f"{where}: {regex!r} expected {number} times, told {seen} times")
    return [*found, f"{where} was told:\n" + "\n".join(_indented(entry) for entry in told)] if found else []


def event_differences(expected: Any, events: list[dict[str, Any]]) -> list[str]:
    """`in_order` and `never` (or just a list): mappings that events match."""
    wanted = check_keys({"in_order": expected} if isinstance(expected, list) else expected, _EVENT_KEYS, "events")
    found: list[str] = []
    rest = iter(events)
    for each in wanted.get("in_order") or ():
        if not any(not differences(each, event, "event") for event in rest):
            found.append(f"events: not found in order: {each!r}")
            break
    for each in wanted.get("never") or ():
        found += [f"events: must not happen: {event!r}" for event in events if not differences(each, event, "event")]
    return [*found, "events were:\n" + "\n".join(_indented(str(event)) for event in events)] if found else []


_EVENT_KEYS = frozenset({"in_order", "never"})


def _text_expectation(expected: Any, where: str) -> Mapping[str, Any]:
    wanted = check_keys({"in_order": expected} if isinstance(expected, list) else expected, TEXT_KEYS, where)
    if not any(wanted.values()):
        raise BadExpectation(f"{where} expects nothing")
    for key in ("in_order", "never"):
        if not all(isinstance(regex, str) for regex in wanted.get(key) or ()):
            raise BadExpectation(f"{where}.{key} must hold texts")
    return wanted


def _indented(text: str) -> str:
    return "\n".join(f"    | {line}" for line in text.splitlines())
