"""The console script. Ctrl-C ends the program without a traceback from its first moment to its last."""

from __future__ import annotations

from aibemu.cli.interrupts import end_at_once


def start() -> None:
    """Run the program, and exit with its code."""
    end_at_once()
    from aibemu.cli.main import main

    main()
