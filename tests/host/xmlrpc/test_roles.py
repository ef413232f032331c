"""Who may call what: every method as each role, and as nobody; and what is written down of it."""

import contextlib
from xmlrpc.client import Fault

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from tests.host.xmlrpc.recording import InMemoryDoor
from tests.host.xmlrpc.test_table import MINIMAL
from vmcontroller.common.door_config import ROLES
from vmcontroller.common.errors import AccessDenied, NoSuchVM
from vmcontroller.host.callers import ADMIN, READ, Caller
from vmcontroller.host.xmlrpc.introspection import unique
from vmcontroller.host.xmlrpc.table import METHODS


def fewest(method):
    """Return the fewest arguments of a call."""
    if method.name in MINIMAL:
        return MINIMAL[method.name]
    return ([],) if method.name == "system.multicall" else ("help",) * method.required


class RoleCase(SynchronousTestCase):
    def setUp(self):
        self.door = InMemoryDoor()

    def as_caller(self, *roles, name="somebody"):
        self.door.caller = Caller(name=name, roles=frozenset(roles), address="1.2.3.4:5")

    def outcome(self, method, *params):
        """Return the name of the Fault, 'ok' without one."""
        try:
            self.door.call(method, *params)
        except Fault as fault:
            return fault.faultString.partition(":")[0]
        return "ok"


class RoleTests(RoleCase):
    def test_each_method_as_each_role(self):
        """A method needs its role, or admin; read is had by whoever has any role."""
        for method in unique(METHODS):
            for role in ROLES:
                self.as_caller(role)
                self.door.operations.calls.clear()
                allowed = role in {method.role, ADMIN} or method.role == READ
                outcome = self.outcome(method.name, *fewest(method))
                self.assertEqual(outcome != "ACCESS_DENIED", allowed, f"{method.name} as {role}")
                if not allowed:
                    self.assertEqual(self.door.operations.calls, [], method.name)

    def test_nobody(self):
        """Who has no role may call nothing at all, not even ask who they are."""
        self.as_caller()
        for name, method in METHODS.items():
            self.assertEqual(self.outcome(name, *fewest(method)), "ACCESS_DENIED", name)
        self.assertEqual(self.door.operations.calls, [])

    def test_every_role_is_needed_somewhere(self):
        """There is a method for each role: none is there for nothing."""
        self.assertEqual({method.role for method in unique(METHODS)}, set(ROLES))

    def test_the_fault_names_the_role(self):
        """It says which role is missing, and to whom."""
        self.as_caller(READ, name="alice")
        self.assertEqual(
            self.door.fault("start", "a").faultString,
            "ACCESS_DENIED: start needs the role 'operate', which 'alice' has not",
        )

    def test_multicall_is_no_way_around(self):
        """The calls in a multicall are those of its caller."""
        self.as_caller(READ)
        calls = [{"methodName": name, "params": ["a"]} for name in ("getState", "start")]
        answers = self.door.call("system.multicall", calls)
        self.assertEqual(answers[0], [True])
        self.assertIn("ACCESS_DENIED", answers[1]["faultString"])

    def test_tasks_are_no_way_around(self):
        """Nor is a task."""
        self.as_caller(READ)
        self.assertEqual(self.outcome("submit", "start", ["a"]), "ACCESS_DENIED")

    def test_who_am_i(self):
        """One learns one's name, every role that one has, and where one comes from."""
        self.as_caller("exec", "files", name="alice")
        self.assertEqual(
            self.door.call("whoAmI"),
            {"name": "alice", "roles": ["read", "exec", "files"], "address": "1.2.3.4:5"},
        )
        self.as_caller(ADMIN)
        self.assertEqual(self.door.call("whoAmI")["roles"], list(ROLES))

    def test_roots_are_the_callers(self):
        """A copy and a stdin from the host get the caller's roles, not more."""
        self.as_caller("exec", "files")
        self.door.call("cpFileToVM", "a", "/x")
        self.door.call("cpFileFromVM", "a", "/x")
        self.door.call("runCmd", "a", "cat", [], {}, "", "", {"stdinFromHost": "x"})
        for *_, wanted in self.door.operations.calls:
            self.assertEqual(wanted.roles, ("read", "exec", "files"))


