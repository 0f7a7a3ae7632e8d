"""Targets: the doors that all text passes: for secrets, and for what others wrote."""

from __future__ import annotations

import json
import re
from pathlib import Path

from aibemu.communicators.lines import Lines
from aibemu.redact import Redactor
from aibemu.systems.linux.console import fatal, starved
from aibemu.text import clean, clean_json, clean_xml, defused, harmless
from tests.campaigns.hunting import Target

_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----"
_SECRETS = ("hunter2-hunter2", 'pa\'ss "word" \\ &<x>', f"{_KEY}\n", "p@ss", "a-very-long-secret-" * 5)
_LINES = (
    "https://x.blob.core.windows.net/c/b?sv=2021&sig=AbC%2Bdef%3D&se=2026",
    "Authorization: Bearer abcdefghijklmnopqrstuv",
    "AccountKey=abcdefghijklmnopqrstuvwxyz==;x", "https://user:password@host/x",
    "curl -H 'authorization: basic dXNlcg=='",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.abcdefghijk", _KEY, *_SECRETS, "hunter2-hun...", "##vso[task.x]y",
    "::error::x", "\x1b[31mred\x1b[0m", "\x1b]0;title\x07",
)  # fmt: skip
_WORDS = tuple(
    word.encode() for word in (
        "sig=", "eyJ", ".eyJ", "-eyJ", "://", "https://a:", "@", "?token=", "&", "Bearer ", "authorization:",
        "AccountKey=",
        "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----", "hunter2", "hunter2-hunter2", "...", "p@ss",
        "\x1b[",
        "\x1b]", "\x1b\\", "\x07", "##[", "##vso[", "::", "#", ":", "\n", "\r", "\r\n", "\u200b", "\ufeff", "%",
        "=", "'",
        "\u0130", "\u212a", "a-very-long-secret-", "a:", "x?", "_", "Kernel panic - not syncing: ",
    )
)  # fmt: skip
# Of the runners' own matching rules: anywhere in a line, or where it starts.
_COMMANDS = re.compile(r"##\[|##vso\[|(?m:^\s*::)")
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def redactor(folder: Path) -> Target:
    """Text of any kind, whole, as one line of a stream, and unfinished. Redacting twice changes nothing more."""
    known = Redactor(_SECRETS)

    def run(content: bytes) -> None:
        text = content.decode("utf-8", "replace")
        found = known.text(text)
        assert known.text(found) == found, "redacted twice it is another text"
        known.unfinished(text)
        for line in text.split("\n")[:50]:
            known({"stream": "stdout", "line": line})
        Redactor([text[:4096]]).text(text[:8192])

    return Target(name="redactor", run=run, seeds=[line.encode() for line in _LINES], words=_WORDS)


def texts(folder: Path) -> Target:
    """What others wrote, made harmless for terminals and CI systems; a guest's output cut into lines; its console."""

    def run(content: bytes) -> None:
        lines: list[str] = []
        cut = Lines(lines.append, lambda _: None)
        for at in range(0, len(content), 1000):
            cut.feed(content[at : at + 1000])
        cut.close()
        text = content.decode("utf-8", "replace")
        shown = defused(clean(text))
        assert not _OBEYED.search(shown), "a terminal obeys what is left"
        assert not _COMMANDS.search(shown), "a CI system obeys what is left"
        harmless(text)
        value = json.dumps(text, ensure_ascii=False)
        assert json.loads(clean_json(value)) == text, "it is another JSON value"
        clean_xml(value)
        fatal(text)
        starved(text)

    return Target(name="texts", run=run, seeds=[line.encode() for line in _LINES], words=_WORDS)
