"""Ten thousand damaged templates: never a traceback, never a hang, always a place inside the file."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.diagnostics import Diagnostic, TemplateInvalid
from aibemu.arm.reader import read
from aibemu.template.loader import load_text

FIXTURES = Path(__file__).parents[3] / "fixtures" / "templates"
CASES = Path(__file__).parents[2] / "scenarios" / "cases"
SEEDS = [
    *sorted(FIXTURES.glob("ok/*.json")), *sorted(FIXTURES.glob("expressions/*.json")),
    CASES / "deployment-with-parameters" / "template.json",
]  # fmt: skip
PIECES = [
    '"',
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\\",
    "\n",
    "//",
    "/*",
    "<x>",
    "[f('a')]",
    "[parameters('site')]",
    "copyIndex()",
    "('",
    "')",
    "variables('",
    "null",
    "1e9",
    "'",
    "\u00a0",
    "\x00",
]
VALUES: list[Any] = [
    "[concat('a', 1)]", "[parameters('packages')]", "[variables('login').name]", "[range(0, 9999)]", "[copyIndex()]",
    "[if(true(), createObject('copy', createArray()), null())]", "[reference('x').y]", "[resourceGroup()]",
    {"copy": [{"name": "a", "count": 3, "input": "[copyIndex('a')]"}]}, {"name": "l", "count": 800}, "[[", "[a]",
    None, True, -1, 0, 1.5, 10**30, "", " ", "[", "[[x]", "[x()]", "<y>", "latest", "Shell", "VHD", "Source", "\ud800",
    [], [[]], ["a"], {}, {"type": "Shell"}, {"type": None}, {"": ""},
]  # fmt: skip


def findings(text: str) -> tuple[Diagnostic, ...]:
    try:
        return load_text(text, Path("t.json"), known_kinds=frozenset({"Shell", "File"})).diagnostics
    except TemplateInvalid as error:
        assert error.diagnostics
        return error.diagnostics


def check_places(text: str) -> None:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    for diagnostic in findings(text):
        assert 1 <= diagnostic.span.line <= len(lines)
        assert 1 <= diagnostic.span.column <= len(lines[diagnostic.span.line - 1]) + 1
        assert diagnostic.message


def damage_text(text: str, rng: random.Random) -> str:
    for _ in range(rng.randint(1, 4)):
        start = rng.randrange(len(text) + 1)
        end = min(len(text), start + rng.choice([0, 0, 1, 1, 5, 60]))
        text = text[:start] + rng.choice(["", *PIECES]) + text[end:]
    return text


def containers(value: Any) -> list[Any]:
    found = [value] if isinstance(value, (dict, list)) else []
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [*found, *(entry for item in inner for entry in containers(item))]


def damage_value(value: Any, rng: random.Random) -> None:
    for _ in range(rng.randint(1, 3)):
        where = rng.choice(containers(value))
        keys = list(where) if isinstance(where, dict) else list(range(len(where)))
        if not keys:
            continue
        key = rng.choice(keys)
        if isinstance(key, str) and rng.random() < 0.4:
            item = where.pop(key)
            where[rng.choice([key.upper(), key[:-1], key + "s", "type", ""])] = item
        elif rng.random() < 0.4:
            del where[key]
        else:
            where[key] = json.loads(json.dumps(rng.choice(VALUES)))


@pytest.mark.parametrize("block", range(10))
def test_damaged_text(block: int) -> None:
    texts = [path.read_text() for path in SEEDS]
    for number in range(500):
        rng = random.Random(block * 500 + number)
        check_places(damage_text(rng.choice(texts), rng))


@pytest.mark.parametrize("block", range(10))
def test_damaged_values(block: int) -> None:
    values = [root.plain() for path in SEEDS if (root := read(path.read_text(), "t.json").root)]
    assert len(values) == len(SEEDS)
    for number in range(500):
        rng = random.Random(10_000 + block * 500 + number)
        value = json.loads(json.dumps(rng.choice(values)))
        damage_value(value, rng)
        check_places(json.dumps(value, indent=rng.choice([None, 1])))
