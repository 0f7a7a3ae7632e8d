"""Expressions that nobody wrote down: Azure's own engine and aibemu answer, and any new difference fails.

The engine is the one of the Bicep CLI, asked over `bicep jsonrpc`. Longer by hand: ENGINE_SECONDS=600.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from random import Random, randrange
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.judges import need_bicep
from tests.unit.arm.functions import expressions
from tests.unit.arm.functions.engine import Answer, ours

SECONDS = float(os.environ.get("ENGINE_SECONDS", "40"))
# Of 200 expressions: always the same ones.
ROUNDS = 4
SCHEMA = "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#"
AROUND = {
    "tenantId": "22222222-2222-2222-2222-222222222222", "subscriptionId": "11111111-1111-1111-1111-111111111111",
    "resourceGroup": "rg", "location": "westeurope", "deploymentName": "dep",
}  # fmt: skip


class Engine:
    """One process that answers question after question."""

    def __init__(self, bicep: Path, folder: Path) -> None:
        self.folder = folder
        self.asked = 0
        self.process = subprocess.Popen(
            [bicep, "jsonrpc", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )

    def answer(self, expression: str) -> Answer:
        """As the value of a property of a resource."""
        resource = {"type": "A.B/c", "apiVersion": "2024-01-01", "name": "n", "properties": {"v": f"[{expression}]"}}
        template = {"$schema": SCHEMA, "contentVersion": "1.0.0.0", "resources": [resource]}
        (self.folder / "main.json").write_text(json.dumps(template), encoding="utf-8")
        asked = self.folder / "main.bicepparam"
        asked.write_text("using './main.json'\n", encoding="utf-8")
        found = self._call("bicep/getSnapshot", {"path": str(asked), "metadata": AROUND})
        if "error" in found:
            return Answer(kind="error", what=found["error"]["message"])
        value = json.loads(found["result"]["snapshot"])["predictedResources"][0].get("properties", {}).get("v")
        return Answer(kind="value", what=value)

    def _call(self, method: str, given_: Any) -> Any:
        self.asked += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": given_}).encode()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        self.process.stdin.flush()
        while True:
            length = 0
            while line := self.process.stdout.readline().strip():
                if line.lower().startswith(b"content-length"):
                    length = int(line.split(b":")[1])
            assert length, "the engine has ended"
            message = json.loads(self.process.stdout.read(length))
            if message.get("id") == self.asked:
                return message

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    bicep = need_bicep()
    with tempfile.TemporaryDirectory() as folder:
        made = Engine(bicep, Path(folder))
        yield made
        made.close()


@pytest.mark.slow
def test_the_engine_and_aibemu_answer_the_same(engine: Engine) -> None:
    assert engine.answer("concat('a', 'b')") == Answer(kind="value", what="ab")
    differences: dict[str, str] = {}
    until = time.monotonic() + (SECONDS if SECONDS > 40 else 200.0)

    @settings(
        max_examples=200, deadline=None, database=None, derandomize=False, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.randoms(use_true_random=False))
    def ask(choose: Random) -> None:
        expression = expressions.made(choose)
        mine, theirs = ours(expression), engine.answer(expression)
        if not mine.as_engine(theirs) and not expressions.is_wanted(expression, mine, theirs):
            differences[expression] = f"engine: {theirs.what!r}\n  aibemu: {mine.what!r}"

    # A change of aibemu fails here, not an expression that nobody has tried: those are looked for by hand.
    for number in count(randrange(1 << 30)) if SECONDS > 40 else range(ROUNDS):
        seed(number)(ask)()
        if time.monotonic() > until:
            break
    shown = [
        f"{expression}\n  {words}" for expression, words in sorted(differences.items(), key=lambda one: len(one[0]))
    ]
    assert not shown, "\n".join([f"{len(shown)} of {engine.asked} questions differ:", *shown[:40]])
