"""What every communicator promises, as tests. Subclass it in a test module and say how to reach a real server:

    class TestMine(CommunicatorContract):
        def new_connector(self) -> Connector: ...
        def new_access(self, scratch: Path) -> Iterator[Access]: ...    # a generator: the server runs until its end
        def command(self, what: str, text: str = "") -> str: ...        # in the guest's own language

`what` is one of: say (print the text), complain (the same on standard error), fail (end with that exit code), echo
(print standard input), hang (never end). Needs pytest.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from aibemu.clock import CancelToken, Deadline, SystemClock
from aibemu.communicators import Access, Communicator, Stream, UploadFailed
from aibemu.communicators.factory import Connector, Watch
from aibemu.errors import BuildCancelled, Expired, ProvisionFailed

# Characters of more than one byte, and bytes that are no text.
TEXT = "gr\u00fc\u00df dich, \U0001f600"
BYTES = bytes(range(256)) * 300


def soon(seconds: float = 30.0, cancel: CancelToken | None = None) -> Deadline:
    """A bound for what takes a moment."""
    return Deadline(clock=SystemClock(), cancel=CancelToken() if cancel is None else cancel).within(seconds)


class CommunicatorContract:
    """The suite. `scratch` is a fresh folder of this host; `place` a path in the guest that may be written."""

    def new_connector(self) -> Connector:
        """The entry point of `aibemu.communicators`."""
        raise NotImplementedError

    def new_access(self, scratch: Path) -> Iterator[Access]:
        """Yield how to get into a server that runs."""
        raise NotImplementedError

    def command(self, what: str, text: str = "") -> str:
        """See above."""
        raise NotImplementedError

    def wrong(self, access: Access, scratch: Path) -> Access:
        """The same with credentials that the server does not know."""
        raise NotImplementedError

    def place(self, scratch: Path, name: str) -> str:
        """A path in the guest."""
        return str(scratch / name)

    @pytest.fixture
    def scratch(self, tmp_path: Path) -> Path:
        return tmp_path

    @pytest.fixture
    def connector(self) -> Connector:
        return self.new_connector()

    @pytest.fixture
    def access(self, scratch: Path) -> Iterator[Access]:
        yield from self.new_access(scratch)

    @pytest.fixture
    def guest(self, connector: Connector, access: Access) -> Iterator[Communicator]:
        made = connector.connect(access, deadline=soon(), watch=Watch())
        yield made
        made.close()

    # Getting in

    def test_its_server_is_waited_for_without_logging_in(self, connector: Connector, access: Access) -> None:
        connector.warm_up()
        connector.warm_up()
        stranger = replace(access, credentials=replace(access.credentials, user="nobody-at-all"))
        connector.await_server(stranger, deadline=soon(), alive=lambda: None)

    def test_no_server_is_said_at_the_end_of_the_time(self, connector: Connector, access: Access) -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            nowhere = replace(access, port=unused.getsockname()[1])
        with pytest.raises(Expired):
            connector.connect(nowhere, deadline=soon(0.6), watch=Watch())
        with pytest.raises(Expired):
            connector.await_server(nowhere, deadline=soon(0.6), alive=lambda: None)

    def test_a_dead_machine_ends_the_wait(self, connector: Connector, access: Access) -> None:
        def dead() -> None:
            raise ProvisionFailed("the machine is off")

        with socket.create_server(("127.0.0.1", 0)) as unused:
            nowhere = replace(access, port=unused.getsockname()[1])
        with pytest.raises(ProvisionFailed, match="the machine is off"):
            connector.connect(nowhere, deadline=soon(), watch=Watch(alive=dead))

    def test_who_is_refused_is_told_so(self, connector: Connector, access: Access, scratch: Path) -> None:
        with pytest.raises(Expired, match="refused the login"):
            connector.connect(self.wrong(access, scratch), deadline=soon(3), watch=Watch())

    def test_what_a_person_types_names_the_user_and_the_place(
        self, connector: Connector, access: Access, guest: Communicator
    ) -> None:
        assert access.credentials.user in guest.describe() and str(access.port) in guest.describe()
        assert connector.describe(access) == guest.describe()
        assert len(connector.title) > 0 and 0 < connector.port < 65536

    def test_another_process_gets_in_with_what_the_record_says(self, connector: Connector, access: Access) -> None:
        text = json.dumps(access.as_json())
        if access.credentials.password_file:
            assert access.credentials.password() not in text
        other = connector.connect(Access.from_json(json.loads(text)), deadline=soon(), watch=Watch())
        assert other.run(self.command("say", "x"), deadline=soon()).ok
        other.close()

    # Commands

    def test_lines_come_from_their_streams(self, guest: Communicator) -> None:
        heard: list[tuple[Stream, str]] = []
        for what in ("say", "complain"):
            status = guest.run(
                self.command(what, TEXT), deadline=soon(), on_line=lambda stream, line: heard.append((stream, line))
            )
            assert status.ok and not status.disconnected
        assert heard == [(Stream.STDOUT, TEXT), (Stream.STDERR, TEXT)]

    @pytest.mark.parametrize("code", [1, 7, 100])
    def test_an_exit_code_is_a_result(self, guest: Communicator, code: int) -> None:
        assert guest.run(self.command("fail", str(code)), deadline=soon()).code == code
        assert guest.run(self.command("say", "next"), deadline=soon()).ok

    def test_standard_input_has_an_end(self, guest: Communicator) -> None:
        assert guest.output(self.command("echo"), deadline=soon())[1] == ""
        lines: list[str] = []
        guest.run(self.command("echo"), deadline=soon(), stdin=b"a\nb", on_line=lambda _, line: lines.append(line))
        assert lines == ["a", "b"]

    def test_bytes_pass_as_they_are(self, guest: Communicator) -> None:
        heard = bytearray()
        pieces = [BYTES[:1000], BYTES[1000:]]
        status = guest.exchange(
            self.command("echo"), stdin=iter(pieces), sink=lambda _, data: heard.extend(data), deadline=soon()
        )  # fmt: skip
        assert status.ok and bytes(heard) == BYTES

    def test_output_is_what_standard_output_said(self, guest: Communicator) -> None:
        status, text = guest.output(self.command("say", TEXT), deadline=soon())
        assert status.ok and text.splitlines() == [TEXT]
        assert guest.output(self.command("complain", TEXT), deadline=soon())[1] == ""

    # Files

    def test_a_file_goes_there_and_back(self, guest: Communicator, scratch: Path) -> None:
        source, back = scratch / "source", scratch / "back"
        source.write_bytes(BYTES)
        for number, put in enumerate((guest.upload, guest.write)):
            place = self.place(scratch, f"there {number}")
            put(source if number == 0 else BYTES, place, deadline=soon())  # type: ignore[operator]
            guest.download(place, back, deadline=soon())
            assert back.read_bytes() == BYTES

    def test_what_is_not_there_cannot_be_fetched(self, guest: Communicator, scratch: Path) -> None:
        with pytest.raises(FileNotFoundError):
            guest.download(self.place(scratch, "nothing"), scratch / "back", deadline=soon())
        assert not (scratch / "back").exists()

    # Its end

    def test_one_that_is_closed_answers_nothing_until_it_is_connected_again(
        self, guest: Communicator, scratch: Path
    ) -> None:
        guest.close()
        guest.close()
        assert guest.run(self.command("say", "x"), deadline=soon()).disconnected
        with pytest.raises(UploadFailed) as lost:
            guest.write(b"x", self.place(scratch, "x"), deadline=soon())
        assert lost.value.disconnected
        guest.reconnect(soon())
        assert guest.run(self.command("say", "x"), deadline=soon()).ok

    def test_a_cancel_ends_a_command_that_would_go_on(self, guest: Communicator) -> None:
        cancel = CancelToken()
        timer = threading.Timer(0.3, cancel.cancel, ["enough"])
        timer.start()
        with pytest.raises(BuildCancelled, match="enough"):
            guest.run(self.command("hang"), deadline=soon(cancel=cancel))
        timer.join()

    def test_the_end_of_the_time_ends_it_too(self, guest: Communicator) -> None:
        with pytest.raises(Expired):
            guest.run(self.command("hang"), deadline=soon(0.3))
