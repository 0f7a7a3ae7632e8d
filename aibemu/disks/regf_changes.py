"""Changing a registry hive in place: the file keeps its size, and every byte that is not part of a change.

So it can be written back where it lies on the disk, and what a change did can be told byte by byte. (libhivex, which
others use for this, puts new cells at the end of the file.)
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from aibemu.disks import Unreadable
from aibemu.disks.regf import (
    BINS,
    DEEPEST,
    DWORD,
    INLINE,
    LONGEST_PART,
    MULTI_SZ,
    NOWHERE,
    QWORD,
    TEXTS,
    Hive,
    Key,
    StoredValue,
    Value,
)


class ChangingHive(Hive):
    """A hive that can be changed: its file takes what is written."""

    def set(self, path: str, name: str, value: Value, kind: int | None = None) -> None:
        """Change a value that is there. It may not grow beyond the place that it has; then, and when it is not there,
        `Unreadable`. kind: of the value, if it shall become another one."""
        key = self._find(path)
        found = None if key is None else self._value(key, name)
        if found is None:
            raise Unreadable(f"the registry hive {self.name} has no value {path}\\{name}")
        data = _encoded(value, found.kind if kind is None else kind)
        if data is None:
            raise Unreadable(f"the value {path}\\{name} of the registry hive {self.name} is of another kind")
        if len(data) <= 4:
            self._change(found.at + 4 + 4, struct.pack("<I4s", len(data) | INLINE, data.ljust(4, b"\0")))
        elif found.length & INLINE or len(data) > len(self._cell(found.data)) or found.length > LONGEST_PART:
            raise Unreadable(
                f"the value {path}\\{name} of the registry hive {self.name} has no room for what it shall be"
            )
        else:
            self._change(found.data + 4, data)
            self._change(found.at + 4 + 4, struct.pack("<I", len(data)))
        if kind is not None:
            self._change(found.at + 4 + 12, struct.pack("<I", kind))

    def delete(self, path: str, name: str | None = None) -> bool:
        """Delete the value `name` of a key, or the key with all that is below it. False if there was none."""
        key = self._find(path)
        if key is None or key.at == self._at(self._root):
            return False
        if name is not None:
            return self._delete_value(key, name)
        above, _, _ = path.strip("\\").rpartition("\\")
        parent = self._find(above)
        assert parent is not None
        self._unlink(parent, key.at)
        self._free_key(key, 0)
        return True

    def _delete_value(self, key: Key, name: str) -> bool:
        found = self._value(key, name)
        if found is None:
            return False
        cells = self._value_cells(key)
        left = [at for at in cells if at != found.at]
        listed = self._at(key.value_list)
        self._change(listed + 4, struct.pack(f"<{len(left)}I", *(at - BINS for at in left)))
        self._change(key.at + 4 + 36, struct.pack("<I", len(left)))
        if not left:
            self._change(key.at + 4 + 40, struct.pack("<I", NOWHERE))
            self._free(listed)
        self._free_value(found)
        return True

    def _unlink(self, parent: Key, child: int) -> None:
        """Take a key out of its parent's list; a list that is empty then is freed."""
        top = self._at(parent.child_list)
        if self._take_out(top, child) and parent.children == 1:
            self._free(top)
        last = parent.children == 1
        self._change(parent.at + 4 + 20, struct.pack("<I", parent.children - 1))
        if last:
            self._change(parent.at + 4 + 28, struct.pack("<I", NOWHERE))

    def _take_out(self, at: int, child: int, depth: int = 0) -> bool:
        """Whether the list at `at`, or one below it, named `child`; it does not any more."""
        cell = self._cell(at)
        width = 8 if cell[:2] in (b"lf", b"lh") else 4
        entries = self._entries(at, cell)
        for place, offset in entries:
            target = self._at(offset)
            if cell[:2] != b"ri":
                if target != child:
                    continue
            elif depth or not self._take_out(target, child, 1):
                continue
            elif self._entries(target, self._cell(target)):
                return True
            else:
                self._free(target)
            end = at + 4 + 4 + width * len(entries)
            self._change(place, self._bytes(place + width, end - place - width))
            self._change(at + 4 + 2, struct.pack("<H", len(entries) - 1))
            return True
        return False

    def _free_key(self, key: Key, depth: int) -> None:
        if depth > DEEPEST:
            raise self._damage("its keys are nested without end")
        for child in list(self._children(key)):
            self._free_key(child, depth + 1)
        if key.children:
            top = self._at(key.child_list)
            cell = self._cell(top)
            for _, offset in self._entries(top, cell) if cell[:2] == b"ri" else ():
                self._free(self._at(offset))
            self._free(top)
        for value in list(self._values(key)):
            self._free_value(value)
        if key.values:
            self._free(self._at(key.value_list))
        self._release_security(key)
        self._free(key.at)

    def _free_value(self, value: StoredValue) -> None:
        if value.length and not value.length & INLINE:
            cell = self._cell(value.data)
            if value.length > LONGEST_PART and cell[:2] == b"db":
                for part in self._part_cells(cell):
                    self._free(part)
                self._free(self._at(struct.unpack_from("<I", cell, 4)[0]))
            self._free(value.data)
        self._free(value.at)

    def _release_security(self, key: Key) -> None:
        """One key less has this descriptor. The last one leaves it: Windows does not mind one that nobody has."""
        if key.security == NOWHERE:
            return
        at = self._at(key.security)
        cell = self._cell(at)
        if cell[:2] == b"sk" and len(cell) >= 16 and (users := struct.unpack_from("<I", cell, 12)[0]) > 1:
            self._change(at + 4 + 12, struct.pack("<I", users - 1))

    def _free(self, at: int) -> None:
        size = struct.unpack("<i", self._bytes(at, 4))[0]
        self._change(at, struct.pack("<i", abs(size)))

    def _change(self, at: int, data: bytes) -> None:
        self._file.write(at, data)
        self._below.clear()


def _encoded(value: Value, kind: int) -> bytes | None:
    """None for a value that is not of this kind."""
    if isinstance(value, int) and kind in (DWORD, QWORD):
        return value.to_bytes(4 if kind == DWORD else 8, "little")
    if isinstance(value, str) and kind in TEXTS:
        return f"{value}\0".encode("utf-16-le")
    if isinstance(value, Sequence) and not isinstance(value, str | bytes) and kind == MULTI_SZ:
        return "".join(f"{text}\0" for text in [*value, ""]).encode("utf-16-le")
    if isinstance(value, bytes):
        return value
    return None
