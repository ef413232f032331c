"""The second connection between real processes: opened for a copy, stolen in the middle, closed."""

from __future__ import annotations

import os
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.scene import credential, port_of
from tests.integration.attacks.wire import Wire, connect
from tests.integration.daemon import Daemon, until

VM = "vmctest"
MIB = 1 << 20


class SecondConnectionTests(SynchronousTestCase):
    """A daemon and an agent; the broker's own count says how they are connected."""

    def setUp(self) -> None:
        self.daemon = Daemon("local").start()
        self.addCleanup(self.daemon.stop)
        self.daemon.api.createVM(VM, "")
        self.daemon.api.start(VM)
        self.daemon.api.ping(VM, 60)

    def roles(self) -> dict[str, int]:
        """Return how many connections of each kind the broker has."""
        return self.daemon.api.getBrokerStats()["roles"]

    def copy_in(self, api: Any, size_bytes: int) -> bytes:
        """Copy a fresh file into the guest; return what it holds."""
        content = os.urandom(MIB) * (size_bytes // MIB)
        source = self.daemon.exchange / "source"
        source.write_bytes(content)
        api.cpFileToVM(VM, str(source), str(self.daemon.dir / "there"))
        return content

    def test_only_for_copies(self) -> None:
        """Commands and pings need none; the first copy opens it, the next ones share it."""
        self.daemon.run(VM, "true")
        self.assertNotIn("bulk", self.roles())
        for _ in range(3):
            content = self.copy_in(self.daemon.api, 3 * MIB)
            self.assertEqual((self.daemon.dir / "there").read_bytes(), content)
            self.assertEqual(self.roles()["bulk"], 1)
        self.daemon.api.cpFileFromVM(VM, str(self.daemon.dir / "there"), "back")
        self.assertEqual((self.daemon.exchange / "back").read_bytes(), content)
        self.assertEqual(self.roles(), {"host": 1, "guest": 1, "bulk": 1})

    def test_stolen_in_the_middle(self) -> None:
        """The copy goes on where it was, on a new one; the session stays as it was."""
        session = self.daemon.api.getGuest(VM)["session"]
        outcome: list[bytes] = []

        def copy() -> None:
            with self.daemon.new_client() as api:
                outcome.append(self.copy_in(api, 256 * MIB))

        thread = threading.Thread(target=copy)
        thread.start()
        until(lambda: self.roles().get("bulk"), "the copy has its connection")
        login, passcode = credential(self.daemon, VM)
        with Wire(port_of(self.daemon, VM)) as thief:
            thief.write(connect(login, passcode, **{"vmcontroller-connection": "bulk"}))
            self.assertEqual(thief.frame().command, "CONNECTED")
            thread.join()
        [ended] = outcome
        self.assertEqual((self.daemon.dir / "there").read_bytes(), ended)
        self.assertEqual(self.daemon.api.getGuest(VM)["session"], session)
        content = self.copy_in(self.daemon.api, MIB)
        self.assertEqual((self.daemon.dir / "there").read_bytes(), content)

    def test_it_ends_with_the_guest(self) -> None:
        """A VM that is off has no connection left, of either kind."""
        self.copy_in(self.daemon.api, MIB)
        self.daemon.api.powerOff(VM)
        until(lambda: self.roles() == {"host": 1}, "both are gone")
