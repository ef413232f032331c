"""Who speaks is who has logged in, whatever it says of itself."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.scene import NEIGHBOUR, TAKEN, Scene, credential, port_of
from tests.integration.attacks.wire import Wire, connect, frame
from tests.integration.daemon import DEADLINE_S, Daemon, until

GATED = "while ! [ -e go ]; do sleep 0.05; done; rm go; echo true"


class SpeakAsAnotherTests(Scene):
    """Attack: speak as another guest."""

    def test_the_header_from(self) -> None:
        """Output, result and refusal of another's command count for nothing, whoever `from` is."""
        cmd_id = self.api.runCmd(NEIGHBOUR, "sh", ["-c", GATED])
        thief = self.guest()
        result = {
            "finished": True,
            "exitCodeOrSignal": 7,
            "resources": {},
            "stdout-bytes": 5,
            "stderr-bytes": 0,
            "truncated": False,
            "timed-out": False,
        }
        for sender in (self.neighbours_id, "VMController-Host", ""):
            about = {"cmd_id": cmd_id, "from": sender}
            thief.say("CMD_OUTPUT", {"stream": "stdout", "offset": 0}, b"false", **about)
            thief.say("CMD_RESULT", result, **about)
            thief.say("AINT", {"word": "CMD_RUN", "detail": "no", "about": cmd_id}, **about)
        self.settled(thief)
        self.daemon.run(NEIGHBOUR, "touch", "go")
        ended = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((ended["out"], ended["exitCodeOrSignal"]), ("true\n", 0))

    def test_the_words_of_presence(self) -> None:
        """Its HELLO and BYE are its own, whatever descriptor and headers they carry."""
        guest = self.guest(descriptor={"id": self.neighbours_id, "hostname": "thief"})
        self.assertEqual(self.api.getGuest(TAKEN)["hostname"], "thief")
        self.assertNotEqual(self.api.getGuest(NEIGHBOUR)["hostname"], "thief")
        guest.say("BYE", {"descriptor": {"id": self.neighbours_id}}, **{"from": self.neighbours_id})
        self.settled(guest)
        self.assertFalse(self.api.getGuest(TAKEN)["connected"])
        self.assertTrue(self.api.getGuest(NEIGHBOUR)["connected"])

    def test_anothers_login(self) -> None:
        """The passcode of one VM opens no other, nor the host's own place."""
        _, passcode = credential(self.daemon, TAKEN)
        neighbour = self.api.getGuest(NEIGHBOUR)
        for login in (
            neighbour["uuid"],
            neighbour["uuid"].upper(),
            self.neighbours_id,
            NEIGHBOUR,
            "VMController-Host",
            "host",
            "",
        ):
            wire = self.wire()
            wire.write(connect(login, passcode))
            self.refused(wire, "is refused")

    def test_forged_passcodes(self) -> None:
        """Of a credential every part counts: generation, digest, length, case."""
        login, passcode = credential(self.daemon, TAKEN)
        generation, _, digest = passcode.partition("-")
        flipped = f"{int(digest[0], 16) ^ 1:x}{digest[1:]}"
        for forged in (
            "",
            digest,
            f"{generation}-",
            f"{generation}-{flipped}",
            f"{generation}-{digest[:-1]}",
            f"{generation}-{digest}0",
            f"{generation}-{digest.upper()}",
            f"0{generation}-{digest}",
            f"{int(generation) + 1}-{digest}",
            f"0-{digest}",
            f"-1-{digest}",
            f"999999999-{digest}",
            f" {passcode}",
            f"{passcode} ",
        ):
            wire = self.wire()
            wire.write(connect(login, forged))
            self.refused(wire, "is refused")

    def test_two_logins_in_one_connect(self) -> None:
        """Of a header that is said twice the first counts, for login and passcode alike."""
        login, passcode = credential(self.daemon, TAKEN)
        other = self.api.getGuest(NEIGHBOUR)["uuid"]
        headers = [("accept-version", "1.2"), ("login", login), ("passcode", passcode)]
        wire = self.wire()
        wire.write(frame("CONNECT", [*headers, ("login", other), ("guest-id", self.neighbours_id)]))
        self.assertEqual(wire.frame().header("guest-id"), self.own_id)
        wire = self.wire()
        wire.write(frame("CONNECT", [("login", other), *headers]))
        self.refused(wire, "is refused")

    def test_two_live_sessions(self) -> None:
        """The older of two sessions is told and closed, and the log has both addresses."""
        older = self.logged_in()
        newer = self.logged_in()
        self.refused(older, f"another connection of {self.own_id}")
        newer.subscribe("/topic/vmcontroller_requests")
        self.assertEqual(newer.frame().command, "RECEIPT")
        old_port = older.socket.getsockname()[1]
        lines = [line for line in self.log() if f"guest {self.own_id} has connected again" in line]
        self.assertIn(f"127.0.0.1:{old_port} is closed", lines[-1])
        self.assertIn(f"127.0.0.1:{newer.socket.getsockname()[1]}", lines[-1])

    def test_connecting_twice_on_one_connection(self) -> None:
        """A second CONNECT, as somebody else, ends the connection."""
        wire = self.logged_in()
        wire.write(connect(*credential(self.daemon, NEIGHBOUR)))
        self.refused(wire, "not supported by this broker in a session")


class CredentialInTimeTests(SynchronousTestCase):
    """Attack: speak as another guest, with what was good once or will be."""

    def setUp(self) -> None:
        self.daemon = Daemon("local").start()
        self.addCleanup(self.daemon.stop)
        self.daemon.api.createVM("vmctest", "")

    def log_in(self, login: str, passcode: str) -> str:
        with Wire(port_of(self.daemon, "vmctest")) as wire:
            return wire.log_in(login, passcode).command

    def test_off_and_replaced(self) -> None:
        """A VM that is off has no guest; a credential of an earlier generation is none."""
        api = self.daemon.api
        api.start("vmctest")
        api.ping("vmctest", DEADLINE_S)
        first = credential(self.daemon, "vmctest")
        api.powerOff("vmctest")
        self.assertEqual(self.log_in(*first), "ERROR")
        self.assertFalse(api.getGuest("vmctest")["connected"])

        self.daemon.terminate()
        stored = self.daemon.dir / "state" / "credentials.json"
        records = json.loads(stored.read_text())
        records[first[0]]["generation"] = 2
        stored.write_text(json.dumps(records))
        self.daemon.start()
        self.daemon.api.start("vmctest")
        self.daemon.api.ping("vmctest", DEADLINE_S)
        second = credential(self.daemon, "vmctest")
        self.assertNotEqual(first, second)
        self.assertEqual(self.log_in(*first), "ERROR")
        third = (first[0], f"3-{second[1].partition('-')[2]}")
        self.assertEqual(self.log_in(*third), "ERROR")
        until(lambda: self.daemon.api.getGuest("vmctest")["connected"], "its own agent is there")
