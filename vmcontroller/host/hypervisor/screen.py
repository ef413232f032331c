"""A machine's screen and serial console, in the words of the interface. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Display:
    """How a machine's screen can be reached."""

    kind: str = "none"
    """`vnc`, `spice`, `vrde` or `none`."""
    host: str = ""
    port: int = 0
    """Of `host`; 0: by TCP it cannot be reached now."""
    socket: str = ""
    """A Unix socket of the hypervisor's host; empty: none, or the machine is off."""
    password: str = field(default="", repr=False)
    tls: bool = False
    open: bool = False
    """Whoever reaches `host` over the network sees the screen: it asks for no password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePiece:
    """Some bytes of what a machine wrote to its console; all offsets count from the first ever."""

    data: bytes
    offset: int
    """Of the first byte of `data`."""
    begins: int
    """The first byte that is still kept."""

    @property
    def next(self) -> int:
        """The offset after `data`."""
        return self.offset + len(self.data)
