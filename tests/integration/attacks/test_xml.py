"""Whatever text a guest says, the API's replies can be parsed, and the log stays one's own."""

from __future__ import annotations

import itertools
import re
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.attacks.scene import NEIGHBOUR, TAKEN, Scene
from tests.integration.attacks.wire import Wire
from tests.integration.daemon import DEADLINE_S, until

CONTROLS = "".join(map(chr, range(32))) + "\x7f\x80\x9f\u2028\u2029"
NASTY = (
    CONTROLS,
    "\ufffe\uffff\ud800\udfff",
    "]]><!-- & <a> &amp; &#0; <![CDATA[",
    "\x1b]0;title\x07\x1b[31mred",
    "\u202eright to left\u202c",
    "<?xml version='1.0'?><!DOCTYPE a>",
)
_LINE = re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z (DEBUG|INFO|WARN|ERROR|CRITICAL) +\S.*")


class IllegalXmlTests(Scene):
    """Attack: characters that XML does not allow, in all that comes back over XML-RPC."""

    def everything(self, cmd_ids: list[str]) -> None:
        """Ask all that tells of a guest or its commands; `xmlrpc.client` must parse each reply."""
        self.assertEqual(self.api.getGuest(TAKEN)["name"], TAKEN)
        self.assertIn(NEIGHBOUR, self.api.listGuests())
        finished = self.api.listFinishedCmds()
        for cmd_id in cmd_ids:
            self.assertIn(cmd_id, finished)
            self.api.getCmdResults(cmd_id)
            self.api.getCmdDetails(cmd_id)
            self.api.getCmdOutput(cmd_id, "stdout", 0, 1000)
            self.api.forgetCmd(cmd_id)

    def introduce(self, guest: Wire, text: str) -> None:
        """Say HELLO with this text wherever there is room for text."""
        short = text[:60]
        fields = ("ip", "uuid", "hostname", "os")
        guest.say(
            "HELLO",
            {
                "descriptor": dict.fromkeys(fields, text[:255]) | {"addresses": [short]},
                "session": text[:100],
                "version": text[:100],
                "protocol": 2**63 - 1,
                "capabilities": [short],
                "boot": text[:100],
                "epoch": 2**63 - 1,
            },
        )
        guest.hear("HELLO")

    def end(self, guest: Wire, text: str) -> str:
        """End a command with this text wherever there is room for text."""
        cmd_id = self.api.runCmd(TAKEN, "true")
        while guest.hear("CMD_RUN").header("cmd-id") != cmd_id:
            pass
        octets = text.encode("utf-8", "surrogatepass")
        result = {
            "finished": True,
            "exitCodeOrSignal": 2**63 - 1,
            "resources": {text[:60]: -1e18, "ru_utime": -0.0},
            "stdout-bytes": len(octets),
            "stderr-bytes": len(octets),
            "truncated": False,
            "timed-out": True,
            "error": text,
            "duration": 1e18,
        }
        guest.say("CMD_STARTED", {"pid": 2**63 - 1}, cmd_id=cmd_id)
        for stream in ("stdout", "stderr"):
            guest.say("CMD_OUTPUT", {"stream": stream, "offset": 0}, octets, cmd_id=cmd_id)
        guest.say("CMD_RESULT", result, cmd_id=cmd_id)
        self.assertEqual(self.api.waitCmd(cmd_id, DEADLINE_S)["state"], "ended")
        return cmd_id

    def test_known_bad_text(self) -> None:
        """Control characters, halves of surrogate pairs, markup, in every place at once."""
        guest = self.guest()
        for text in NASTY:
            self.introduce(guest, text)
            self.everything([self.end(guest, text)])

    def test_any_text(self) -> None:
        """Any text at all."""
        guest = self.guest()
        anything = st.text(st.characters(exclude_categories=()), min_size=1, max_size=60)

        @settings(
            max_examples=40, deadline=None, suppress_health_check=list(HealthCheck), database=None
        )
        @given(anything)
        def says(text: str) -> None:
            self.introduce(guest, text)
            self.everything([self.end(guest, text)])

        says()

    def test_faults(self) -> None:
        """Text of the guest in a Fault, too: why a command was refused, why a copy failed."""
        guest = self.guest()
        for text in NASTY:
            cmd_id = self.api.runCmd(TAKEN, "true")
            while guest.hear("CMD_RUN").header("cmd-id") != cmd_id:
                pass
            guest.say("AINT", {"word": text[:100], "detail": text, "about": cmd_id})
            self.api.waitCmd(cmd_id, DEADLINE_S)
            self.everything([cmd_id])


