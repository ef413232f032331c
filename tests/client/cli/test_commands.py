"""Every command over a daemon in memory: what it asks, what it prints, how it ends."""

import contextlib
import io
import json
import os
import sys
from pathlib import Path
from typing import Final

import click

from tests.client.cli.case import CommandCase
from vmcontroller.client.cli import tables
from vmcontroller.client.cli.main import COMMANDS, cli, run
from vmcontroller.client.cli.session import Session
from vmcontroller.client.errors import ClientError, Unreachable, fault_of

EVIL = "\x1b]0;owned\x07\u202e\n"
"""A name that sets a terminal's title, turns the writing round and begins a line."""
NO_VM = fault_of(10, "NO_SUCH_VM: no VM has the name 'x'")
GUEST = {
    "name": "worker",
    "uuid": "u",
    "id": "52:54:00:00:00:01",
    "state": "Running",
    "connected": True,
    "silentFor": 1.5,
    "since": 1e9,
    "version": "1",
    "hostname": EVIL,
    "os": "Linux",
    "ip": "192.0.2.7",
    "addresses": ["192.0.2.7"],
    "load": 0.5,
}
OFF = {
    "name": "off",
    "uuid": "v",
    "id": "",
    "state": "PoweredOff",
    "connected": False,
    "detail": "-",
}
DETAILS = {
    "cmd-id": "id-1",
    "batch": "",
    "toVmName": "worker",
    "cmd": "sleep",
    "args": ["60", EVIL],
    "state": "running",
    "pid": 7,
    "created": 1e9,
    "started": 1e9,
    "ended": 0.0,
    "usage": {"user_s": 1.0, "system_s": 0.5, "memory_kib": 2048.0, "processes": 2.0},
}
RESULT = {
    "cmd-id": "id-1",
    "state": "ended",
    "finished": True,
    "exitCodeOrSignal": 3,
    "error": "",
    "resources": {"ru_utime": 1.0, "ru_stime": 0.25, "ru_maxrss": 1024},
    "outBytes": 5,
    "errBytes": 0,
    "duration": 2.0,
}


class HelpTests(CommandCase):
    def test_every_command_explains_itself(self):
        """The list of commands says of each what the command itself does, and each has a help."""
        for name, entry in COMMANDS.items():
            command = cli.get_command(click.Context(cli), name)
            first = (command.help or "").splitlines()[0].replace("\b", "").strip()
            said = entry.help.rstrip(".").split(";")[0].split(",")[0]
            self.assertTrue(first.startswith(said), (name, first))
            printed = self.vmc(name, "--help")
            self.assertEqual((printed.status, printed.err), (0, ""))
            self.assertIn("Usage: vmcontroller", printed.out)

    def test_help_says_what_scripts_need(self):
        """Exit statuses, environment variables and the form of the output are in --help."""
        printed = self.vmc("--help").out
        for words in ("Exit statuses:", "125", "VMCONTROLLER_URL", "tabs", "NO_COLOR"):
            self.assertIn(words, printed)

    def test_usage(self):
        """A wrong command line is said so, with status 2."""
        for words in (("nope",), ("list", "--nope"), ("cp", "a"), ("cp", "a", "b"), ("exec", "vm")):
            printed = self.vmc(*words)
            self.assertEqual((printed.status, printed.out), (2, ""), words)
            self.assertIn("Usage: ", printed.err)


