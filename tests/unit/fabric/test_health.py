"""Health reports of each agent, and of a guest that sends anything at all."""

from __future__ import annotations

import json
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibemu.fabric.health import (
    LONGEST_DESCRIPTION,
    LONGEST_REPORT,
    Client,
    HealthReport,
    client_of,
    parse_json,
    parse_xml,
)

# As cloud-init and waagent write it.
DOCUMENT = """<?xml version="1.0" encoding="utf-8"?>
<Health xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
 xmlns:xsd="http://www.w3.org/2001/XMLSchema">
  <GoalStateIncarnation>1</GoalStateIncarnation>
  <Container>
    <ContainerId>c</ContainerId>
    <RoleInstanceList>
      <Role>
        <InstanceId>i</InstanceId>
        <Health>
          <State>{state}</State>
          {details}
        </Health>
      </Role>
    </RoleInstanceList>
  </Container>
</Health>
"""
DETAILS = "<Details><SubStatus>{substatus}</SubStatus><Description>{description}</Description></Details>"


def document(state: str, substatus: str = "", description: str = "") -> bytes:
    details = DETAILS.format(substatus=substatus, description=escape(description)) if substatus else ""
    return DOCUMENT.format(state=state, details=details).encode()


def described(description: str) -> HealthReport:
    return HealthReport(state="NotReady", substatus="ProvisioningFailed", description=description)


def test_ready() -> None:
    report = parse_xml(document("Ready"), Client.CLOUD_INIT)
    assert report == HealthReport(state="Ready", by=Client.CLOUD_INIT)
    assert report.ready
    assert not report.failed


def test_waagent_beginning_its_own_provisioning_is_no_failure() -> None:
    report = parse_xml(document("NotReady", "Provisioning", "Starting"), Client.WAAGENT)
    assert (report.substatus, report.description, report.by) == ("Provisioning", "Starting", Client.WAAGENT)
    assert not report.ready
    assert not report.failed


def test_only_provisioning_failed_is_a_failure() -> None:
    report = parse_xml(document("NotReady", "ProvisioningFailed", "no <key> & no 'user'"))
    assert report.failed
    assert not report.ready
    assert report.description == report.message == "no <key> & no 'user'"
    assert not HealthReport(state="Ready", substatus="ProvisioningFailed").failed


def test_azure_init() -> None:
    assert parse_json(b'{"state":"Ready"}', Client.AZURE_INIT) == HealthReport(state="Ready", by=Client.AZURE_INIT)
    going = parse_json(b'{"state":"NotReady","details":{"subStatus":"Provisioning","description":"still"}}')
    assert (going.ready, going.failed, going.description) == (False, False, "still")
    failed = parse_json(b'{"state":"NotReady","details":{"subStatus":"ProvisioningFailed","description":"x"}}')
    assert failed.failed


@pytest.mark.parametrize(
    ("user_agent", "client"),
    [
        ("Cloud-Init/26.1-0ubuntu1", Client.CLOUD_INIT),
        ("WALinuxAgent/2.15.0.1", Client.WAAGENT),
        ("azure-init v0.1.1", Client.AZURE_INIT),
        ("Mozilla/5.0 (Windows NT; Windows NT 10.0; en-US) WindowsPowerShell/5.1", Client.OTHER),
        ("", Client.OTHER),
    ],
)
def test_who_reports(user_agent: str, client: Client) -> None:
    assert client_of(user_agent) is client


# Of cloud-init 25.1.4, cloudinit.sources.azure.errors: ReportableErrorImdsUrlError and others, as encoded there.
CIRCUMSTANCES = (
    "vm_id=2f6c1a52-9d1f-4d4b-8a55-2f0c5f6d7e80|timestamp=2026-01-02T03:04:05.678901+00:00"
    "|documentation_url=https://aka.ms/linuxprovisioningerror"
)


