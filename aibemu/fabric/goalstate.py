"""The wire server's documents: protocol versions, goal state and the three configurations it points to.

Pure functions of a machine and an incarnation, in Azure's shape, with what the agents read (facts: guest-platform 1.4).
Not offered: Certificates (public keys come as such, so no agent asks), RemoteAccessInfo, FullConfig; and no family of
agent updates and no extensions, so that the agent in the image stays as it is.
"""

from __future__ import annotations

from urllib.parse import quote
from xml.sax.saxutils import escape

from aibemu.fabric.vm import VirtualMachine

WIRE_SERVER = "168.63.129.16"
PREFERRED = "2015-04-05"
# As Azure lists them; `2010-28-10` is Azure's own slip.
SUPPORTED = (
    PREFERRED, "2012-11-30", "2012-09-15", "2012-05-15", "2011-12-31", "2011-10-15", "2011-08-31", "2011-04-07",
    "2010-12-15", "2010-28-10",
)  # fmt: skip
# Where the agent may put its status itself when the host plugin's /status did not take it; the host plugin's port.
STATUS_BLOB = "/aibemu/status"

DECLARATION = '<?xml version="1.0" encoding="utf-8"?>\n'
SERVICE = '<Service name="{instance}" guid="{{00000000-0000-0000-0000-000000000000}}"/>'


def xml(text: str) -> str:
    """Text as it may stand between tags and in attributes, which are in double quotes here."""
    return escape(text, {'"': "&quot;"})


def machine_path(vm: VirtualMachine) -> str:
    """The path of the machine's own documents, decoded."""
    return f"/machine/{vm.container_id}/{vm.role_instance_id}"


def versions() -> str:
    """The protocol versions: agents want theirs (2012-11-30) among the supported ones."""
    supported = "".join(f"<Version>{version}</Version>" for version in SUPPORTED)
    preferred = f"<Preferred><Version>{PREFERRED}</Version></Preferred>"
    return f"{DECLARATION}<Versions>{preferred}<Supported>{supported}</Supported></Versions>\n"


def goal_state(vm: VirtualMachine, incarnation: int) -> str:
    """Who the machine is (container, role instance) and where its configurations are."""
    base = f"http://{WIRE_SERVER}:80{quote(machine_path(vm))}?comp=config"

    def address(kind: str) -> str:
        return xml(f"{base}&type={kind}&incarnation={incarnation}")

    return f"""{DECLARATION}\
<GoalState xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xmlns:xsd="http://www.w3.org/2001/XMLSchema" \
xsi:noNamespaceSchemaLocation="goalstate10.xsd">
  <Version>2012-11-30</Version>
  <Incarnation>{incarnation}</Incarnation>
  <Machine>
    <ExpectedState>Started</ExpectedState>
    <StopRolesDeadlineHint>300000</StopRolesDeadlineHint>
    <LBProbePorts><Port>16001</Port></LBProbePorts>
    <ExpectHealthReport>FALSE</ExpectHealthReport>
  </Machine>
  <Container>
    <ContainerId>{vm.container_id}</ContainerId>
    <RoleInstanceList>
      <RoleInstance>
        <InstanceId>{xml(vm.role_instance_id)}</InstanceId>
        <State>Started</State>
        <Configuration>
          <HostingEnvironmentConfig>{address("hostingEnvironmentConfig")}</HostingEnvironmentConfig>
          <SharedConfig>{address("sharedConfig")}</SharedConfig>
          <ExtensionsConfig>{address("extensionsConfig")}</ExtensionsConfig>
          <ConfigName>{xml(_config_name(vm, incarnation))}</ConfigName>
        </Configuration>
      </RoleInstance>
    </RoleInstanceList>
  </Container>
</GoalState>
"""


def hosting_environment(vm: VirtualMachine, incarnation: int) -> str:
    """Names of machine, role and deployment: the agent's telemetry carries them."""
    deployment, instance, guid = _names(vm)
    return f"""{DECLARATION}\
<HostingEnvironmentConfig version="1.0.0.0" goalStateIncarnation="{incarnation}">
  <StoredCertificates/>
  <Deployment name="{deployment}" guid="{guid}" incarnation="0" isNonCancellableTopologyChangeEnabled="false">
    {SERVICE.format(instance=instance)}
    <ServiceInstance name="{deployment}.0" guid="{guid}"/>
  </Deployment>
  <Incarnation number="1" instance="{instance}" guid="{guid}"/>
  <Role guid="{guid}" name="{instance}" hostingEnvironmentVersion="1" software="" softwareType="ApplicationPackage" \
entryPoint="" parameters="" settleTimeSeconds="0"/>
  <HostingEnvironmentSettings name="full" runtime=""/>
  <ApplicationSettings/>
  <ResourceReferences/>
</HostingEnvironmentConfig>
"""


def shared_config(vm: VirtualMachine, incarnation: int) -> str:
    """The deployment's one instance and its address."""
    deployment, instance, guid = _names(vm)
    return f"""{DECLARATION}\
<SharedConfig version="1.0.0.0" goalStateIncarnation="{incarnation}">
  <Deployment name="{deployment}" guid="{guid}" incarnation="0">
    {SERVICE.format(instance=instance)}
    <ServiceInstance name="{deployment}.0" guid="{guid}"/>
  </Deployment>
  <Incarnation number="1" instance="{instance}" guid="{guid}"/>
  <Role guid="{guid}" name="{instance}" settleTimeSeconds="0"/>
  <Instances>
    <Instance id="{instance}" address="{vm.nic.address}">
      <FaultDomains randomId="0" updateId="0" updateCount="0"/>
    </Instance>
  </Instances>
</SharedConfig>
"""


def extensions_config(_: VirtualMachine, incarnation: int) -> str:
    """No agent updates, no extensions. Without a status blob the agent fetches the whole goal state every 6 s."""
    blob = f"http://{WIRE_SERVER}:32526{STATUS_BLOB}"
    return f"""{DECLARATION}\
<Extensions version="1.0.0.0" goalStateIncarnation="{incarnation}">
  <GuestAgentExtension xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><GAFamilies/></GuestAgentExtension>
  <StatusUploadBlob statusBlobType="BlockBlob">{blob}</StatusUploadBlob>
</Extensions>
"""


def _names(vm: VirtualMachine) -> tuple[str, str, str]:
    """The deployment's id, the instance's name in it (`_<name>`), the container's id in braces; escaped."""
    deployment, _, instance = vm.role_instance_id.partition(".")
    return xml(deployment), xml(instance), f"{{{vm.container_id}}}"


def _config_name(vm: VirtualMachine, incarnation: int) -> str:
    """The agent gives it to the host plugin; what stands before the first dot it takes for the deployment's id."""
    deployment, _, instance = vm.role_instance_id.partition(".")
    return f"{deployment}.0.{deployment}.0.{instance}.{incarnation}.xml"