class ListTests(CommandCase):
    def setUp(self):
        super().setUp()
        evil = {**OFF, "name": EVIL}
        self.answers["listGuests"] = {"worker": GUEST, "off": OFF, EVIL: evil}

    def test_lines(self):
        """Without a terminal each VM is a line, and nothing in a name makes two of it."""
        lines = self.vmc("list").out.split("\n")
        self.assertEqual(len(lines), 4)
        self.assertIn("worker\tRunning\tup\t1.500\t192.0.2.7", lines)
        self.assertTrue(all(line.isprintable() for line in "".join(lines).split("\t")))
        self.assertEqual(len(self.vmc("list", "--running").out.splitlines()), 1)

    def test_table(self):
        """On a terminal there is a table with titles; hostile names are harmless there."""
        printed = self.vmc("list", terminal=True).out
        self.assertRegex(printed.splitlines()[0], "^NAME +STATE +AGENT +HEARD +ADDRESS")
        self.assertTrue(printed.replace("\n", "").isprintable(), repr(printed))
        self.assertIn("\\x1b]0;owned\\x07\\u202e\\n", printed)

    def test_json(self):
        """--json is what the daemon answers, before the command or behind it; and ASCII."""
        for words in (("--json", "list"), ("list", "--json")):
            printed = self.vmc(*words, terminal=True).out
            self.assertTrue(printed.isascii())
            self.assertEqual(json.loads(printed)["worker"], GUEST)

    def test_without_rich(self):
        """Where rich is not installed a table is plain, and the same."""
        self.patch(tables, "Console", None)
        printed = self.vmc("list", terminal=True).out
        self.assertRegex(printed.splitlines()[0], "^NAME +STATE +AGENT +HEARD +ADDRESS$")
        self.assertTrue(printed.replace("\n", "").isprintable())


class VmTests(CommandCase):
    def test_simple_ones(self):
        """Each calls its method, and says nothing."""
        for words, method in (
            ("start", "start"),
            ("stop", "shutdown"),
            ("stop --now", "powerOff"),
            ("pause", "pause"),
            ("resume", "resume"),
            ("reset", "reset"),
            ("save", "saveState"),
            ("save --discard", "discardState"),
            ("remove", "removeVM"),
        ):
            self.answers[method] = True
            printed = self.vmc(*words.split(), "worker")
            self.assertEqual((printed.status, printed.out, printed.err), (0, "", ""), words)
            self.assertEqual(self.daemon.calls[-1][:2], (method, "worker"))

    def test_several(self):
        """One that fails hinders no other; the status is that of the first failure."""
        self.answers["pause"] = self.fail_for
        printed = self.vmc("pause", "a", "bad", "c")
        self.assertEqual([call[1] for call in self.daemon.calls], ["a", "bad", "c"])
        self.assertEqual((printed.status, printed.out), (5, ""))
        self.assertEqual(printed.err, "NO_SUCH_VM: no VM has the name 'x'\n")

    def fail_for(self, vm):
        if vm == "bad":
            raise NO_VM
        return True

    def test_start_and_wait(self):
        """--wait waits for the agent."""
        self.answers |= {"start": True, "ping": "PONG from worker"}
        self.assertEqual(self.vmc("start", "--wait", "worker").status, 0)
        self.assertEqual(self.daemon.calls[-1][0], "ping")

    def test_remove_one_that_is_on(self):
        """--now takes the power away first, where there is any."""
        self.answers |= {"getState": "Running", "powerOff": True, "removeVM": [True, "worker"]}
        self.assertEqual(
            self.vmc("remove", "--now", "worker", "--json").out, '{"worker": [true, "worker"]}\n'
        )
        self.assertEqual(
            [call[0] for call in self.daemon.calls], ["getState", "powerOff", "removeVM"]
        )

    def test_create(self):
        """Every option becomes one of createVM; files of this machine are sent as text."""
        self.answers |= {"createVM": [True, "new"]}
        data, key = Path(self.mktemp()), Path(self.mktemp())
        data.write_text("#cloud-config\n")
        key.write_text("ssh-ed25519 AAAA me\n\n")
        words = (
            "create new image.qcow2 --clone --memory 2G --vcpus 2 --disk-size 20G --disk 512 "
            "--disk /srv/d.raw --bus virtio --network none --boot disk,network --firmware uefi "
            f"--user-data {data} --ssh-key {key} --hostname h --description d -o x=[1] -o y=z"
        )
        printed = self.vmc(*words.split(), "--ssh-key", "ssh-rsa BBBB")
        self.assertEqual(printed.status, 0, printed.err)
        self.assertEqual(
            self.daemon.calls,
            [
                (
                    "createVM",
                    "new",
                    os.path.abspath("image.qcow2"),
                    {
                        "clone": True,
                        "memory": 2048,
                        "vcpus": 2,
                        "diskSize": 20480,
                        "disks": [{"path": "", "size": 512}, {"path": "/srv/d.raw"}],
                        "bus": "virtio",
                        "network": "none",
                        "bootOrder": ["disk", "network"],
                        "firmware": "uefi",
                        "userData": "#cloud-config\n",
                        "sshKeys": ["ssh-ed25519 AAAA me", "ssh-rsa BBBB"],
                        "hostname": "h",
                        "description": "d",
                        "x": [1],
                        "y": "z",
                    },
                )
            ],
        )

    def test_create_refuses(self):
        """What can't be read here is not sent."""
        for words in ("--memory lots", "--user-data /nope", "--ssh-key /nope", "-o x"):
            self.assertEqual(self.vmc("create", "new", *words.split()).status, 2, words)
        self.assertEqual(self.daemon.calls, [])

    def test_info(self):
        """All that is known, each on a line; figures in their units."""
        self.answers |= {
            "getVM": {
                "name": "worker",
                "uuid": "u",
                "state": "Running",
                "macs": ["52:54:00:00:00:01"],
                "memory": 1024,
                "vcpus": 2,
                "disks": [{"path": "/d", "format": "qcow2"}],
                "network": "nat",
                "firmware": "bios",
                "description": EVIL,
                "hypervisor": "libvirt",
                "snapshots": 0,
            },
            "getGuest": GUEST,
            "getStats": [
                {"name": "memory.rss", "unit": "KiB", "scale": 1, "values": [1, 2048]},
                {"name": "cpu.time", "unit": "%", "scale": 100, "values": [1250]},
                {"name": "none", "unit": "%", "scale": 1, "values": []},
            ],
        }
        lines = self.vmc("info", "worker").out.splitlines()
        for line in (
            "memory\t1073741824",
            "disk\t/d (qcow2)",
            "cpu.time\t12.5",
            "memory.rss\t2048",
        ):
            self.assertIn(line, lines)
        printed = self.vmc("info", "worker", terminal=True).out
        self.assertTrue(printed.replace("\n", "").isprintable())
        self.assertRegex(printed, "memory.rss +2.0 MiB\n")
        self.answers["getStats"] = fault_of(32, "UNSUPPORTED: no")
        self.answers["getGuest"] = OFF
        self.assertRegex(self.vmc("info", "worker").out, "agent\tnot connected: -\n$")
        self.answers["getStats"] = NO_VM
        self.assertEqual(self.vmc("info", "worker").status, 5)


