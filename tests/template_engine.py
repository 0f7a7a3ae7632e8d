"""Azure's own template engine, live: the Bicep CLI carries it, and answers over `bicep jsonrpc --stdio` in about 10 ms.

It predicts what a deployment would make (`bicep/getSnapshot`), without a network. A question has a bound in time; after
an answer that does not come, or a crash, the next question starts the program again.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.judges import need_bicep

CONTEXT = {
    "tenantId": "22222222-2222-2222-2222-222222222222", "subscriptionId": "11111111-1111-1111-1111-111111111111",
    "resourceGroup": "rg", "location": "westeurope", "deploymentName": "dep",
}  # fmt: skip
SECONDS = 60  # of one question, the start of the program included


class NoAnswer(Exception):
    """The program ended, or did not answer in time."""


class TemplateEngine:
    """One process of the Bicep CLI. folder: for the files that it reads."""

    def __init__(self, bicep: Path, folder: Path) -> None:
        self.bicep = bicep
        self.folder = folder
        self.asked = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._read = b""

    def close(self) -> None:
        """End the program."""
        process, self._process, self._read = self._process, None, b""
        if process is not None:
            process.kill()
            process.communicate()

    def snapshot(self, template: Any) -> tuple[dict[str, Any] | None, str]:
        """What the engine predicts for a template, or None and why it refuses it. Raises NoAnswer."""
        (self.folder / "main.json").write_text(json.dumps(template), encoding="utf-8")
        parameters = self.folder / "main.bicepparam"
        parameters.write_text("using './main.json'\n", encoding="utf-8")
        answer = self._call("bicep/getSnapshot", {"path": str(parameters), "metadata": CONTEXT})
        if "error" in answer:
            return None, str(answer["error"]["message"])
        return json.loads(answer["result"]["snapshot"]), ""

    def _call(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self.asked += 1
        body = json.dumps({"jsonrpc": "2.0", "id": self.asked, "method": method, "params": parameters}).encode()
        try:
            process = self._running()
            assert process.stdin is not None
            process.stdin.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
            process.stdin.flush()
            until = time.monotonic() + SECONDS
            while (message := self._message(until)).get("id") != self.asked:
                pass
        except (OSError, NoAnswer) as problem:
            self.close()
            raise NoAnswer(str(problem)) from problem
        return message

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            self._process = subprocess.Popen(
                [self.bicep, "jsonrpc", "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )  # fmt: skip
        return self._process

    def _message(self, until: float) -> dict[str, Any]:
        while b"\r\n\r\n" not in self._read:
            self._more(until)
        head, _, self._read = self._read.partition(b"\r\n\r\n")
        lengths = [line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
        length = int(lengths[0].split(b":")[1])
        while len(self._read) < length:
            self._more(until)
        body, self._read = self._read[:length], self._read[length:]
        message: dict[str, Any] = json.loads(body)
        return message

    def _more(self, until: float) -> None:
        assert self._process is not None and self._process.stdout is not None
        stream = self._process.stdout.fileno()
        ready, _, _ = select.select([stream], [], [], max(0.0, until - time.monotonic()))
        data = os.read(stream, 1 << 16) if ready else b""
        if not data:
            raise NoAnswer("the program ended" if ready else f"no answer within {SECONDS} s")
        self._read += data


def need_template_engine(folder: Path) -> TemplateEngine:
    """The engine, ready for questions; skips the test where there is no Bicep, or one that cannot predict."""
    engine = TemplateEngine(need_bicep(), folder)
    frame = {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0", "resources": [],
    }  # fmt: skip
    try:
        prediction, why = engine.snapshot(frame)
    except NoAnswer as problem:
        pytest.skip(f"{engine.bicep} cannot predict deployments: {problem}")
    if prediction is None:
        engine.close()
        pytest.skip(f"{engine.bicep} cannot predict deployments: {why}")
    return engine
