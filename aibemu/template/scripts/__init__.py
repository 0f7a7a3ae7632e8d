"""The text of scripts: which there are, where it stands, and what is wrong in it.

Shell and PowerShell are read by real parsers (tree-sitter's grammars), which are imported when there is a script.
"""

from __future__ import annotations

from aibemu.template.scripts.collect import collect
from aibemu.template.scripts.model import Dialect, Script

__all__ = ["Dialect", "Script", "collect"]