class SnapshotTests(CommandCase):
    def one(self, name, *children, parent="", current=False):
        return {
            "name": name,
            "description": EVIL if current else "",
            "created": 1e9,
            "state": "Running",
            "parent": parent,
            "current": current,
            "children": list(children),
        }

    def test_calls(self):
        """Taking, restoring and deleting."""
        self.answers |= {"takeSnapshot": True, "restoreSnapshot": True, "deleteSnapshot": True}
        self.vmc("snapshot", "take", "vm", "s", "-d", "why")
        self.vmc("snapshot", "restore", "vm")
        printed = self.vmc("snapshot", "delete", "vm", "s", "--json")
        self.assertEqual(
            self.daemon.calls,
            [
                ("takeSnapshot", "vm", "s", "why"),
                ("restoreSnapshot", "vm", "", ""),
                ("deleteSnapshot", "vm", "s"),
            ],
        )
        self.assertEqual(printed.out, "true\n")

    def test_tree(self):
        """On a terminal the tree is drawn; else each line names the parent."""
        deep = self.one("deep", parent="b", current=True)
        roots = [
            self.one("base", self.one("a", parent="base"), self.one("b", deep, parent="base")),
            self.one("other"),
        ]
        self.answers["getSnapshots"] = roots
        printed = self.vmc("snapshot", "list", "vm", terminal=True).out
        names = [line[:9].rstrip() for line in printed.splitlines()[1:]]
        self.assertEqual(names, ["base", "├─ a", "└─ b", "   └─ dee", "other"])
        self.assertTrue(printed.replace("\n", "").isprintable())
        lines = self.vmc("snapshot", "list", "vm").out.splitlines()
        self.assertEqual([line.split("\t")[-1] for line in lines], ["", "base", "base", "b", ""])


