"""Every class of mistake, one file each: exactly these findings, at exactly these places."""

from __future__ import annotations

from pathlib import Path

import pytest

from aibemu.template.codes import CODES
from aibemu.template.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.template.loader import load

BAD = Path(__file__).parents[3] / "fixtures" / "templates" / "bad"
KINDS = frozenset({"Shell", "File"})


def findings(path: Path) -> tuple[Diagnostic, ...]:
    try:
        return load(path, known_kinds=KINDS).diagnostics
    except TemplateInvalid as error:
        assert any(d.severity is Severity.ERROR for d in error.diagnostics)
        return error.diagnostics


@pytest.mark.parametrize("path", sorted(BAD.glob("*.json")), ids=lambda path: path.stem)
def test_findings_are_exactly_those_expected(path: Path) -> None:
    expected = path.with_suffix(".expected.txt").read_text(encoding="utf-8").split("\n")[:-1]

    found = findings(path)

    assert [f"{d.span.line}:{d.span.column} {d.id}" for d in found] == expected
    assert all(d.span.file == str(path) for d in found)


def test_every_id_has_its_fixture_and_every_fixture_a_known_id() -> None:
    used = {line.split()[1] for path in BAD.glob("*.expected.txt") for line in path.read_text().splitlines()}

    # Nesting is too long for a file; plugins, the source's disk and this host's folders are no file's mistake: these
    # have tests of their own.
    assert used == set(CODES) - {"J04", "P02", "E73", "E79"}
