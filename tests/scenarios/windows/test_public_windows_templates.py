"""Image templates for Windows that people published run to their end, or are refused for the right reason.

What they download is served by a server of this test: scripts made here, of the same names, in place of those that are
not part of this repository. Names of resources that a template leaves to its reader are filled in.
"""

from __future__ import annotations

import os

import pytest

from tests.public_data import TEMPLATES
from tests.scenarios.windows.workshop import Workshop, template

_AZURE = "Azure__azvmimagebuilder__quickquickstarts_"
QUICK_START = f"{_AZURE}0_Creating_a_Custom_Windows_Managed_Image_helloImageTemplateWin.json"
ON_NETWORK = f"{_AZURE}1a_Creating_a_Custom_Win_Image_on_Existing_VNET_existingVNETWindows.json"
FROM_GALLERY = (
    "Azure__azvmimagebuilder__"
    "eating_a_Custom_Win_Shared_Image_Gallery_Image_from_SIG_helloImageTemplateforSIGfromWinSIG.json"
)
SERVED = "https://raw.githubusercontent.com/danielsollondon/azvmimagebuilder/master/"
# Made for this test. The published script of that name once only wrote a file; the template counts on the folder.
FILES = {
    "testPsScript.ps1": "New-Item -ItemType Directory C:\\buildArtifacts | Out-Null\r\n",
    "quickquickstarts/exampleArtifacts/buildArtifacts/index.html": "<h1>Made for a test</h1>\n",
}
SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
MANAGED = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/aibemu/providers/Microsoft.ManagedIdentity"
IDENTITY = f"{MANAGED}/userAssignedIdentities/builder"
FILLED = {
    "region": "westeurope", "imgBuilderId": IDENTITY, "subscriptionID": SUBSCRIPTION, "rgName": "aibemu",
    "imageName": "hello", "runOutputName": "hello",
}  # fmt: skip
UPDATES = [{"title": "2026-01 Cumulative Update", "kb": "5001"}, {"title": "2026-01 Preview", "kb": "5002"}]


def lay_out(windows: Workshop) -> list[str]:
    """The template as it was published, and the files where `--map` takes them from; the words for the command line."""
    text = (TEMPLATES / QUICK_START).read_text(encoding="utf-8")
    windows.write("hello.json", text)
    for path, content in FILES.items():
        file = windows.work / "served" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode())
    return ["hello.json", *filled(text), "--map", f"{SERVED}={windows.work / 'served'}"]


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


# Both differ from the quick start in what is around their steps, and take as long: each step starts PowerShell.
whole = pytest.mark.skipif("WHOLE_PUBLIC_TEMPLATES" not in os.environ, reason="minutes: WHOLE_PUBLIC_TEMPLATES=1")
PARAMETERS = ("-p", "imageTemplateName=hello", "-p", "api-version=2022-02-14", "-p", "svclocation=westeurope")


def filled(text: str, **values: str) -> list[str]:
    """Words for the names that a template leaves to its reader."""
    wanted = {name: value for name, value in {**FILLED, **values}.items() if f"<{name}>" in text}
    return [word for name, value in wanted.items() for word in ("--set", f"{name}={value}")]


@whole
def test_the_template_for_an_existing_network(windows: Workshop) -> None:
    lay_out(windows)
    text = (TEMPLATES / ON_NETWORK).read_text(encoding="utf-8")
    windows.write("network.json", text)
    windows.guest = {"updates": UPDATES}
    names = filled(text, vnetRgName="aibemu", vnetName="net", subnetName="default")
    windows.aibemu("run", "network.json", *PARAMETERS, *names, "--map", f"{SERVED}={windows.work / 'served'}")
    assert windows.summary.state == "Succeeded" and set(windows.statuses().values()) == {"ok"}
    assert "Found Windows update (2026-01-13; 0.95 MB): 2026-01 Cumulative Update" in windows.log()


@whole
@pytest.mark.timeout(1800)
def test_the_template_from_a_gallery_s_version(windows: Workshop) -> None:
    """Its source is what another build put into the gallery."""
    gallery = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/aibemu/providers/Microsoft.Compute/galleries/pictures"
    target = {"type": "SharedImage", "galleryImageId": f"{gallery}/images/first", "runOutputName": "first",
              "replicationRegions": ["westeurope"]}  # fmt: skip
    first = template([{"type": "PowerShell", "name": "First", "inline": ["mkdir C:\\first"]}], distribute=[target])
    windows.write("first.json", first)
    windows.aibemu("run", "first.json")
    (version,) = [output.artifact for output in windows.summary.outputs]
    text = (TEMPLATES / FROM_GALLERY).read_text(encoding="utf-8")
    windows.write("gallery.json", text)
    windows.guest = {"updates": UPDATES}
    names = filled(
        text, sigDefImgVersionId=str(version), sharedImageGalName="pictures", imageDefName="second",
        region1="westeurope", region2="northeurope",
    )  # fmt: skip
    windows.aibemu("run", "gallery.json", *PARAMETERS, *names)
    assert windows.summary.state == "Succeeded" and set(windows.statuses().values()) == {"ok"}
    assert "No Windows updates found" in windows.log()


def test_a_download_that_is_not_there_ends_the_build_before_it_starts(windows: Workshop) -> None:
    words = lay_out(windows)
    (windows.work / "served/testPsScript.ps1").unlink()
    said = windows.aibemu("run", *words, exit=3)
    assert "testPsScript.ps1" in said
    assert not list(windows.home.runs.glob("*/events.ndjson"))