class RunningCommandTests(CommandCase):
    def test_ps(self):
        """What runs, with what it uses; with -a also what has ended."""
        self.answers["listCmds"] = [DETAILS]
        fields = self.vmc("ps").out.rstrip("\n").split("\t")
        self.assertEqual(fields[:7], ["id-1", "worker", "running", "7", "1.500", "2097152", "2"])
        self.assertEqual(fields[8], "sleep 60 '\\x1b]0;owned\\x07\\u202e\\n'")
        over = {**DETAILS, "cmd-id": "id-0", "state": "ended", "ended": 1e9 + 2, "usage": {}}
        other = {**over, "toVmName": "other"}
        self.answers |= {
            "listFinishedCmds": {"id-0": over, "x": other},
            "getGuest": {"name": "worker"},
        }
        lines = self.vmc("ps", "-a", "worker").out.splitlines()
        self.assertEqual([line.split("\t")[2] for line in lines], ["ended", "running"])
        self.assertIn("\t2.000\t", lines[0])

    def test_kill(self):
        """A signal for each."""
        self.answers["killCmd"] = True
        self.assertEqual(self.vmc("kill", "-s", "INT", "a", "b").status, 0)
        self.assertEqual(self.daemon.calls, [("killCmd", "a", "INT"), ("killCmd", "b", "INT")])

    def test_results(self):
        """How it ended; waited for, and forgotten."""
        waits = [{**RESULT, "state": "running", "resources": {}}, RESULT]
        self.answers |= {
            "getCmdResults": {**RESULT, "state": "running"},
            "waitCmd": lambda *_: waits.pop(0),
            "getCmdDetails": DETAILS,
            "forgetCmd": True,
        }
        lines = self.vmc("results", "id-1", "--wait", "--forget").out.splitlines()
        for line in ("exit code\t3", "took\t2.000", "processor time\t1.250", "stdout\t5"):
            self.assertIn(line, lines)
        self.assertEqual(self.daemon.calls[-1], ("forgetCmd", "id-1"))
        self.answers["getCmdResults"] = {
            **RESULT,
            "finished": False,
            "exitCodeOrSignal": 9,
            "error": EVIL,
        }
        printed = self.vmc("results", "id-1").out
        self.assertIn("signal\t9\n", printed)
        self.assertIn("error\t\\x1b", printed)

    def test_output(self):
        """Exact bytes; that some are missing is a failure."""
        data = b"\x00\xff\x1b[2J" * 1000
        self.answers |= {
            "getCmdOutput": lambda _, stream, at, n, __: (
                data[at : at + min(n, 1001)] if stream == "stderr" else b""
            ),
            "getCmdResults": RESULT,
        }
        out = self.vmc("output", "id-1", "--stderr", "-f").raw
        self.assertEqual(out, data)
        self.answers["getCmdResults"] = {**RESULT, "outTruncated": True}
        printed = self.vmc("output", "id-1")
        self.assertEqual((printed.status, printed.out), (1, ""))
        self.assertIn("missing", printed.err)


class WatchTests(CommandCase):
    def test_wait(self):
        """For the agent, for a state; one that was not reached in time has a status of its own."""
        self.answers |= {"getState": "Running", "ping": "PONG", "states": {"PoweredOff": 1}}
        self.assertEqual(self.vmc("wait", "worker").status, 0)
        self.answers["ping"] = fault_of(40, "GUEST_UNREACHABLE: 'worker': silent")
        printed = self.vmc("wait", "worker", "--timeout", "0")
        self.assertEqual(
            (printed.status, printed.err), (6, "GUEST_UNREACHABLE: 'worker': silent\n")
        )
        printed = self.vmc("wait", "worker", "--state", "poweredoff", "--timeout", "0")
        self.assertEqual(printed.status, 6)
        self.assertRegex(printed.err, "^DEADLINE_PASSED: 'worker' is Running, and not PoweredOff")
        self.assertEqual(self.vmc("wait", "worker", "--state", "odd").status, 2)

    def event(self, number, **detail):
        return {
            "number": number,
            "at": 1e9,
            "kind": "vm-state",
            "vm": EVIL,
            "uuid": "u",
            "detail": detail,
        }

    def test_events(self):
        """What has happened, page by page, with nothing that a name could do."""
        pages = [
            {"events": [self.event(1, state="Running"), self.event(2)], "next": 3, "lost": False},
            {"events": [self.event(3)], "next": 4, "lost": False},
            {"events": [], "next": 4, "lost": False},
        ]
        self.answers["waitEvents"] = lambda *_: pages.pop(0)
        lines = self.vmc("events", "--kind", "vm-*", "--vm", "w*").out.split("\n")
        self.assertEqual(len(lines), 4)
        self.assertRegex(lines[0], r"^1\t2001-09-\S+\tvm-state\t\\x1b\S+\tstate=Running$")
        wanted = {"kinds": ["vm-*"], "vms": ["w*"]}
        self.assertEqual(self.daemon.calls[1], ("waitEvents", 3, 0, wanted))

    def test_follow(self):
        """-f goes on until it is ended; what was lost is said; --json is one event a line."""
        answers = [
            {"events": [self.event(7)], "next": 8, "lost": True},
            Unreachable("away"),
            {"events": [self.event(8)], "next": 9, "lost": False},
            KeyboardInterrupt(),
        ]

        def answer(*_):
            each = answers.pop(0)
            if isinstance(each, BaseException):
                raise each
            return each

        self.answers["waitEvents"] = answer
        printed = self.vmc("events", "-f", "--json")
        self.assertEqual(printed.status, 130)
        kinds = [json.loads(line)["kind"] for line in printed.out.splitlines()]
        self.assertEqual(kinds, ["events-lost", "vm-state", "vm-state"])
        self.assertEqual(self.daemon.calls[0][1], -1)
        self.assertEqual(self.daemon.calls[-1][1], 9)


