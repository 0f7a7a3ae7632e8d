from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from aibemu.arm.diagnostics import Severity, TemplateInvalid
from aibemu.arm.evaluate.parameters import Given
from aibemu.arm.expressions.surroundings import Surroundings
from aibemu.arm.nodes import Node, NodeKind
from aibemu.errors import Span, UsageError
from aibemu.template.loader import MAX_BYTES, Inputs, Loaded, load
from aibemu.template.model import ManagedImageSource, OnError, PlatformImage, SharedImageVersionSource, Template

OK = Path(__file__).parents[3] / "fixtures" / "templates" / "ok"
KINDS = frozenset({"Shell", "File"})


def template(name: str) -> Template:
    return load(OK / name, known_kinds=KINDS).template


def body(**changes: Any) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((OK / "bare.json").read_text())
    value["properties"].update(changes)
    return value


def load_json(tmp_path: Path, value: Any, **options: Any) -> Loaded:
    path = tmp_path / "template.json"
    path.write_text(value if isinstance(value, str) else json.dumps(value, indent=1))
    return load(path, known_kinds=options.pop("known_kinds", KINDS), **options)


def refused(tmp_path: Path, value: Any, **options: Any) -> list[str]:
    with pytest.raises(TemplateInvalid) as caught:
        load_json(tmp_path, value, **options)
    return [d.id for d in caught.value.diagnostics if d.severity is Severity.ERROR]


@pytest.mark.parametrize("path", sorted(OK.glob("*.json")), ids=lambda path: path.stem)
def test_good_templates_load(path: Path) -> None:
    loaded = load(path, known_kinds=KINDS)
    # W35: linux-everything reboots on purpose.
    assert {d.id for d in loaded.diagnostics if d.severity is not Severity.NOTE} <= {"W09", "W35"}
    assert loaded.template.distribute


def test_a_bare_body_becomes_a_template_with_the_service_defaults() -> None:
    bare = template("bare.json")

    assert (bare.name, bare.location, bare.api_version) == ("debian-vhd", "westeurope", "2025-10-01")
    assert isinstance(bare.source, PlatformImage)
    assert bare.source.urn == "Debian:debian-12:12-gen2:latest"
    assert bare.source.plan is None
    step = bare.customize[0]
    assert (step.kind, step.index, step.name, step.label) == ("Shell", 0, "greet", "greet")
    assert step.options == {"inline": ["echo hello from $(hostname)"], "sha256Checksum": ""}
    assert (step.span.line, step.span.column) == (19, 13)
    assert (step.option_spans["inline[0]"].line, step.option_spans["inline[0]"].column) == (22, 28)
    assert bare.validate.steps == ()
    assert not bare.optimize_vm_boot
    assert bare.on_customizer_error is bare.on_validation_error is OnError.CLEANUP
    assert bare.build_timeout_minutes == 0
    assert (bare.vm_profile.vm_size, bare.vm_profile.os_disk_size_gb) == ("", 0)
    assert bare.distribute[0].options == {"uri": ""}
    assert bare.directory == str(OK.absolute())
    assert bare.document == json.loads((OK / "bare.json").read_text())


def test_every_field_arrives() -> None:
    full = template("all-distributors.json")

    assert full.tags == {"purpose": "every field that a Linux template can have"}
    assert isinstance(full.source, PlatformImage)
    assert full.source.plan == {"planName": "plan", "planProduct": "product", "planPublisher": "publisher"}
    assert [step.kind for step in full.customize] == ["Shell", "File"]
    assert [(step.kind, step.index) for step in full.validate.steps] == [("File", 0), ("Shell", 1)]
    assert full.validate.continue_distribute_on_failure
    assert not full.validate.source_validation_only
    assert full.optimize_vm_boot
    assert (full.on_customizer_error, full.on_validation_error) == (OnError.CLEANUP, OnError.ABORT)
    assert full.build_timeout_minutes == 120
    assert full.vm_profile.os_disk_size_gb == 40
    assert full.vm_profile.user_assigned_identities[0].endswith("/build")
    assert set(full.vm_profile.vnet_config) == {"subnetId"}
    assert full.staging_resource_group.endswith("/staging")
    assert full.managed_resource_tags == {"cost-centre": "1234"}
    assert len(full.identities) == 1
    targets = {target.run_output_name: target for target in full.distribute}
    assert targets["vhd"].artifact_tags == {"kind": "vhd"}
    assert targets["vhd"].options == {"uri": "https://example.blob.core.windows.net/images/disk.vhd"}
    assert targets["gallery-latest"].options["targetRegions"][1]["replicaCount"] == 1
    assert targets["gallery-latest"].options["versioning"] == {"scheme": "Latest", "major": 1}
    assert targets["gallery-latest"].options["replicationMode"] == "Shallow"
    assert targets["gallery-explicit"].options["excludeFromLatest"] is False
    assert "runOutputName" not in targets["gallery-explicit"].options


