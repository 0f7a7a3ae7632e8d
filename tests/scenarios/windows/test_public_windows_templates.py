"""Image templates for Windows that people published run to their end, or are refused for the right reason.

What they download is served by a server of this test: scripts made here, of the same names, in place of those that are
not part of this repository. Names of resources that a template leaves to its reader are filled in.
"""

from __future__ import annotations

from tests.public_data import TEMPLATES
from tests.scenarios.windows.workshop import Workshop

_AZURE = "Azure__azvmimagebuilder__quickquickstarts_"
QUICK_START = f"{_AZURE}0_Creating_a_Custom_Windows_Managed_Image_helloImageTemplateWin.json"
SERVED = "https://raw.githubusercontent.com/danielsollondon/azvmimagebuilder/master/"
# Made for this test. The published script of that name once only wrote a file; the template counts on the folder.
FILES = {
    "testPsScript.ps1": "New-Item -ItemType Directory C:\\buildArtifacts | Out-Null\r\n",
    "quickquickstarts/exampleArtifacts/buildArtifacts/index.html": "<h1>Made for a test</h1>\n",
}
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
IDENTITY = (
    f"/subscriptions/{SUBSCRIPTION}/resourceGroups/aibemu/providers/Microsoft.ManagedIdentity/userAssignedIdentities/b"
)
FILLED = {
    "region": "westeurope", "imgBuilderId": IDENTITY, "subscriptionID": SUBSCRIPTION, "rgName": "aibemu",
    "imageName": "hello", "runOutputName": "hello",
}  # fmt: skip
UPDATES = [{"title": "2026-01 Cumulative Update", "kb": "5001"}, {"title": "2026-01 Preview", "kb": "5002"}]


def lay_out(windows: Workshop) -> list[str]:
    """The template as it was published, and the files where `--map` takes them from; the words for the command line."""
    windows.write("hello.json", (TEMPLATES / QUICK_START).read_text(encoding="utf-8"))
    for path, text in FILES.items():
        file = windows.work / "served" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.encode())
    filled = [word for name, value in FILLED.items() for word in ("--set", f"{name}={value}")]
    return ["hello.json", *filled, "--map", f"{SERVED}={windows.work / 'served'}"]


def test_the_quick_start_for_windows(windows: Workshop) -> None:
    """Script, restart with a check of its own, a file, commands, updates."""
    windows.guest = {"updates": UPDATES}
    windows.aibemu("run", *lay_out(windows))
    assert windows.summary.state == "Succeeded"
    assert set(windows.statuses().values()) == {"ok"}
    log = windows.log()
    assert "Found Windows update (2026-01-13; 0.95 MB): 2026-01 Cumulative Update" in log
    assert "Skipped (filter) Windows update (2026-01-13; 0.95 MB): 2026-01 Preview" in log
    assert log.index("No Windows updates found") < log.index("Sysprepping VM")


def test_a_download_that_is_not_there_ends_the_build_before_it_starts(windows: Workshop) -> None:
    words = lay_out(windows)
    (windows.work / "served/testPsScript.ps1").unlink()
    said = windows.aibemu("run", *words, exit=3)
    assert "testPsScript.ps1" in said
    assert not list(windows.home.runs.glob("*/events.ndjson"))
