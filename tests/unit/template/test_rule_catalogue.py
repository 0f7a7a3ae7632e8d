"""Every kind of finding has an entry, and its examples do what they say: the bad one is found, the good one is not."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path

import pytest

from aibemu.arm.diagnostics import Diagnostic, Severity, TemplateInvalid
from aibemu.paths import Home
from aibemu.redact import Redactor
from aibemu.settings import Settings
from aibemu.submission.examine import examine
from aibemu.submission.request import TemplateRequest
from aibemu.template import catalogue
from aibemu.template.catalogue import Example, Rule
from aibemu.template.catalogue.example import document
from aibemu.testing.clock import FakeClock
from tests.source import modules, nodes

# No file alone shows these: the disk of the source and the folders of this host (`plan` and `run` find them), a plugin
# that is installed, a file of 20 MB, and a setting (test_powershell_silent has those).
NOT_IN_A_FILE = {"E73", "E79", "P02", "W29", "W65", "W66"}
_ID = re.compile(r"[A-Z]\d\d")


def findings(example: Example, folder: Path) -> tuple[Diagnostic, ...]:
    """What `aibemu validate` finds in an example."""
    path = folder / "template.json"
    path.write_text(document(example), encoding="utf-8")
    for name, text in example.files.items():
        (folder / name).write_text(text, encoding="utf-8")
    version = None if example.whole else example.api_version
    request = TemplateRequest.of_file(path, path.parent, api_version=version)
    try:
        examined = examine(
            request, home=Home.at(folder / "home"), settings=Settings(), clock=FakeClock(), build=False,
            redactor=Redactor(), kinds=frozenset({"Shell", "File"}),
        )  # fmt: skip
    except TemplateInvalid as error:
        return error.diagnostics
    return examined.diagnostics


def shown(rule: Rule) -> bool:
    return rule.id not in NOT_IN_A_FILE


@pytest.mark.parametrize("rule", [rule for rule in catalogue.RULES if shown(rule)], ids=lambda rule: rule.id)
def test_the_bad_example_is_found(rule: Rule, tmp_path: Path) -> None:
    if rule.id == "W31" and shutil.which("sh") is None:
        pytest.skip("there is no shell on this machine")
    found = findings(rule.bad, tmp_path)
    mine = [diagnostic for diagnostic in found if diagnostic.id == rule.id]
    assert mine, [str(diagnostic) for diagnostic in found]
    assert rule.level in {diagnostic.severity for diagnostic in mine}


@pytest.mark.parametrize("rule", catalogue.RULES, ids=lambda rule: rule.id)
def test_the_good_example_is_fine(rule: Rule, tmp_path: Path) -> None:
    found = findings(rule.good, tmp_path)
    wrong = [str(d) for d in found if d.id == rule.id or d.severity is Severity.ERROR]
    assert wrong == []


def test_every_id_in_the_source_has_its_entry_and_every_entry_its_id() -> None:
    used = set()
    for module in modules():
        inside = module.name.startswith(
            ("aibemu/arm/", "aibemu/template/", "aibemu/plan/", "aibemu/engine/", "aibemu/submission/")
        )
        if inside and "/catalogue/" not in module.name and not module.name.endswith("vm_sizes.py"):
            used |= {
                node.value
                for node in nodes(module)
                if isinstance(node, ast.Constant) and isinstance(node.value, str) and _ID.fullmatch(node.value)
            }
    assert used == {rule.id for rule in catalogue.RULES}


def test_entries_are_complete_and_unique() -> None:
    assert len({rule.id for rule in catalogue.RULES}) == len(catalogue.RULES)
    for rule in catalogue.RULES:
        assert catalogue.find(rule.id.lower()) is rule
        assert rule.why.endswith((".", ")")), rule.id
        assert rule.fix.endswith(".")
        assert rule.title
        assert not rule.title.endswith(".")
        assert rule.bad != rule.good
    assert catalogue.find("E99") is None
