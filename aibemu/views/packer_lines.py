"""The two shapes of a line in the service's logs (facts: service 4.1; provisioners 4.2 to 4.4).

B:  `[guid] PACKER 2025/03/18 20:42:48 ui:     azure-arm: text`      A:  `[guid] PACKER OUT     azure-arm: text`
"""

from __future__ import annotations

from collections.abc import Callable

BUILD = "azure-arm"
PLUGIN_PATH = "/aib/packerInput/packer-plugin-azure"


class Stamper:
    """Writes lines in one shape; `at` sets the time that the next ones carry."""

    def __init__(self, write: Callable[[str], object], log_id: str, shape: str) -> None:
        if shape not in ("A", "B"):
            raise ValueError(f"no log format {shape!r}")
        self._write = write
        self._prefix = f"[{log_id}] PACKER"
        self._old = shape == "A"
        self._stamp = ""

    def at(self, when: str) -> None:
        """when: an event's time, `2026-11-23T10:00:00.123456Z`."""
        self._stamp = when[:19].replace("-", "/").replace("T", " ")

    def say(self, text: str) -> None:
        """What Packer itself says about the build."""
        self._ui(f"==> {BUILD}: {text}".rstrip())

    def message(self, text: str) -> None:
        """A line of the guest's standard output."""
        self._ui(f"    {BUILD}: {text}".rstrip())

    def error(self, text: str) -> None:
        """A line of the guest's standard error, or an error of the build."""
        self.tell_error(f"==> {BUILD}: {text}".rstrip())

    def tell(self, text: str) -> None:
        """What Packer says without naming the build."""
        self._ui(text)

    def tell_error(self, text: str) -> None:
        """The same for errors; shape A has them on both streams."""
        if self._old:
            self.bare(text)
        self.log(f"ui error: {text}")

    def log(self, text: str) -> None:
        """A line of Packer's own log."""
        self._line("ERR" if self._old else "", f"{self._stamp} {text}")

    def plugin(self, text: str) -> None:
        """A line of a plugin's log, which carries the time twice."""
        name = "packer" if self._old else "packer-plugin-azure plugin"
        self.log(f"{name}: {self._stamp} {text}")

    def bare(self, text: str) -> None:
        """A line without time: standard output in shape A, the rest of a message of several lines in shape B."""
        self._line("OUT" if self._old else "", text)

    def end(self) -> None:
        """The last lines of the file."""
        if self._old:
            self._write(f"Done exporting Packer logs to Azure for Packer prefix: {self._prefix} OUT\n")
        else:
            self.log(f"{PLUGIN_PATH}: plugin process exited")
            self.bare("Done exporting Packer logs to Azure Storage.")

    def _ui(self, text: str) -> None:
        if self._old:
            self.bare(text)
        else:
            self.log(f"ui: {text}")

    def _line(self, stream: str, text: str) -> None:
        head = f"{self._prefix} {stream}" if stream else self._prefix
        self._write(f"{head} {text}\n")
