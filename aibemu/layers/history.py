"""What the steps behind a machine said when they ran: for the logs of builds that take them from a layer.

Each step's is a file of its own, `disk-<hex>.said` beside the disk of the layer that was made after it, written once.
Those of steps before it that no layer was made after are `disk-<hex>-1.said` and so on. Layers that are made on that
one name the files too. So they are deleted as their disks are: when no record names them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from aibemu.files import remove, replacing
from aibemu.records import parse_json, read_json

SUFFIX = ".said"
# Bytes of one file: more than a step's output that is remembered, unless most of its lines are very short.
MOST_PER_STEP = 8 * 2**20
# Bytes of all files that one layer names.
MOST_PER_LAYER = 64 * 2**20


class History:
    """What each step that one machine has behind it said, by the id of the layer made after it.

    In memory is only what the steps said since the last layer, and of these no more than a layer holds: the rest is
    read from `files`, where somebody asks for it.
    """

    def __init__(self, files: Mapping[str, Path] | None = None) -> None:
        self._files = dict(files or {})
        # As JSON, oldest first.
        self._new: dict[str, bytes] = {}

    def __setitem__(self, layer_id: str, said: Mapping[str, Any]) -> None:
        """Note what the step said that has just run. said: see `events.Kind.STEP_CACHED`."""
        room = MOST_PER_LAYER - sum(map(_size, self._files.values())) - sum(map(len, self._new.values()))
        content = encoded(said, min(room, MOST_PER_STEP))
        if content is not None:
            self._new[layer_id] = content

    def get(self, layer_id: str) -> Mapping[str, Any] | None:
        """What that step said; None if that is not known, its file is gone, or holds something else."""
        path = self._files.get(layer_id)
        try:
            if layer_id in self._new:
                said = parse_json(self._new[layer_id])
            else:
                said = read_json(path) if path and path.stat().st_size <= MOST_PER_STEP else None
        except (OSError, ValueError):
            return None
        return said if _is_said(said) else None

    def warnings(self, layer_id: str) -> list[str]:
        """What that step warned of."""
        return list((self.get(layer_id) or {}).get("warnings", ()))

    def write(self, disk: Path) -> dict[str, Path]:
        """Write what the steps said that ran since the last layer, and give the files of all steps behind the machine.

        disk: the last of the layer that is made now; the files get its name beside it. They are not fsynced:
        `LayerStore.publish` does that. OSError if one cannot be written: then none of them is there.
        """
        written: dict[str, Path] = {}
        try:
            for number, (layer_id, content) in enumerate(reversed(self._new.items())):
                path = disk.with_name(f"{disk.stem}{f'-{number}' if number else ''}{SUFFIX}")
                with replacing(path, sync=False) as temporary:
                    temporary.touch(mode=0o600)
                    temporary.write_bytes(content)
                written[layer_id] = path
        except BaseException:
            for path in written.values():
                remove(path)
            raise
        self._files |= dict(reversed(written.items()))
        self._new = {}
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
