"""The text of scripts: which there are, where it stands, and what is wrong in it.

Shell is read by a real parser (tree-sitter's grammar), PowerShell by its own rules of strings, comments and brackets;
both are imported when there is a script.
"""

from __future__ import annotations

from aibemu.template.scripts.collect import collect
from aibemu.template.scripts.model import Dialect, Script

__all__ = ["Dialect", "Script", "collect"]
