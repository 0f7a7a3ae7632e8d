"""Scripts and files that a template names by URI: fetched, checksummed and kept before any machine starts.

The service downloads them at submission (facts: service 1.6): 10 tries, and the bytes are fixed from then on. Here too:
what a step gets is a private, read-only copy named by its sha256, whatever happens to the original meanwhile.
"""

from __future__ import annotations

from aibemu.artifacts.fetcher import policy_of
from aibemu.artifacts.mapping import Mapping, parse_mappings
from aibemu.artifacts.model import Artifact, FetchRequest
from aibemu.artifacts.store import ArtifactStore

__all__ = ["Artifact", "ArtifactStore", "FetchRequest", "Mapping", "parse_mappings", "policy_of"]