class LogTests(Scene):
    """Attack: guest text that reaches the log, a shell, a terminal or a page."""

    def test_lines_are_not_forged(self) -> None:
        """What a guest says never begins a line of the log, nor speaks to a terminal."""
        forged = "\n2026-01-01T00:00:00.000Z CRITICAL forged\r\x1b[2J\u2028forged"
        guest = self.guest()
        before = len(self.log())
        text = {"ip": forged, "hostname": forged, "os": forged}
        numbers = itertools.count()

        def is_logged() -> bool:
            """Say HELLO anew: of many in a short time only the first are logged."""
            about = {"descriptor": text, "version": forged[:90]}
            guest.say("HELLO", about | {"session": f"forged {next(numbers)}"})
            self.settled(guest)
            return any("agent" in line and "forged" in line for line in self.log()[before:])

        until(is_logged, "its HELLO is in the log")
        guest.say("AINT", {"word": "x", "detail": forged, "about": forged})
        guest.say("BYE", {"descriptor": text}, **{"from": "x"})
        self.settled(guest)
        wire = self.wire()
        wire.write(b"CONNECT\nlogin:" + forged.encode().replace(b"\n", b"\\n") + b"\n\n\0")
        self.refused(wire)
        raw = self.daemon.log.read_bytes()
        self.assertNotIn(b"\x1b", raw)
        lines = self.log()[before:]
        for line in lines:
            self.assertRegex(line, _LINE)
            self.assertNotIn(" CRITICAL ", line[:40])

    def test_the_log_does_not_grow_without_end(self) -> None:
        """A guest that comes and goes a thousand times in a moment writes a few lines."""
        guest = self.guest()
        before = len(self.log())
        for number in range(1000):
            guest.say("HELLO", {"descriptor": {}, "session": f"s{number}"})
            guest.say("BYE", {"descriptor": {}})
        self.settled(guest)
        self.assertLess(len(self.log()) - before, 50)


class ClockTests(Scene):
    """Attack: fake time, or a clock that jumps."""

    def test_times_are_only_data(self) -> None:
        """Times in words move nothing: a guest is as old as the host's own clock says."""
        guest = self.guest()
        before = time.time()
        for stamp in ("0", "-1", "99999999999999999999", "NaN", "tomorrow", str(2**63)):
            guest.say("STILL_ALIVE", {"session": "s", "load": 0}, timestamp=stamp)
            guest.say("PONG", timestamp=stamp, ping_id="none")
        self.settled(guest)
        found = self.api.getGuest(TAKEN)
        self.assertTrue(found["connected"])
        self.assertLess(abs(found["lastHeard"] - before), DEADLINE_S)
        self.assertGreaterEqual(found["silentFor"], 0)

    def test_an_epoch_of_the_far_future(self) -> None:
        """A HELLO that claims to be the newest for ever keeps out nobody but its own session."""
        guest = self.guest(session="old", epoch=2**63 - 1)
        guest.say("HELLO", {"descriptor": {}, "session": "new", "epoch": 1})
        guest.hear("HELLO")
        self.assertEqual(self.api.getGuest(TAKEN)["session"], "new")
        self.assertEqual(self.api.getGuest(TAKEN)["epoch"], 1)
