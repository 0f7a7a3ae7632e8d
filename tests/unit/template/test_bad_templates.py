"""Every class of mistake, one file each: exactly these findings, at exactly these places."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.template import catalogue
from aibemu.template.loader import load

BAD = Path(__file__).parents[3] / "fixtures" / "templates" / "bad"
KINDS = frozenset({"Shell", "File"})


def findings(path: Path) -> tuple[Diagnostic, ...]:
    try:
        return load(path, known_kinds=KINDS, build=False).diagnostics
    except TemplateInvalid as error:
        assert any(d.severity is Severity.ERROR for d in error.diagnostics)
        return error.diagnostics


@pytest.mark.parametrize("path", sorted(BAD.glob("*.json")), ids=lambda path: path.stem)
def test_findings_are_exactly_those_expected(path: Path) -> None:
    expected = path.with_suffix(".expected.txt").read_text(encoding="utf-8").split("\n")[:-1]

    found = findings(path)

    assert [f"{d.span.line}:{d.span.column} {d.id}" for d in found] == expected
    assert all(d.span.file == str(path) for d in found)


def test_every_expected_id_is_in_the_catalogue() -> None:
    used = {line.split()[1] for path in BAD.glob("*.expected.txt") for line in path.read_text().splitlines()}

    assert used <= {rule.id for rule in catalogue.RULES}
    assert {path.stem for path in BAD.glob("*.json")} == {
        path.name.removesuffix(".expected.txt") for path in BAD.glob("*.expected.txt")
    }
