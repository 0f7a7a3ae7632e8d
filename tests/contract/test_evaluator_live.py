"""`aibemu doctor --evaluator FILE` through the command line, with the engine in a real Bicep CLI."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aibemu.cli.main import run
from tests.judges import need_bicep

BICEP = """@secure()
param token string = newGuid()
param size int = 3
resource web 'Microsoft.VirtualMachineImages/imageTemplates@2024-02-01' = {
  name: 'web-${uniqueString(resourceGroup().id)}'
  location: resourceGroup().location
  tags: { size: string(size), made: dateTimeAdd('2025-01-31T00:00:00Z', 'P1M'), token: token }
  properties: {}
}
output padded string = padLeft(size, 5, '0')
"""


def test_a_bicep_file_is_evaluated_as_the_engine_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """newGuid() and the secure parameter are left to Azure by the engine; all else is the same."""
    program = need_bicep()
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("AIBEMU_HOME", str(tmp_path / "home"))
    file = tmp_path / "my images" / "web.bicep"
    file.parent.mkdir()
    file.write_text(BICEP)
    code = run(("doctor", "--evaluator", str(file), "-p", "size=7", "--output", "json"))
    answer = json.loads(capsys.readouterr().out)["data"]
    assert code == 0, answer
    assert answer["bicep"].startswith("Bicep CLI version ")
    assert {name: answer[name] for name in ("agrees", "resources", "outputs", "open", "refused", "differences")} == {
        "agrees": True, "resources": 1, "outputs": 1, "open": 1, "refused": None, "differences": [],
    }  # fmt: skip
