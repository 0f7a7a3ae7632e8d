"""Every Windows template of fixtures/public-templates goes through all five phases on the dryrun driver, as it was
published; the one that is no JSON with its one slip mended. Bicep takes a real compiler, and is skipped without one.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from aibemu.paths import Home
from tests.public_data import TEMPLATES
from tests.scenarios.layered import Workshop
from tests.scenarios.observing import Seen

SUBSCRIPTION = "00000000-0000-0000-0000-000000000001"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/rg/providers"
VERSION = f"{GROUP}/Microsoft.Compute/galleries/gal/images/win/versions/1.0.0"
PLACEHOLDERS = {
    "subscriptionID": SUBSCRIPTION, "rgName": "rg", "region": "westeurope", "region1": "westus", "region2": "eastus",
    "imgBuilderId": f"{GROUP}/Microsoft.ManagedIdentity/userAssignedIdentities/builder", "runOutputName": "out",
    "imageName": "img", "sharedImageGalName": "gal", "imageDefName": "def", "sigDefImgVersionId": VERSION,
    "vnetRgName": "net", "vnetName": "vn", "subnetName": "sn", "machinesku": "Standard_D2s_v3", "skuName": "win10-22h2",
}  # fmt: skip
PARAMETERS = {"imageTemplateName": "windows", "api-version": "2022-07-01", "svclocation": "westeurope"}
SERVED = {
    "https://raw.githubusercontent.com/danielsollondon/azvmimagebuilder/master/": (
        "testPsScript.ps1", "quickquickstarts/exampleArtifacts/buildArtifacts/index.html",
    ),
    "https://raw.githubusercontent.com/kkamegawa/windowsjpimagebuilder/main/images/": (
        "common/Initialize-VM.ps1", "Windows2025/Install-NET481.ps1", "Windows2025/Install-NET481langpack.ps1",
        "common/Install-PowerShellCore-GitHub.ps1", "Windows2025/install-languagepack.ps1", "common/Finalize-VM.ps1",
    ),
}  # fmt: skip
CONTENT = "Write-Output 'made for a test'\r\n"
PHASES = ("provision", "customize", "generalize", "validate", "distribute")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """file: a part of its name. steps: their labels, in order. outputs: names of the run outputs."""

    file: str
    steps: tuple[str, ...]
    outputs: tuple[str, ...] = ("out",)
    # Text that is mended, and by what.
    mended: tuple[str, str] | None = None
    parameters: bool = True


QUICK = ("CreateBuildPath", "WindowsRestart #2", "downloadBuildArtifacts", "settingUpMgmtAgtPath", "WindowsUpdate #5")
CASES = (
    Case(file="Custom_Windows_Managed_Image_helloImageTemplateWin.json", steps=QUICK, parameters=False),
    Case(file="existingVNETWindows.json", steps=QUICK),
    Case(file="helloImageTemplateforSIGfromWinSIG.json", steps=("settingUpMgmtAgtPath", "WindowsUpdate #2")),
    Case(file="armTemplateWinSIG.json", steps=(), mended=("              <region>", '              "<region>"')),
    Case(file="AzureImageBuilderExample.bicep", steps=("WindowsUpdate #1",), outputs=("aibWindows",), parameters=False),
    Case(
        file="windows2025image.bicep", outputs=("winclient01",), parameters=False,
        steps=(
            "InitializeVM", "Install .NET Framework 4.8.1", "Install .NET Framework 4.8.1 Language Pack",
            "remove 65330/udp port", "InstallPowerShellCore", "Install Language Pack", "WindowsRestart #7",
            "Set ja-jp as default", "WindowsRestart #9", "WindowsUpdate #10", "WindowsRestart #11", "FinalizeVM",
            "cleanup",
        ),
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.file)
def test_a_published_windows_template(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shop = Workshop(work=tmp_path / "work", home=Home.at(tmp_path / "home"), patch=monkeypatch, capture=capsys)
    words = lay_out(case, shop.work)
    seen = shop.call(command=["run", *words, "--driver", "dryrun"], recorded=True, exit=0)
    summary = seen.summary
    assert tuple(phase.name for phase in summary.phases) == PHASES
    assert summary.state == "DryRun"
    assert steps_of(seen) == list(case.steps)
    assert {step.status for step in summary.steps} <= {"not run"}
    assert tuple(output.run_output_name for output in summary.outputs) == case.outputs
    assert not list(shop.home.images.rglob("*.qcow2"))


def lay_out(case: Case, work: Path) -> list[str]:
    """The template as it was published, and what it downloads, made for this test; the words for the command line."""
    (source,) = [path for path in TEMPLATES.iterdir() if path.name.endswith(case.file)]
    if source.suffix == ".bicep" and not shutil.which("bicep"):
        pytest.skip("there is no bicep on PATH")
    text = source.read_text(encoding="utf-8")
    if case.mended:
        assert text.count(case.mended[0]) == 1
        text = text.replace(*case.mended)
    work.mkdir()
    words = [f"template{source.suffix}"]
    for place, names in SERVED.items():
        for name in names:
            file = work / "served" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(CONTENT.encode())
        words += ["--map", f"{place}={work / 'served'}"]
    # The published sums are those of the published files.
    for sum_ in {word for word in text.split("'") if len(word) == 64}:
        text = text.replace(sum_, hashlib.sha256(CONTENT.encode()).hexdigest())
    (work / words[0]).write_text(text, encoding="utf-8")
    for name, value in PLACEHOLDERS.items():
        words += ["--set", f"{name}={value}"] if f"<{name}>" in text else []
    for name, value in PARAMETERS.items():
        words += ["-p", f"{name}={value}"] if case.parameters else []
    return words


def steps_of(seen: Seen) -> list[str]:
    return [step.label for step in seen.summary.steps if step.role == "customizer"]
