"""Step fingerprints: a hash chain, so that two builds with the same id at step N did the same up to there."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any


def chain(parent: str, kind: str, inputs: Any, contents: Sequence[str]) -> str:
    """The id of a step: sha256 over its parent's id, its kind, its own inputs (JSON) and the hashes of its files."""
    text = json.dumps([parent, kind, inputs, list(contents)], sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def root(image_digest: str, machine: Sequence[object]) -> str:
    """The parent of the first step: the base image and the virtual hardware."""
    return chain("", "base", [str(part) for part in machine], [image_digest])