def test_a_deployment_is_read_and_its_escaped_brackets_undone() -> None:
    deployment = template("deployment.json")

    assert deployment.name == "web-server"
    assert deployment.on_customizer_error is OnError.ABORT
    assert deployment.customize[1].options["inline"] == ["[ -f /etc/debian_version ]"]
    assert "dependsOn" not in deployment.document


def test_comments_and_gallery_sources() -> None:
    commented = template("commented.json")
    assert isinstance(commented.source, SharedImageVersionSource)
    assert commented.source.image_version_id.endswith("/latest")
    assert commented.customize[0].options["inline"][0] == "echo 'no // comment' > /tmp/note"


def test_managed_image_source(tmp_path: Path) -> None:
    id_ = "/subscriptions/00000000-0000-0000-0000-000000000001/resourcegroups/g/providers/microsoft.compute/images/i"
    loaded = load_json(tmp_path, body(source={"type": "ManagedImage", "imageId": id_}))
    assert loaded.template.source == ManagedImageSource(image_id=id_, span=loaded.template.source.span)


def test_older_api_versions_take_any_case_and_drop_what_they_do_not_know(tmp_path: Path) -> None:
    value = body(VMPROFILE={"vmsize": "Standard_B2s"}, typo=1, optimize={"vmBoot": {"state": "Enabled"}})
    loaded = load_json(tmp_path, value, api_version="2021-10-01")

    assert loaded.template.vm_profile.vm_size == "Standard_B2s"
    assert not loaded.template.optimize_vm_boot
    assert set(loaded.template.document["properties"]) == {"source", "customize", "distribute", "vmProfile"}
    warnings = [d.id for d in loaded.diagnostics if d.severity is Severity.WARNING]
    assert sorted(warnings) == ["E04", "W02", "W02", "W02"]


def test_null_means_absent(tmp_path: Path) -> None:
    assert load_json(tmp_path, body(vmProfile=None, validate=None)).template.vm_profile.vm_size == ""
    assert refused(tmp_path, body(source=None)) == ["S02"]


def test_name_from_the_command_line_or_the_file(tmp_path: Path) -> None:
    value = body()
    del value["name"]
    path = tmp_path / "my template (1).json"
    path.write_text(json.dumps(value))

    loaded = load(path, known_kinds=KINDS)
    assert loaded.template.name == "my-template-1"
    assert [d.id for d in loaded.diagnostics if d.id.startswith("T")] == ["T03", "T04"]
    assert load(path, known_kinds=KINDS, name="other").template.name == "other"
    assert refused(tmp_path, value, name="no good") == ["E06"]


def deployment(*names: str, **changes: Any) -> dict[str, Any]:
    resources = [
        {"type": "Microsoft.VirtualMachineImages/imageTemplates", "apiVersion": "2024-02-01", **body(), "name": name}
        for name in names
    ]
    return {
        "resources": [{**resource, **changes} for resource in resources], "contentVersion": "1.0.0.0",
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
    }  # fmt: skip


def test_one_of_several_is_chosen_by_name(tmp_path: Path) -> None:
    assert load_json(tmp_path, deployment("one", "two"), name="TWO").template.name == "two"
    with pytest.raises(TemplateInvalid, match="1 error") as caught:
        load_json(tmp_path, deployment("one", "two"), name="three")
    assert "one (line 3), two (line" in caught.value.diagnostics[0].message
    with pytest.raises(TemplateInvalid) as caught:
        load_json(tmp_path, deployment("one", "two"))
    assert "--name" in (caught.value.diagnostics[0].hint or "")


def test_names_are_compared_evaluated(tmp_path: Path) -> None:
    value = deployment("[concat('o', 'ne')]", "two")
    assert load_json(tmp_path, value, name="ONE").template.name == "one"
    assert refused(tmp_path, deployment("[parameters('name')]")) == ["X04"]


