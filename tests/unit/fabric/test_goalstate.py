"""The wire server's documents: well-formed for any name, and with all that the agents read."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from aibemu.fabric import goalstate
from aibemu.fabric.vm import VirtualMachine
from tests.unit.fabric.machines import machine

ODD = """a&b<c>'d"e?f g"""
DOCUMENTS = [
    goalstate.goal_state,
    goalstate.hosting_environment,
    goalstate.shared_config,
    goalstate.extensions_config,
]


def text(root: ET.Element, path: str) -> str:
    found = root.findtext(path)
    assert found is not None, path
    return found


def attribute(root: ET.Element, path: str, name: str) -> str:
    found = root.find(path)
    assert found is not None, path
    return found.attrib[name]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_each_document_is_xml_for_any_name(document: Callable[[VirtualMachine, int], str]) -> None:
    content = document(machine(name=ODD), 7)
    assert content.startswith('<?xml version="1.0" encoding="utf-8"?>\n<')
    root = ET.fromstring(content.encode())
    assert root.attrib.get("goalStateIncarnation", root.findtext("Incarnation")) == "7"


def test_versions_have_the_one_that_the_agents_speak() -> None:
    root = ET.fromstring(goalstate.versions().encode())
    assert text(root, "Preferred/Version") == "2015-04-05"
    supported = [version.text for version in root.iterfind("Supported/Version")]
    assert supported == list(goalstate.SUPPORTED)
    assert "2012-11-30" in supported


def test_goal_state_says_who_the_machine_is() -> None:
    vm = machine(name=ODD)
    root = ET.fromstring(goalstate.goal_state(vm, 3).encode())
    assert root.tag == "GoalState"
    assert text(root, "Version") == "2012-11-30"
    assert text(root, "Incarnation") == "3"
    assert text(root, "Machine/ExpectedState") == "Started"
    assert text(root, "Container/ContainerId") == str(vm.container_id)
    role = "Container/RoleInstanceList/RoleInstance"
    assert text(root, f"{role}/InstanceId") == vm.role_instance_id
    name = text(root, f"{role}/Configuration/ConfigName")
    assert name.split(".")[0] == vm.role_instance_id.split(".")[0]  # the deployment's id, by the agent's own rule
    assert name.endswith(f"._{ODD}.3.xml")


def test_goal_state_points_to_its_configurations_and_to_no_others() -> None:
    vm = machine(name=ODD)
    root = ET.fromstring(goalstate.goal_state(vm, 3).encode())
    configuration = root.find("Container/RoleInstanceList/RoleInstance/Configuration")
    assert configuration is not None
    addresses = {entry.tag: entry.text or "" for entry in configuration if entry.tag != "ConfigName"}
    assert set(addresses) == {"HostingEnvironmentConfig", "SharedConfig", "ExtensionsConfig"}
    for tag, address in addresses.items():
        parts = urlsplit(address)
        assert (parts.scheme, parts.netloc) == ("http", "168.63.129.16:80")
        assert unquote(parts.path) == goalstate.machine_path(vm)
        kind = tag[0].lower() + tag[1:]
        assert parse_qs(parts.query) == {"comp": ["config"], "type": [kind], "incarnation": ["3"]}


@pytest.mark.parametrize("document", [goalstate.hosting_environment, goalstate.shared_config])
def test_configurations_name_deployment_role_and_instance(document: Callable[[VirtualMachine, int], str]) -> None:
    vm = machine(name=ODD)
    root = ET.fromstring(document(vm, 1).encode())
    deployment = vm.role_instance_id.partition(".")[0]
    assert attribute(root, "Deployment", "name") == deployment
    assert attribute(root, "Deployment/ServiceInstance", "name") == f"{deployment}.0"
    assert attribute(root, "Deployment/Service", "name") == f"_{ODD}"
    assert attribute(root, "Deployment/Service", "guid") == "{00000000-0000-0000-0000-000000000000}"
    assert attribute(root, "Incarnation", "instance") == f"_{ODD}"
    assert attribute(root, "Role", "name") == f"_{ODD}"
    assert attribute(root, "Role", "guid") == f"{{{vm.container_id}}}"


def test_shared_config_has_the_address() -> None:
    root = ET.fromstring(goalstate.shared_config(machine(name=ODD), 1).encode())
    assert attribute(root, "Instances/Instance", "id") == f"_{ODD}"
    assert attribute(root, "Instances/Instance", "address") == "10.0.0.4"


def test_extensions_config_has_no_updates_no_extensions_and_a_place_for_the_status() -> None:
    root = ET.fromstring(goalstate.extensions_config(machine(), 1).encode())
    families = root.find("GuestAgentExtension/GAFamilies")
    assert families is not None
    assert not list(families)
    assert root.find("Plugins") is None
    assert text(root, "StatusUploadBlob") == "http://168.63.129.16:32526/aibemu/status"
    assert attribute(root, "StatusUploadBlob", "statusBlobType") == "BlockBlob"
