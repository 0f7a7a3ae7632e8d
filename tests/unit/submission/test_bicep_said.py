"""What a compiler prints becomes findings, and nothing of it is lost: judged by recordings of Bicep 0.49.2."""

from __future__ import annotations

import re
from typing import Any

import pytest

from aibemu.arm.diagnostics import Severity
from aibemu.submission.bicep_said import findings, understand
from tests.bicep_recordings import recorded

LEVELS = {"Error": Severity.ERROR, "Warning": Severity.WARNING, "Info": Severity.NOTE}


def truth(case: dict[str, Any]) -> list[tuple[Any, ...]]:
    """As the compiler's own process tells its diagnostics."""
    return sorted(
        (one["file"], one["line"], one["column"], LEVELS[one["level"]], one["code"], one["message"])
        for one in case["diagnostics"]
    )


def test_each_diagnostic_is_read_as_the_compiler_means_it() -> None:
    cases = recorded("diagnostics")
    assert sum(len(case["diagnostics"]) for case in cases.values()) >= 160
    for name, case in cases.items():
        speech = understand(case["stderr"])
        found = [(said.file, said.line, said.column, said.severity, said.code, said.message) for said in speech.placed]
        assert sorted(found) == truth(case), name
        assert speech.others == (), name
        assert all(re.fullmatch(r"https://\S+", said.link) for said in speech.placed if said.link), name


def test_no_word_of_a_compiler_is_lost() -> None:
    """Everything on standard error of 175 calls is in a finding, crashes and lines without a place included."""
    for name, case in recorded("cli").items():
        if not isinstance(case["stderr"], str):
            continue
        speech = understand(case["stderr"])
        told = findings(speech, typed="typed", named=str, lines=lambda file: (), restore=("bicep", "restore", "typed"))
        shown = [f"{one.span.line} {one.span.column} {one.id} {one.message}" for one in told]
        shown += [f"{said.file} {said.link}" for said in speech.placed] + list(LEVELS)
        words = set(re.findall(r"[\w./#-]+", "\n".join(shown)))
        assert set(re.findall(r"[\w./#-]+", case["stderr"])) - words <= {"WARNING"}, name


@pytest.mark.parametrize(
    ("text", "code", "message", "severity"),
    [
        ("d/m.bicep(1,1) : Info Bicep Linter Configuration: Custom file found (d/bicepconfig.json).",
         "Bicep Linter Configuration", "Custom file found (d/bicepconfig.json).", Severity.NOTE),
        ('d/m.bicep(1,1) : Error BCP001: The token is "\x0b\x0c\x1c\x1d\x1e\x85\u2028". [https://aka.ms/x#BCP001]',
         "BCP001", 'The token is "\x0b\x0c\x1c\x1d\x1e\x85\u2028".', Severity.ERROR),
        ("d/a (2).bicep(1,1) : Warning x: e(3,4) : Error BCP1: [https://a.b] is no link. [https://aka.ms/x]",
         "x", "e(3,4) : Error BCP1: [https://a.b] is no link.", Severity.WARNING),
        ("ERROR: d/m.bicep(1,1) : Error BCP018: Expected.", "BCP018", "Expected.", Severity.ERROR),
        ("d/m.bicep(1,1) : Warning use-x: \r", "use-x", "", Severity.WARNING),
        ("WARNING: The following experimental Bicep features have been enabled: Asserts.",
         "bicep", "The following experimental Bicep features have been enabled: Asserts.", Severity.WARNING),
        ("WARNING: A new Bicep release is available: v9. Upgrade now by running \"az bicep upgrade\".",
         "bicep", "A new Bicep release is available: v9. Upgrade now by running \"az bicep upgrade\".", Severity.NOTE),
        ("TRACE: Bicep version: 0.49.2", "bicep", "TRACE: Bicep version: 0.49.2", Severity.NOTE),
    ],
)  # fmt: skip
def test_lines(text: str, code: str, message: str, severity: Severity) -> None:
    (one,) = findings(understand(text), typed="m.bicep", named=str, lines=lambda file: (), restore=())
    assert (one.id, one.message, one.severity) == (code, message, severity)
    assert (one.span.line, one.span.column) == (1, 1)


def test_a_stack_belongs_to_the_line_before() -> None:
    speech = understand("Unhandled exception: A.B: it broke\n ---> C.D: why\n   at A.B.C()\n   at D()\nlast\n")
    assert speech.first == ("Unhandled exception: A.B: it broke", " ---> C.D: why", "last")
    told = list(findings(speech, typed="m.bicep", named=str, lines=lambda file: (), restore=()))
    assert [one.message.splitlines()[0] for one in told] == ["Unhandled exception: A.B: it broke", "last"]


def test_files_come_in_one_order() -> None:
    first = "/d/z.bicep(2,1) : Warning a: x\n/d/z.bicep(1,9) : Warning b: x\n"
    second = "/d/a.bicepparam(7,1) : Warning c: x\n"
    assert understand(first + second) == understand(second + first)


def test_columns_are_characters() -> None:
    """The compiler counts UTF-16 units: a smiley is two."""
    line = "output o string = '\N{GRINNING FACE}' == nowhere ? 'a' : 'b'"
    said = understand("/d/m.bicep(1,27) : Error BCP057: x")
    (one,) = findings(said, typed="m", named=str, lines=lambda file: (line,), restore=())
    assert line[one.span.column - 1 :].startswith("nowhere")


def test_what_is_not_restored_says_the_command() -> None:
    case = recorded("cli")["build-br-no-restore"]
    (one,) = findings(
        understand(case["stderr"]), typed="m", named=str, lines=lambda file: (),
        restore=("bicep", "restore", "my images/br.bicep"),
    )  # fmt: skip
    assert one.id == "BCP190"
    assert one.hint is not None
    assert one.hint.endswith("bicep restore 'my images/br.bicep'")