def test_parameters_and_surroundings_go_in(tmp_path: Path) -> None:
    value = deployment("[parameters('name')]", location="[resourceGroup().location]")
    value["parameters"] = {"name": {"type": "string"}}
    assert refused(tmp_path, value) == ["X05"]
    span = Span(file="-", line=1, column=1)
    given = {"name": Given(name="name", span=span, node=Node(NodeKind.STRING, span, "mine"))}
    inputs = Inputs(given=given, surroundings=Surroundings(location="mars"))
    loaded = load_json(tmp_path, value, inputs=inputs)
    assert (loaded.template.name, loaded.template.location) == ("mine", "mars")
    assert refused(tmp_path, body(), inputs=inputs) == ["X06"]


def test_placeholders_are_filled(tmp_path: Path) -> None:
    value = body(vmProfile={"vmSize": "<size>"})
    assert refused(tmp_path, value) == ["E08"]
    loaded = load_json(tmp_path, value, inputs=Inputs(placeholders={"size": "Standard_B2s", "none": "x"}))
    assert loaded.template.vm_profile.vm_size == "Standard_B2s"
    assert "--set none" in next(d.message for d in loaded.diagnostics if d.id == "E08")


def test_what_is_not_deployed_is_said(tmp_path: Path) -> None:
    with pytest.raises(TemplateInvalid) as caught:
        load_json(tmp_path, deployment("one", condition="[false()]"))
    (found,) = caught.value.diagnostics
    assert found.id == "T01"
    assert "condition" in found.message


def test_outputs_come_with_it(tmp_path: Path) -> None:
    value = deployment("one")
    value["outputs"] = {
        "id": {"type": "string", "value": "[resourceId('Microsoft.VirtualMachineImages/imageTemplates', 'one')]"},
        "later": {"type": "string", "value": "[reference('one').provisioningState]"},
        "secret": {"type": "securestring", "value": "x"},
    }
    outputs = load_json(tmp_path, value).outputs
    assert outputs["id"].value.endswith("/imageTemplates/one")
    assert outputs["later"].value is None
    assert outputs["secret"].value is None


def test_api_version_option_wins(tmp_path: Path) -> None:
    assert load_json(tmp_path, deployment("one"), api_version="2022-07-01").template.api_version == "2022-07-01"
    with pytest.raises(UsageError, match="no such api version"):
        load_json(tmp_path, body(), api_version="2024-02-11")
    with pytest.raises(UsageError):
        load_json(tmp_path, body(), api_version="2018-02-01-preview")


def test_kinds_decide_what_can_run(tmp_path: Path) -> None:
    windows = {**body()["properties"]["source"], "publisher": "MicrosoftWindowsServer", "offer": "WindowsServer"}
    value = body(source=windows, customize=[{"type": "PowerShell", "inline": ["dir"]}])
    assert "P01" in {d.id for d in load_json(tmp_path, value, build=False).diagnostics}
    assert load_json(tmp_path, value, build=True).template.customize[0].kind == "PowerShell"  # valid all the same
    loaded = load_json(tmp_path, value, known_kinds=KINDS | {"PowerShell"})
    assert loaded.template.customize[0].options["validExitCodes"] == [0]


def test_a_plugin_may_bring_a_kind_of_its_own(tmp_path: Path) -> None:
    value = body(customize=[{"type": "Ansible", "playbook": "site.yml"}])
    assert refused(tmp_path, value) == ["E03"]
    loaded = load_json(tmp_path, value, known_kinds=KINDS | {"Ansible"})
    assert loaded.template.customize[0].options == {"playbook": "site.yml"}
    assert "P02" in [d.id for d in loaded.diagnostics]


