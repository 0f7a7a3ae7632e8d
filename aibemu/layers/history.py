"""What the steps behind a machine said when they ran: for the logs of builds that take them from a layer.

Each step's is a file of its own, `disk-<hex>.said` beside the disk and the memory of the layer that was made after it,
written once. Layers that are made on that one name the file too. So it is deleted as their disks are: when no record
names it and no machine has a link of the disk it is named after.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aibemu.files import replacing
from aibemu.records import read_json

SUFFIX = ".said"
# Bytes of one file: more than a step's output that is remembered, unless most of its lines are very short.
MOST_PER_STEP = 8 * 2**20
# Bytes of all files that one layer names.
MOST_PER_LAYER = 64 * 2**20


class History:
    """What each step that one machine has behind it said, by the id of the layer made after it.

    In memory is only what the last step said: the rest is read from `files`, where somebody asks for it.
    """

    def __init__(self, files: Mapping[str, Path] | None = None) -> None:
        self._files = dict(files or {})
        self._last: tuple[str, Mapping[str, Any]] | None = None

    def __setitem__(self, layer_id: str, said: Mapping[str, Any]) -> None:
        """Note what the step said that has just run. said: see `events.Kind.STEP_CACHED`."""
        self._last = (layer_id, said)

    def get(self, layer_id: str) -> Mapping[str, Any] | None:
        """What that step said; None if that is not known, its file is gone, or holds something else."""
        if self._last and self._last[0] == layer_id:
            return self._last[1]
        path = self._files.get(layer_id)
        try:
            said = read_json(path) if path and path.stat().st_size <= MOST_PER_STEP else None
        except (OSError, ValueError):
            return None
        return said if _is_said(said) else None

    def warnings(self, layer_id: str) -> list[str]:
        """What that step warned of."""
        return list((self.get(layer_id) or {}).get("warnings", ()))

    def write(self, layer_id: str, memory: Path) -> dict[str, Path]:
        """Write what the step said that the layer `layer_id` is made after, and give the files of all steps behind it.

        memory: of that layer; the file gets its name beside it. It is not fsynced: `LayerStore.publish` does that.
        OSError if it cannot be written.
        """
        if self._last and self._last[0] == layer_id:
            room = MOST_PER_LAYER - sum(map(_size, self._files.values()))
            content = encoded(self._last[1], min(room, MOST_PER_STEP))
            if content is not None:
                path = memory.with_suffix(SUFFIX)
                with replacing(path, sync=False) as temporary:
                    temporary.touch(mode=0o600)
                    temporary.write_bytes(content)
                self._files[layer_id] = path
            self._last = None
        return dict(self._files)


def encoded(said: Mapping[str, Any], bound: int) -> bytes | None:
    """JSON of at most `bound` bytes: without the last lines of output, where they are too many. None where the rest
    alone takes more."""
    head = {key: value for key, value in said.items() if key != "output"}
    room = bound - len(_dump(head | {"output": []} if "output" in said else head))
    if room < 0:
        return None
    if "output" in said:
        head["output"] = list(_fitting(said["output"], room))
    return _dump(head)


def _fitting(lines: list[dict[str, str]], room: int) -> Iterator[dict[str, str]]:
    for line in lines:
        room -= len(_dump(line)) + len(", ")
        if room < 0:
            return
        yield line


def _dump(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it is gone, and so is what it said
        return 0


def _is_said(value: Any) -> bool:
    """Whether it has the shape that whoever shows it counts on."""
    if not isinstance(value, dict):
        return False
    if not (set(value) <= {"warnings"} or {"started", "output", "finished"} <= set(value)):
        return False
    warnings, output = value.get("warnings", []), value.get("output", [])
    return (
        isinstance(warnings, list) and all(isinstance(one, str) for one in warnings)
        and isinstance(output, list) and all(isinstance(one, dict) for one in output)
        and all(isinstance(value.get(key, {}), dict) for key in ("started", "finished"))
    )  # fmt: skip