class TaskTests(CommandCase):
    TASK: Final = {
        "id": "t",
        "method": "start",
        "vm": "worker",
        "caller": "me",
        "state": "done",
        "created": 1e9,
        "ended": 0.0,
        "progress": 0.5,
        "detail": "",
        "result": [True],
    }

    def test_all(self):
        """Listed, begun, shown, waited for, cancelled; one that failed fails here, too."""
        self.answers |= {
            "listTasks": [self.TASK],
            "submit": "t",
            "getTask": self.TASK,
            "waitTask": self.TASK,
            "cancelTask": True,
        }
        self.assertRegex(self.vmc("tasks").out, "^t\tstart\tworker\tdone\t50\t2001")
        self.assertEqual(self.vmc("tasks", "submit", "start", "worker", "true").out, "t\n")
        self.assertEqual(self.daemon.calls[-1], ("submit", "start", ["worker", True]))
        self.assertIn("state\tdone\n", self.vmc("tasks", "show", "t").out)
        self.assertEqual(self.vmc("tasks", "wait", "t").out, "[true]\n")
        self.assertEqual(self.vmc("tasks", "cancel", "t").status, 0)
        fault = {"faultCode": 10, "faultString": str(NO_VM)}
        self.answers["waitTask"] = {**self.TASK, "state": "failed", "fault": fault}
        printed = self.vmc("tasks", "wait", "t")
        self.assertEqual((printed.status, printed.err), (5, f"{NO_VM}\n"))
        self.answers["waitTask"] = {**self.TASK, "state": "cancelled"}
        self.assertEqual(self.vmc("tasks", "wait", "t").status, 1)


class ScreenTests(CommandCase):
    def test_screenshot(self):
        """A picture goes to a file, and to a terminal never."""
        self.answers["takeScreenshot"] = b"\x89PNG"
        file = self.mktemp()
        self.assertEqual(self.vmc("screenshot", "vm", file).status, 0)
        self.assertEqual(Path(file).read_bytes(), b"\x89PNG")
        self.assertEqual(self.vmc("screenshot", "vm", "-", terminal=True).status, 2)
        printed = self.vmc("screenshot", "vm", "/nope/x")
        self.assertEqual(printed.status, 1)
        self.assertIn("/nope/x: No such file", printed.err)

    def test_display(self):
        """How to reach it; where there is none that is said."""
        vnc = {
            "kind": "vnc",
            "host": "127.0.0.1",
            "port": 5900,
            "socket": "",
            "password": "p",
            "tls": True,
        }
        self.answers["getDisplay"] = vnc
        self.assertEqual(
            self.vmc("display", "vm").out,
            "kind\tvnc\naddress\t127.0.0.1:5900\npassword\tp\ntls\tyes\n",
        )
        self.answers["getDisplay"] = {**vnc, "kind": "none", "password": "", "tls": False}
        self.assertEqual(self.vmc("display", "vm").out, "kind\tnone\ntls\tno\n")

    def test_console(self):
        """Page by page, from where the daemon says."""
        pages = [
            {"data": b"boot", "offset": 100, "next": 104, "begins": 100},
            {"data": b"", "offset": 104, "next": 104, "begins": 100},
        ]
        self.answers["getConsoleLog"] = lambda *_: pages.pop(0)
        self.assertEqual(self.vmc("console", "vm").out, "boot")
        self.assertEqual([call[2] for call in self.daemon.calls], [0, 104])


