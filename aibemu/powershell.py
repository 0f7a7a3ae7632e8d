"""Texts that PowerShell reads."""

from __future__ import annotations

import base64
import re

# All that Windows PowerShell 5.1 takes for a single quote; each ends a string that one of them began.
_QUOTES = re.compile("['\u2018\u2019\u201a\u201b]")


def quoted(text: str) -> str:
    """A text as PowerShell's literal string."""
    return "'" + _QUOTES.sub(lambda quote: quote[0] * 2, text) + "'"


def encoded(script: str) -> str:
    """The value of powershell's -EncodedCommand."""
    return base64.b64encode(script.encode("utf-16-le", "surrogatepass")).decode()
