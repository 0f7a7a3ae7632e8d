"""WinRM clients that others wrote, each with the same few verbs, to judge the server of fixtures/guests/winrm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast

from fixtures.guests.winrm import Certificate

if TYPE_CHECKING:
    from pypsrp.shell import WinRS

USER = "packer"
# What it holds has tripped programs up; no colon, which the file of pyspnego's accounts cannot have.
PASSWORD = 'it\'s a $ecret, "5" & ö'


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a command gave."""

    stdout: bytes
    stderr: bytes
    exit_code: int


class Client(Protocol):
    """One client with one shell."""

    def open(self, *, environment: Mapping[str, str] | None = None, directory: str | None = None,
             code_page: int | None = None) -> None:  # fmt: skip
        """Create the shell."""
        ...

    def run(self, command: str, *arguments: str, stdin: bytes | None = None) -> Result:
        """Run a command to its end."""
        ...

    def close(self) -> None:
        """Delete the shell."""
        ...


@dataclass(frozen=True, slots=True)
class Party:
    """A client and how it logs in. As a string: the name of the test."""

    library: Literal["pywinrm", "pypsrp"]
    login: Literal["basic", "ntlm", "negotiate"]
    scheme: Literal["https", "http"]

    def __str__(self) -> str:
        return f"{self.library}-{self.login}-{self.scheme}"

    def client(
        self, port: int, certificate: Certificate | None, *, password: str = PASSWORD, timeout: int = 20
    ) -> Client:
        """A client of the server at this port. timeout: seconds of OperationTimeout."""
        made: Client
        if self.library == "pywinrm":
            made = _Pywinrm(self, port, certificate, password, timeout)
        else:
            made = _Pypsrp(self, port, certificate, password, timeout)
        return made


# Each login that AIB's images may want; on plain HTTP the messages are encrypted.
PARTIES = [
    Party("pywinrm", "basic", "https"), Party("pywinrm", "ntlm", "https"), Party("pywinrm", "ntlm", "http"),
    Party("pypsrp", "basic", "https"), Party("pypsrp", "ntlm", "https"), Party("pypsrp", "ntlm", "http"),
    Party("pypsrp", "negotiate", "http"),
]  # fmt: skip


class _Pywinrm:
    def __init__(self, party: Party, port: int, certificate: Certificate | None, password: str, timeout: int) -> None:
        from winrm.protocol import Protocol

        assert party.login != "negotiate"
        # The certificate is verified; `ca_trust_path` keeps the environment's REQUESTS_CA_BUNDLE out.
        self._protocol = Protocol(
            f"{party.scheme}://127.0.0.1:{port}/wsman", transport=party.login, username=USER, password=password,
            ca_trust_path=cast(str, certificate and str(certificate.certificate)), proxy=None,
            message_encryption="auto" if certificate else "always",
            operation_timeout_sec=timeout, read_timeout_sec=timeout + 10,
        )  # fmt: skip
        self._shell = ""

    def open(self, *, environment: Mapping[str, str] | None = None, directory: str | None = None,
             code_page: int | None = None) -> None:  # fmt: skip
        self._shell = self._protocol.open_shell(
            env_vars=dict(environment) if environment else None, working_directory=directory, codepage=code_page or 437
        )

    def run(self, command: str, *arguments: str, stdin: bytes | None = None) -> Result:
        running = self._protocol.run_command(self._shell, command, arguments)
        if stdin is not None:
            self._protocol.send_command_input(self._shell, running, stdin, end=True)
        stdout, stderr, exit_code = self._protocol.get_command_output(self._shell, running)
        self._protocol.cleanup_command(self._shell, running)
        return Result(stdout=stdout, stderr=stderr, exit_code=exit_code)

    def close(self) -> None:
        self._protocol.close_shell(self._shell)


class _Pypsrp:
    def __init__(self, party: Party, port: int, certificate: Certificate | None, password: str, timeout: int) -> None:
        from pypsrp.wsman import WSMan

        self._wsman = WSMan(
            "127.0.0.1", port=port, username=USER, password=password, ssl=certificate is not None, auth=party.login,
            cert_validation=cast(bool, str(certificate.certificate)) if certificate else True, no_proxy=True,
            operation_timeout=timeout, read_timeout=timeout + 10,
        )  # fmt: skip
        self._shell: WinRS | None = None

    def open(self, *, environment: Mapping[str, str] | None = None, directory: str | None = None,
             code_page: int | None = None) -> None:  # fmt: skip
        from pypsrp.shell import WinRS

        self._shell = WinRS(
            self._wsman, environment=dict(environment) if environment else None, working_directory=directory,
            codepage=code_page,
        )  # fmt: skip
        self._shell.open()

    def run(self, command: str, *arguments: str, stdin: bytes | None = None) -> Result:
        from pypsrp.shell import Process, SignalCode

        assert self._shell is not None
        process = Process(self._shell, command, list(arguments))
        process.begin_invoke()
        if stdin is not None:
            process.send(stdin)
        process.end_invoke()
        process.signal(SignalCode.CTRL_C)
        assert process.rc is not None
        return Result(stdout=process.stdout, stderr=process.stderr, exit_code=process.rc)

    def close(self) -> None:
        assert self._shell is not None
        self._shell.close()
