"""The scripts of a template: inline text as it is joined, and files as far as they are known (facts: service 5)."""

from __future__ import annotations

import codecs
import re
from bisect import bisect_right
from dataclasses import replace
from itertools import accumulate

from aibemu.arm.nodes import NodeKind
from aibemu.arm.places import Locate
from aibemu.errors import Span
from aibemu.template.remote import RemoteFile
from aibemu.template.rule_context import RuleContext
from aibemu.template.rule_parts import customizers_of, validators_of
from aibemu.template.scripts.model import Chunk, Dialect, Script, dialect_of
from aibemu.template.view import NodeView

_DEFAULTS = {"Shell": Dialect.SH, "PowerShell": Dialect.POWERSHELL}


def collect(resource: NodeView, context: RuleContext) -> tuple[Script, ...]:
    """All scripts whose text is known, in the order of the template."""
    # Validators run in a machine of their own, which becomes no image.
    customizers = list(customizers_of(resource))
    steps = [(step, True) for step in customizers] + [(step, False) for step in validators_of(resource)]
    found = []
    for index, (step, captured) in enumerate(steps):
        script = _inline(step, context, index, captured) or _file(step, context, index, captured)
        if script is not None:
            found.append(replace(script, followed=index + 1 < len(customizers)))
    return tuple(found)


def _inline(step: NodeView, context: RuleContext, index: int, captured: bool) -> Script | None:
    default = _DEFAULTS.get(step.text("type") or "")
    items = step.items("inline")
    if default is None or not items or any(item.kind is not NodeKind.STRING for item in items):
        return None
    texts = [str(item.value) for item in items]
    starts = accumulate((len(text) + 1 for text in texts), initial=0)
    chunks = [Chunk(start=start, place=context.places.string(i).at) for start, i in zip(starts, items, strict=False)]
    text = "\n".join(texts) + "\n"
    dialect = dialect_of(text.split("\n", 1)[0], default) if default is Dialect.SH else default
    if dialect is None:
        return None
    return Script(
        dialect=dialect, text=text, chunks=chunks, step=step, inline=True, root=False, first=index == 0,
        before_capture=captured,
    )  # fmt: skip


def _file(step: NodeView, context: RuleContext, index: int, captured: bool) -> Script | None:
    remote = context.files.get(step.text("scriptUri") or "")
    default = _DEFAULTS.get(step.text("type") or "")
    if remote is None or remote.problem or default is None or b"\0" in remote.head or remote.size > len(remote.head):
        return None
    try:
        text = remote.head.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError:
        return None
    dialect = dialect_of(text.split("\n", 1)[0], default) if default is Dialect.SH else default
    if dialect is None:
        return None
    return Script(
        dialect=dialect, text=text, chunks=[Chunk(start=0, place=_places(text, remote))], step=step, inline=False,
        root=True, first=index == 0, before_capture=captured, marked=remote.head.startswith(codecs.BOM_UTF8),
    )  # fmt: skip


def _places(text: str, remote: RemoteFile) -> Locate:
    starts = [0, *(match.end() for match in re.finditer("\n", text))]

    def place(offset: int) -> Span:
        line = bisect_right(starts, offset)
        return Span(file=remote.place, line=line, column=offset - starts[line - 1] + 1)

    return place
