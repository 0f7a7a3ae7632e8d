"""A published Bicep template for Windows with thirteen steps, from its first step to its image: compiled by the real
Bicep, run by the real PowerShell; what its scripts download is served under the published addresses
(tests/windows_scripts.py).

It starts PowerShell some eighty times, so that it is run only where WHOLE_PUBLIC_TEMPLATES is set; its scripts one by
one are in contract/test_published_scripts.py.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

import pytest

from fixtures.guests.web import Web
from tests.judges import need_bicep
from tests.public_data import TEMPLATES
from tests.scenarios.windows.workshop import Workshop
from tests.windows_scripts import MADE, NET, NET_JAPANESE, PACKAGE, RELEASES, WEB, published, script

TEMPLATE = "kkamegawa__windowsjpimagebuilder__images_windows2025image.bicep"
PUBLISHED = "https://raw.githubusercontent.com/kkamegawa/windowsjpimagebuilder/main/images/"
UPDATES = [{"title": "2026-01 Cumulative Update", "kb": "5001", "restart": True}, {"title": "A Preview", "kb": "5002"}]


def lay_out(windows: Workshop) -> list[str]:
    """The template and its scripts; the words for the command line."""
    text = (TEMPLATES / TEMPLATE).read_text(encoding="utf-8")
    for name in MADE:
        content = script(name)
        file = windows.work / "served" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        if not published():
            found = re.search(rf"{re.escape(name)}'\s*(?:runElevated: true\s*)?sha256Checksum: '(\w+)'", text)
            assert found is not None, name
            text = text.replace(found[1], hashlib.sha256(content).hexdigest())
    windows.write("windows2025image.bicep", text)
    return ["windows2025image.bicep", "--map", f"{PUBLISHED}={windows.work / 'served'}"]


@pytest.mark.timeout(3600)
@pytest.mark.skipif("WHOLE_PUBLIC_TEMPLATES" not in os.environ, reason="takes many minutes: WHOLE_PUBLIC_TEMPLATES=1")
def test_thirteen_steps_of_a_bicep_template(windows: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bicep = need_bicep()
    monkeypatch.setenv("PATH", f"{bicep.parent}:{os.environ['PATH']}")
    with Web(files=WEB, folder=tmp_path) as web:
        windows.guest = {"updates": UPDATES, "noted": "public", "web": web.variables}
        windows.aibemu("run", *lay_out(windows))
    assert windows.summary.state == "Succeeded"
    assert list(windows.statuses().values()) == ["ok"] * 15, "thirteen steps, the deprovision script, a validator"
    assert web.asked == [NET, NET_JAPANESE, RELEASES, PACKAGE]
    log = windows.log()
    for line in (
        "Installation successful", "PowerShell installation completed successfully", "ja-JP has been configured",
        "Found Windows update (2026-01-13; 0.95 MB): 2026-01 Cumulative Update", "exited with code: 101",
        "Skipped (filter) Windows update (2026-01-13; 0.95 MB): A Preview", "Setting local execution policy",
    ):  # fmt: skip
        assert line in log