def test_a_plugin_may_bring_a_target_of_its_own(tmp_path: Path) -> None:
    """It has a name for its run output, as every target has; what else it holds is the plugin's affair."""
    target = {"type": "Folder", "runOutputName": "out", "artifactTags": {"a": "b"}, "folder": "made", "deep": [1]}
    assert refused(tmp_path, body(distribute=[target])) == ["E03"]
    inputs = Inputs(targets=frozenset({"Folder", "VHD"}))
    loaded = load_json(tmp_path, body(distribute=[target]), inputs=inputs)
    (made,) = loaded.template.distribute
    assert (made.kind, made.run_output_name, made.artifact_tags) == ("Folder", "out", {"a": "b"})
    assert made.options == {"folder": "made", "deep": [1]}
    assert "P02" in [d.id for d in loaded.diagnostics]
    assert refused(tmp_path, body(distribute=[{**target, "runOutputName": "a b"}]), inputs=inputs) == ["E50"]
    del target["runOutputName"]
    assert refused(tmp_path, body(distribute=[target]), inputs=inputs) == ["E50"]


def test_a_customizer_is_no_target_and_a_target_no_customizer(tmp_path: Path) -> None:
    inputs = Inputs(targets=frozenset({"Folder"}))
    assert refused(tmp_path, body(distribute=[{"type": "Shell", "runOutputName": "out"}]), inputs=inputs) == ["E03"]
    assert refused(tmp_path, body(customize=[{"type": "Folder"}]), inputs=inputs) == ["E03"]


def test_bare_text_in_brackets_is_shell_unless_it_calls_a_function(tmp_path: Path) -> None:
    lines = ["[ -d /srv ] && [ -f /x ]", "[[ -f /x ]]"]
    loaded = load_json(tmp_path, body(customize=[{"type": "Shell", "inline": lines}]))
    assert loaded.template.customize[0].options["inline"] == lines
    assert refused(tmp_path, body(customize=[{"type": "Shell", "inline": ["[concat('a', 'b')]"]}])) == ["E08"]


def test_findings_after_a_slip_in_the_text_come_with_it(tmp_path: Path) -> None:
    text = json.dumps(body(distribute=[{"type": "VHD"}]), indent=1).replace('"westeurope"', "<region>")
    assert refused(tmp_path, text) == ["J01", "E50"]


def test_nothing_is_guessed_from_a_broken_structure(tmp_path: Path) -> None:
    text = json.dumps(body(distribute=[{"type": "VHD"}]), indent=1).rstrip("}\n ")
    assert set(refused(tmp_path, text)) == {"J01"}


def test_messages_name_path_and_say_what_to_do(tmp_path: Path) -> None:
    steps = [{"type": "Shell", "inline": ["true"]}, {"type": "shel", "inline": ["true"]}]
    with pytest.raises(TemplateInvalid) as caught:
        load_json(tmp_path, body(customize=steps, stagingResourcegroup=""))
    by_id = {d.id: d for d in caught.value.diagnostics}
    assert by_id["E03"].path == "ImageTemplate.properties.customize[1]"
    assert by_id["E03"].hint == "did you mean 'Shell'?"
    assert by_id["E01"].path == "ImageTemplate.properties"
    assert 'unknown field "stagingResourcegroup"' in by_id["E01"].message
    assert by_id["E01"].hint == "write 'stagingResourceGroup'"


class TestFilesThatCannotBeRead:
    def check(self, path: Path, words: str) -> UsageError:
        with pytest.raises(UsageError, match=words) as caught:
            load(path, known_kinds=KINDS)
        return caught.value

    def test_missing(self, tmp_path: Path) -> None:
        self.check(tmp_path / "nothing.json", "No such file")

    def test_folder(self, tmp_path: Path) -> None:
        self.check(tmp_path, "is a folder")

    def test_nul_in_the_name(self) -> None:
        self.check(Path("a\0b"), "cannot read")

    def test_utf16(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text("{}", encoding="utf-16")
        self.check(path, "UTF-16")

    def test_latin1(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_bytes(b'{\n"a": "\xe9"}')
        self.check(path, "not UTF-8 text .line 2")

    def test_huge(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_bytes(b" " * (MAX_BYTES + 1))
        self.check(path, "more than the 8 MiB that are read at most")

    def test_bom_is_fine(self, tmp_path: Path) -> None:
        path = tmp_path / "a.json"
        path.write_text(json.dumps(body()), encoding="utf-8-sig")
        assert load(path, known_kinds=KINDS).template.name == "debian-vhd"


def test_thousands_of_mistakes_are_no_hang(tmp_path: Path) -> None:
    value = body(**{f"unknown{number}": number for number in range(20_000)})
    with pytest.raises(TemplateInvalid) as caught:
        load_json(tmp_path, value)
    assert len(caught.value.diagnostics) >= 20_000