class OtherTests(CommandCase):
    def test_api(self):
        """Arguments are JSON or else strings; the answer is JSON, bytes in base64."""
        self.answers["m"] = {"a": b"\x00\xff", "b": EVIL}
        words = ("worker", "5", '"5"', "[1]", '{"x": true}', "null", "-x")
        printed = self.vmc("api", "m", *words)
        self.assertEqual(self.daemon.calls, [("m", "worker", 5, "5", [1], {"x": True}, None, "-x")])
        self.assertEqual(json.loads(printed.out), {"a": "AP8=", "b": EVIL})
        self.answers["help"] = "one\ntwo"
        self.assertEqual(self.vmc("api", "help").out, "one\ntwo\n")

    def test_whoami(self):
        """The name, the roles, the daemon."""
        self.answers["whoAmI"] = {"name": "me", "roles": ["read", "exec"], "address": "uid 0"}
        self.assertEqual(
            self.vmc("whoami").out, "name\tme\nroles\tread exec\naddress\tuid 0\ndaemon\tmemory:\n"
        )

    def test_completion(self):
        """Each shell gets its script."""
        for shell in ("bash", "zsh", "fish"):
            printed = self.vmc("completion", shell)
            self.assertEqual(printed.status, 0)
            self.assertIn("_VMCONTROLLER_COMPLETE", printed.out)

    def test_errors(self):
        """NAME: detail on standard error, in one line, whatever a guest made of the detail."""
        self.answers["whoAmI"] = fault_of(40, f"GUEST_UNREACHABLE: {EVIL}")
        printed = self.vmc("whoami")
        self.assertEqual(printed.err, "GUEST_UNREACHABLE: \\x1b]0;owned\\x07\\u202e\\n\n")
        self.answers["whoAmI"] = ClientError("odd")
        self.assertEqual(self.vmc("whoami").err, "FAILED: odd\n")


class SecretTests(CommandCase):
    def client_of(self, *words, **environment):
        """Return the client that these words make."""
        made = []
        self.patch(Session, "client", property(lambda session: made.append(session._connect())))
        for name, value in environment.items():
            self.patch(os, "environ", {**os.environ, name: value})
        with contextlib.suppress(AttributeError):
            self.vmc(*words, "whoami")
        return made[0]._connection if made else None

    def test_files(self):
        """Passwords and tokens come from files; from the environment; never from the words."""
        file = Path(self.mktemp())
        file.write_text("s3cret\nmore\n")
        made = self.client_of("--user", "me", "--password-file", str(file))
        self.assertEqual(made._headers["Authorization"], "Basic bWU6czNjcmV0")
        made = self.client_of("--token-file", str(file), "--reason", "a test")
        self.assertEqual(made._headers["Authorization"], "Bearer s3cret")
        self.assertEqual(made._headers["X-VMController-Reason"], "a test")
        made = self.client_of(VMCONTROLLER_TOKEN="t0k", VMCONTROLLER_URL="http://there:1")
        self.assertEqual(made._headers["Authorization"], "Bearer t0k")
        self.assertEqual(made.address.shown, "http://there:1")

    def test_refused(self):
        """What can't be a secret or an address is a wrong command line."""
        empty = Path(self.mktemp())
        empty.touch()
        for words in (
            ("--token-file", str(empty)),
            ("--token-file", "/nope"),
            ("--url", "gopher://x"),
            ("--user", "me", "--url", "http://me:pw@x", "--password-file", str(empty)),
        ):
            session_status = self.status_of(*words)
            self.assertEqual(session_status, 2, words)

    def status_of(self, *words):
        self.patch(sys, "stderr", io.StringIO())
        return run(Session(), [*words, "whoami"])