class BusyTests(RoleCase):
    def test_calls_at_once(self):
        """One client has so many calls under way and no more; others have theirs."""
        answers = self.door.operations.answers
        waiting = [
            answers.setdefault(name, Deferred()) for name in ("wait_cmd", "run_cmd", "kill_cmd")
        ]
        self.as_caller("exec", name="greedy")
        calls = [
            self.door.begin(*call)
            for call in (("waitCmd", "i"), ("runCmd", "a", "x"), ("killCmd", "i"))
        ]
        self.door.http.flush()
        self.assertEqual(len(self.door.operations.calls), len(calls))
        fault = self.door.fault("getState", "a")
        self.assertIn("BUSY: 3 calls of 'greedy' are under way", fault.faultString)
        self.as_caller("exec", name="other")
        self.assertEqual(self.outcome("getState", "a"), "ok")
        waiting[0].callback(True)
        self.door.http.flush()
        self.as_caller("exec", name="greedy")
        self.assertEqual(self.outcome("getState", "a"), "ok")


class AuditTests(RoleCase):
    def lines(self):
        lines, self.door.audited.lines = self.door.audited.lines[:], []
        return lines

    def test_what_is_written_down(self):
        """Every call that may change something, once, with its end; none that only asks."""
        asking = {"waitCmd", "waitCmdOnAll", "listFinishedCmds", "listCmds", "getCmdResults"}
        asking |= {"getCmdDetails", "getCmdOutput", "listTransfers", "getTransfer"}
        for method in unique(METHODS):
            with contextlib.suppress(Fault):
                self.door.call(method.name, *fewest(method))
            lines = self.lines()
            if method.name == "submit":
                continue  # what it begins is written down
            changes = (method.role != READ or method.name == "cancelTask") and (
                method.name not in asking
            )
            expected = [method.name] if changes else []
            self.assertEqual([line[1] for line in lines], expected)

    def test_ends(self):
        """How a call ended is told by the name of its Fault; a bug is INTERNAL."""
        self.as_caller("operate", name="alice")
        for answer, result in (
            (True, "ok"),
            (NoSuchVM("a"), "NO_SUCH_VM"),
            (KeyError("bug"), "INTERNAL"),
            (CancelledError(), "CANCELLED"),
        ):
            self.door.operations.answers["start"] = answer
            self.outcome("start", "a")
            self.assertEqual(self.lines(), [("alice", "start", {"vm": "a"}, result)])
        self.flushLoggedErrors()

    def test_refusals_of_any(self):
        """A refusal is written down, also of a method that only asks, and of one in a multicall."""
        self.as_caller(name="nobody")
        self.outcome("getState", "a")
        self.assertEqual(self.lines(), [("nobody", "getState", {"vm": "a"}, "ACCESS_DENIED")])
        self.as_caller(READ)
        self.door.operations.answers["get_task"] = AccessDenied("not yours")
        self.outcome("getTask", "id")
        self.door.call("system.multicall", [{"methodName": "start", "params": ["a"]}])
        self.assertEqual(
            [(line[1], line[3]) for line in self.lines()],
            [("getTask", "ACCESS_DENIED"), ("start", "ACCESS_DENIED")],
        )

    def test_bad_arguments(self):
        """A call that is refused for its arguments is there, too."""
        self.outcome("start")
        self.outcome("start", ["a"], 7, "surplus")
        self.assertEqual(
            [line[2:] for line in self.lines()],
            [({}, "BAD_ARGUMENT"), ({"guiMode": 7}, "BAD_ARGUMENT")],
        )

    def test_no_secrets(self):
        """Neither environments nor arguments, nor stdin, nor what options say, in any form."""
        secret = "s3cret"
        self.outcome(
            "runCmd",
            "a",
            "mysql",
            ["-p" + secret],
            {"TOKEN": secret},
            "/tmp",
            "",
            {"stdin": secret},
        )
        self.outcome("runCmd", "a", "x", f"['{secret}']", f"{{'A': '{secret}'}}")
        self.outcome("runCmdOnAll", ["a"], "x", [secret], {secret: "x"})
        self.outcome("sendCmdStdin", "id", secret)
        self.outcome("sendCmdStdin", "id", secret.encode())
        self.outcome("createVM", "a", "/i", {"userData": secret, "sshKeys": [secret]})
        lines = self.lines()
        self.assertEqual(len(lines), 6)
        self.assertNotIn(secret, repr(lines))
        self.assertEqual(
            lines[0][2],
            {"vm": "a", "cmd": "mysql", "path": "/tmp", "fileForStdin": "", "options": ["stdin"]},
        )
        self.assertEqual(lines[5][2]["options"], ["sshKeys", "userData"])

    def test_short_and_clean(self):
        """An argument of any length and content takes a short line."""
        self.outcome("start", "x\n" * 10_000)
        self.assertEqual(self.lines()[0][2]["vm"], "x " * 100)
