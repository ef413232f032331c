"""What of the host copies and stdin may touch follows from the caller's roles: on a real guest."""

from __future__ import annotations

from typing import Any
from xmlrpc.client import Fault, ServerProxy

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.attacks.door_scene import ADMIN, UserDaemon
from tests.integration.daemon import DEADLINE_S
from vmcontroller.host.users.passwords import hash_token
from vmcontroller.host.users.records import User

VM = "vmctest-A roots"


class CallersRootsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = UserDaemon()
        self.addCleanup(self.daemon.stop)
        self.private = self.daemon.dir / "private"
        self.private.mkdir()
        (self.private / "secret").write_text("a secret")
        with self.daemon.config.open("a") as config:
            config.write(f"files: {{role_roots: {{admin: [{self.private}]}}}}\n")
        self.daemon.write_users(
            ADMIN, User(name="u", roles=frozenset({"files", "exec"}), tokens=(hash_token("u"),))
        )
        self.daemon.start()
        self.admin = self.daemon.api
        self.admin.createVM(VM, "")
        self.admin.start(VM)
        self.admin.ping(VM, DEADLINE_S)

    def user(self) -> Any:
        client = ServerProxy(self.daemon.url, headers=[("Authorization", "Bearer u")])
        self.addCleanup(client("close"))
        return client

    def refused(self, call: Any, *arguments: Any) -> None:
        with self.assertRaises(Fault) as caught:
            call(*arguments)
        self.assertIn("ACCESS_DENIED", caught.exception.faultString)

    def test_directories_of_a_role(self) -> None:
        """What only admin may touch others can't copy in or out, nor feed to a command."""
        user, secret = self.user(), str(self.private / "secret")
        self.assertEqual(self.admin.cpFileToVM(VM, secret, "secret"), ["", "", 0])
        self.refused(user.cpFileToVM, VM, secret, "secret")
        self.refused(user.cpFileFromVM, VM, "secret", str(self.private / "new"))
        self.assertEqual(user.cpFileFromVM(VM, "secret", ""), ["", "", 0])
        self.assertEqual((self.daemon.exchange / "secret").read_text(), "a secret")
        cat = (VM, "cat", [], {}, "", "", {"stdinFromHost": secret})
        self.refused(user.runCmd, *cat)
        result = self.admin.waitCmd(self.admin.runCmd(*cat), DEADLINE_S)
        self.assertEqual(result["out"], "a secret")
        own = (*cat[:-1], {"stdinFromHost": "secret"})
        self.assertEqual(user.waitCmd(user.runCmd(*own), DEADLINE_S)["out"], "a secret")
