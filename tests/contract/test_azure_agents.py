"""The wire server, the host plugin and the provisioning DVD's document, used by the real agents' own code over HTTP.

Their sources are looked for in AIBEMU_AGENT_SOURCES (folders as in PATH, each a `dist-packages` with the agents and
what they import) or where Debian's packages put them. To have them without an installation:

    apt-get download waagent cloud-init python3-{configobj,distro,jsonpatch,json-pointer,requests,six,serial,netifaces,\
jinja2,oauthlib,urllib3,chardet,idna,certifi}
    for package in *.deb; do dpkg -x $package sources; done
    AIBEMU_AGENT_SOURCES=$PWD/sources/usr/lib/python3/dist-packages

azure-init, the third agent, is Rust and is not tried here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from aibemu.systems.linux.dvd import ovf_env
from tests.unit.fabric.machines import machine

SOURCES = os.environ.get("AIBEMU_AGENT_SOURCES", "/usr/lib/python3/dist-packages").split(os.pathsep)
ROOT = Path(__file__).parents[2]
CANNOT_IMPORT = 77
# A name that Azure allows: waagent puts it into its health report as it is, without escaping.
VM = machine(name="vm-build_1.x", public_keys=("ssh-rsa AAAA a&b<c>'d",), custom_data="I2Nsb3VkLWNvbmZpZwo=")

# Runs in a process of its own, where the agents' modules may be imported: two servers, then what an agent does to them.
SERVERS = """
import json, sys, threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from aibemu.fabric.hostgaplugin import HostGaPlugin
from aibemu.fabric.http import Request
from aibemu.fabric.vm import VirtualMachine
from aibemu.fabric.wireserver import WireServer

given = json.load(sys.stdin)
vm, heard, seen, out = VirtualMachine.from_json(given["vm"]), [], [], {}

def serve(service):
    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = service.handle(Request(method=self.command, target=self.path, headers=headers, body=body))
            seen.append([service.name, self.command, self.path, reply.status])
            self.send_response(reply.status)
            self.send_header("Content-Length", str(len(reply.body)))
            if reply.content_type:
                self.send_header("Content-Type", reply.content_type)
            self.end_headers()
            self.wfile.write(reply.body)
        do_GET = do_POST = do_PUT = answer
        def log_message(self, *_): pass
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]

wire, plugin = serve(WireServer(vm, heard.append)), serve(HostGaPlugin())
"""
REPORT = """
out["heard"] = [[r.state, r.substatus, r.message, r.by, r.ready, r.failed] for r in heard]
out["seen"] = seen
json.dump(out, open("out.json", "w"))
"""
WAAGENT = """
import azurelinuxagent.common.conf as conf
from azurelinuxagent.common.protocol import wire as protocol_wire
from azurelinuxagent.common.protocol.ovfenv import OvfEnv
from azurelinuxagent.common.protocol.restapi import VMStatus
from azurelinuxagent.common.utils import restutil

open("agent.conf", "w").write("Lib.Dir=.\\n")
conf.load_conf_from_file("agent.conf")
send = restutil._http_request

def to_loopback(method, host, *rest, port=None, **others):
    assert host == "168.63.129.16", host
    return send(method, "127.0.0.1", *rest, port={80: wire, 32526: plugin}[port or 80], **others)

restutil._http_request = to_loopback
protocol = protocol_wire.WireProtocol("168.63.129.16")
protocol.detect()
client = protocol.client
state, hosting = client.get_goal_state(), client.get_hosting_env()
extensions = getattr(state, "extensions_goal_state", None) or client.get_extensions_goal_state()
out["state"] = [state.container_id, state.role_instance_id, state.incarnation]
out["hosting"] = [hosting.vm_name, hosting.role_name, hosting.deployment_name]
out["extensions"] = [extensions.status_upload_blob, extensions.status_upload_blob_type, len(extensions.extensions)]
client.report_health("NotReady", "Provisioning", "Starting")
client.report_health("Ready", None, None)
client.report_health("NotReady", "ProvisioningFailed", "no <key> & 'user'")
client.report_role_prop("ABCD")
client.send_encoded_event("id", b"<![CDATA[x]]>")
client.status_blob.set_vm_status(VMStatus("Ready", "running"))
client.upload_status_blob()
out["direct"] = client.status_blob.upload(extensions.status_upload_blob)
host = client.get_host_plugin()
out["deployment"], out["health"] = host.deployment_id, host.get_health()
host.put_vm_log(b"zip")
ovf = OvfEnv(given["ovf"])
out["ovf"] = [ovf.hostname, ovf.username, ovf.user_password, ovf.customdata, ovf.disable_ssh_password_auth]
out["keys"], out["agent"] = [value for _, _, value in ovf.ssh_pubkeys], ovf.provision_guest_agent
"""
CLOUD_INIT = """
import cloudinit.sources.DataSourceAzure as datasource
from cloudinit.sources.helpers import azure