@pytest.mark.parametrize(
    ("description", "message"),
    [
        (
            f"result=error|reason=failure to find DHCP interface|agent=Cloud-Init/25.1.4|duration=3.5|{CIRCUMSTANCES}",
            "failure to find DHCP interface (duration: 3.5)",
        ),
        (
            "result=error|reason=http error 500 querying IMDS|agent=Cloud-Init/25.1.4|http_code=500|duration=1"
            f"|'exception=UrlError(''a|b=c'')'|url=http://169.254.169.254/metadata|pps_type=None|{CIRCUMSTANCES}",
            "http error 500 querying IMDS (http_code: 500, duration: 1, exception: UrlError('a|b=c'), "
            "url: http://169.254.169.254/metadata)",
        ),
        (
            "result=error|reason=unhandled exception|agent=Cloud-Init/25.1.4|'exception=KeyError(''a\nb'')'"
            "|traceback_base64=VHJhY2ViYWNr",
            "unhandled exception (exception: KeyError('a\nb'))",
        ),
        # cut after 512 characters, in a quoted field
        (
            "result=error|reason=unexpected error querying IMDS|agent=Cloud-Init/25.1.4|'exception=UrlError(''Conn",
            "unexpected error querying IMDS (exception: UrlError('Conn)",
        ),
        (f"result=error|reason=error waiting for host|agent=x|{CIRCUMSTANCES}", "error waiting for host"),
        # azure-init quotes by "
        (
            'result=error|reason=unhandled error|agent=Azure-Init/0.1.1|"error=it\'s ""a|b"""|pps_type=None|vm_id=1',
            'unhandled error (error: it\'s "a|b")',
        ),
        # the old form, and what only looks like the new one
        (
            "The VM encountered an error during deployment. Please visit https://aka.ms/linuxprovisioningerror",
            "The VM encountered an error during deployment. Please visit https://aka.ms/linuxprovisioningerror",
        ),
        ("reason=a|b", "reason=a|b"),
        ("result=error|agent=x", "result=error|agent=x"),
        ("result=error\n|reason=x", "result=error\n|reason=x"),
        ("", ""),
    ],
)
def test_message_for_a_reader(description: str, message: str) -> None:
    assert described(description).message == message


def test_description_is_stripped_cut_and_fit_for_a_terminal() -> None:
    assert parse_xml(document("NotReady", "ProvisioningFailed", " \n a\tb\n ")).description == "a\tb"
    assert parse_xml(document("NotReady", "ProvisioningFailed", "a\x1b[31mb&#x85;")).description == "a [31mb&#x85;"
    assert parse_xml(document("&#x85;Not&#x9b;Ready")).state == "Not Ready"
    long = parse_xml(document("NotReady", "ProvisioningFailed", "é" * 5000)).description
    assert long == "é" * (LONGEST_DESCRIPTION // 2)
    details = {"subStatus": "ProvisioningFailed", "description": "a\x1b[31mb\ud800c\u0085d"}
    body = json.dumps({"state": "NotReady", "details": details}).encode()
    assert parse_json(body).description == "a [31mb c d"


def test_only_the_first_role_counts() -> None:
    role = "<Role><Health><State>{}</State></Health></Role>"
    roles = f"{role.format('NotReady')}{role.format('Ready')}"
    body = f"<Health><Container><RoleInstanceList>{roles}</RoleInstanceList></Container></Health>"
    assert parse_xml(body.encode()).state == "NotReady"


def test_entities_are_refused() -> None:
    body = document("&a;").replace(b"<Health xmlns", b'<!DOCTYPE x [<!ENTITY a "Ready">]><Health xmlns', 1)
    with pytest.raises(ValueError, match="document type"):
        parse_xml(body)


def test_byte_order_mark_is_taken() -> None:
    assert parse_xml(b"\xef\xbb\xbf" + document("Ready")).ready


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not XML"),
        (b"<Health>", "not XML"),
        (b"<Health/>", "without a state"),
        (b"<State>Ready</State>", "without a state"),
        (document(" "), "without a state"),
        (document("Ready").decode().encode("utf-16"), "utf-8"),
        (b"<a>" * 33 + b"</a>" * 33, "nested too deeply"),
        (b" " * (LONGEST_REPORT + 1), "bytes"),
    ],
)
def test_what_is_no_xml_report_is_an_error(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_xml(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "it is empty"),
        (b"[]", "without a state"),
        (b"{}", "without a state"),
        (b'{"state": 1}', "without a state"),
        (b"[" * 60000, "nested too deeply"),
        (b" " * (LONGEST_REPORT + 1), "bytes"),
    ],
)
def test_what_is_no_json_report_is_an_error(body: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_json(body)


def test_json_details_of_other_kinds_are_left_out() -> None:
    assert parse_json(b'{"state":"NotReady","details":[1]}') == HealthReport(state="NotReady")
    assert parse_json(b'{"state":"NotReady","details":{"subStatus":1}}') == HealthReport(state="NotReady")


@given(st.binary() | st.text().map(str.encode) | st.text().map(lambda text: document("NotReady", "x", text)))
def test_any_bytes_give_a_report_or_a_value_error(body: bytes) -> None:
    for parse in (parse_xml, parse_json):
        try:
            report = parse(body)
        except ValueError:
            continue
        assert report.state
        assert len(report.description.encode()) <= LONGEST_DESCRIPTION


@given(st.text() | st.text(alphabet="|='\"\nab").map(lambda text: f"result=error|reason=x|{text}"))
def test_any_description_gives_a_message(description: str) -> None:
    assert isinstance(described(description).message, str)
