"""A guest that is played: follows the script, and writes all that it was asked to `transcript.ndjson`.

One line per command, upload or download: `{"n": 1, "op": "run", "command": ..., "stdin": ..., "exit": 0, ...}`; an
upload has `source`, `destination`, `size`, `mode` and `text`. Scenario tests read there what would have run.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from aibemu.testing.guest import ScriptedCommunicator, ScriptedGuestMachine
from aibemu.testing.script import Script

TRANSCRIPT = "transcript.ndjson"


class TranscriptCommunicator(ScriptedCommunicator):
    """See `aibemu.communicators.Communicator`."""

    def __init__(self, script: Script, machine: ScriptedGuestMachine, transcripts: Sequence[Path]) -> None:
        self._files = tuple(transcripts)
        super().__init__(script, machine, self._append)

    def describe(self) -> str:
        return f"(nothing to connect to: a script plays this guest; what was asked is in {self._files[0]})"

    def _append(self, entry: Mapping[str, Any]) -> None:
        for file in self._files:
            with file.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(dict(entry), ensure_ascii=False) + "\n")