azure.push_log_to_kvp = lambda *_: None
shim = azure.WALinuxAgentShim(f"127.0.0.1:{wire}")
ready = shim.register_with_azure_and_fetch_data
try:
    out["keys given"] = ready()
except TypeError:  # newer ones want the distribution, to eject the DVD
    out["keys given"] = ready(None)
shim.register_with_azure_and_report_failure(description="old <form> & 'text'")
try:
    from cloudinit.sources.azure.errors import ReportableErrorUnhandledException, ReportableErrorImdsInvalidMetadata
except ImportError:
    out["encoded"] = False
else:
    out["encoded"] = True
    for error in (
        ReportableErrorImdsInvalidMetadata(key="a|b", value="it's <x>"),
        ReportableErrorUnhandledException(KeyError("x")),
    ):
        shim.register_with_azure_and_report_failure(description=error.as_encoded_report())
ovf = azure.OvfEnvXml.parse_text(given["ovf"])
out["ovf"] = [ovf.hostname, ovf.username, ovf.password, ovf.custom_data.decode(), ovf.disable_ssh_password_auth]
out["keys"] = [key["value"] for key in ovf.public_keys]
out["preprovisioned"] = ovf.preprovisioned_vm
"""


@pytest.fixture(params=SOURCES, ids=[str(number) for number in range(len(SOURCES))])
def sources(request: pytest.FixtureRequest) -> Path:
    return Path(request.param)


def run(sources: Path, package: str, agent: str, folder: Path) -> dict[str, Any]:
    """What the agent's code made of our documents, and what we heard of it."""
    if not (sources / package).is_dir():
        pytest.skip(f"no {package} in {sources} (see AIBEMU_AGENT_SOURCES in this file)")
    guarded = "\n".join(f"    {line}" for line in f"import {package}\n{agent}".splitlines())
    failed = f"except ImportError as error:\n    print(error, file=sys.stderr)\n    sys.exit({CANNOT_IMPORT})\n"
    (folder / "script.py").write_text(f"{SERVERS}\ntry:\n{guarded}\n{failed}{REPORT}")
    # No proxy: it would be asked for 127.0.0.1.
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{sources}{os.pathsep}{ROOT}", "NO_PROXY": "*"}
    done = subprocess.run(
        [sys.executable, "script.py"], cwd=folder, env=environment, capture_output=True, text=True, timeout=120,
        check=False, input=json.dumps({"vm": VM.as_json(), "ovf": ovf_env(VM)}),
    )  # fmt: skip
    if done.returncode == CANNOT_IMPORT:
        pytest.skip(f"{package} of {sources} lacks what it imports: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr + done.stdout
    made: dict[str, Any] = json.loads((folder / "out.json").read_text())
    return made


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed; waagent makes a key with it")
def test_waagent(sources: Path, tmp_path: Path) -> None:
    made = run(sources, "azurelinuxagent", WAAGENT, tmp_path)
    deployment, _, instance = VM.role_instance_id.partition(".")
    assert made["state"] == [str(VM.container_id), VM.role_instance_id, "1"]
    assert made["hosting"] == [instance, instance, deployment]
    assert made["extensions"] == ["http://168.63.129.16:32526/aibemu/status", "BlockBlob", 0]
    assert made["deployment"] == deployment
    assert made["direct"] is True
    assert made["health"] is True
    assert made["ovf"] == [VM.computer_name, VM.admin_username, None, VM.custom_data, True]
    assert (made["keys"], made["agent"]) == (list(VM.public_keys), "true")
    assert made["heard"] == [
        ["NotReady", "Provisioning", "Starting", "waagent", False, False],
        ["Ready", "", "", "waagent", True, False],
        ["NotReady", "ProvisioningFailed", "no <key> & 'user'", "waagent", False, True],
    ]
    refused = {(path.partition("?")[0], status) for _, _, path, status in made["seen"] if status >= 400}
    assert refused <= {("/vmSettings", 404), ("/HealthService", 404)}
    assert ["hostgaplugin", "PUT", "/status", 200] in made["seen"]


def test_cloud_init(sources: Path, tmp_path: Path) -> None:
    made = run(sources, "cloudinit", CLOUD_INIT, tmp_path)
    assert made["keys given"] is None
    assert made["ovf"] == [VM.computer_name, VM.admin_username, None, "#cloud-config\n", True]
    assert (made["keys"], made["preprovisioned"]) == (list(VM.public_keys), False)
    assert made["heard"][:2] == [
        ["Ready", "", "", "cloud-init", True, False],
        ["NotReady", "ProvisioningFailed", "old <form> & 'text'", "cloud-init", False, True],
    ]
    if made["encoded"]:
        messages = [message for _, _, message, _, _, failed in made["heard"][2:] if failed]
        assert messages == [
            'invalid IMDS metadata for key=a|b (key: a|b, value: "it\'s <x>")',
            "unhandled exception (exception: KeyError('x'))",
        ]
    assert {status for _, _, _, status in made["seen"]} == {200}
