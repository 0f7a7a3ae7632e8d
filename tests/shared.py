"""The public data that some tests compare with; it is not part of the project, and those tests are skipped without."""

from __future__ import annotations

import os
from pathlib import Path

SHARED = Path(os.environ.get("AIBEMU_SHARED") or Path(__file__).parents[2] / "shared")
