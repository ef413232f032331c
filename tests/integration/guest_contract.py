"""What a guest with an agent must do, whatever runs it: asked over XML-RPC of a real daemon."""

from __future__ import annotations

import hashlib
import os
import threading
import xmlrpc.client
from typing import Any, ClassVar

from tests.integration.daemon import Daemon

# Linux' numbers, as the agent reports them.
SIGKILL, SIGTERM = 9, 15


class GuestTests:
    """A mixin; `daemon`, `vm` and `scratch` (a directory in the guest) come from `fixture`."""

    daemon: ClassVar[Daemon]
    vm: ClassVar[str]
    scratch: ClassVar[str]

    def fault(self, name: str, call: Any, *arguments: Any) -> str:
        """Return the text of the Fault that a call must answer."""
        try:
            answer = call(*arguments)
        except xmlrpc.client.Fault as fault:
            text = fault.faultString
            assert text.startswith(f"{name}: "), text
            assert "Traceback" not in text, text
            return text
        raise AssertionError(f"{arguments} gave {answer!r} instead of {name}")

    def test_ping(self) -> None:
        """The agent answers, by name, UUID-less MAC address and in time."""
        self.assertEqual(self.daemon.api.ping(self.vm, 30), f"PONG from {self.vm}")
        mac = self.daemon.api.getNamesToIdsMapping()[self.vm]
        self.assertEqual(self.daemon.api.ping(mac, 30), f"PONG from {self.vm}")
        self.assertEqual(self.daemon.api.getIdsToNamesMapping()[mac], self.vm)

    def test_state_and_lists(self) -> None:
        """The VM is running in every list."""
        api = self.daemon.api
        self.assertEqual(api.getState(self.vm), "Running")
        self.assertIn(self.vm, api.listVMs())
        self.assertIn(self.vm, api.listRunningVMs())
        self.assertEqual(api.listVMsWithState()[self.vm], "Running")
        self.fault("INVALID_STATE", api.start, self.vm)
        self.fault("INVALID_STATE", api.resume, self.vm)
        self.fault("INVALID_STATE", api.removeVM, self.vm)

    def test_result(self) -> None:
        """Both streams, the exit code, and the resources of that very process."""
        result = self.daemon.run(self.vm, "sh", "-c", "echo out; echo err >&2; exit 3")
        self.assertEqual((result["out"], result["err"]), ("out\n", "err\n"))
        self.assertEqual((result["finished"], result["exitCodeOrSignal"]), (True, 3))
        self.assertEqual(len(result["resources"]), 16)
        self.assertLess(result["resources"]["ru_utime"], 60)

    def test_result_is_kept_until_forgotten(self) -> None:
        """A result is read as often as asked, listed, and gone only when forgotten."""
        api = self.daemon.api
        cmd_id = api.runCmd(self.vm, "echo", ["again"])
        api.waitCmd(cmd_id, 60)
        for _ in range(2):
            self.assertEqual(api.getCmdResults(cmd_id)["out"], "again\n")
        self.assertIn(cmd_id, api.listFinishedCmds())
        api.forgetCmd(cmd_id)
        self.fault("NO_SUCH_COMMAND", api.getCmdResults, cmd_id)

    def test_arguments_are_not_a_shells(self) -> None:
        """Arguments arrive as they are, one by one."""
        arguments = ["$HOME", "a b", "`id`", "*", "'\"\\", "ü\n", ""]
        result = self.daemon.run(self.vm, "printf", "%s|", *arguments)
        self.assertEqual(result["out"], "".join(f"{each}|" for each in arguments))

    def test_environment_path_and_stdin(self) -> None:
        """What is given is what the command finds."""
        api = self.daemon.api
        script = 'echo "$WORD"; pwd; cat'
        cmd_id = api.runCmd(
            self.vm, "sh", ["-c", script], {"WORD": "x y"}, "/", "", {"stdin": b"\x01in"}
        )
        api.waitCmd(cmd_id, 60)
        self.assertEqual(self.daemon.output(cmd_id, "stdout"), b"x y\n/\n\x01in")

    def test_old_clients_literals(self) -> None:
        """The literals env and path as the strings that the clients of 2010 send."""
        api = self.daemon.api
        result = api.waitCmd(api.runCmd(self.vm, "echo", ["old"], "{}", "None", ""), 60)
        self.assertEqual(result["out"], "old\n")

    def test_no_such_command(self) -> None:
        """What can't be run has a result that says so, as a shell would."""
        result = self.daemon.run(self.vm, "does-not-exist")
        self.assertEqual((result["finished"], result["exitCodeOrSignal"]), (True, 127))
        self.assertIn("COMMAND_NOT_FOUND", result["error"])
        for path in ("/etc", "/etc/passwd"):
            result = self.daemon.run(self.vm, path)
            self.assertEqual(result["exitCodeOrSignal"], 126)
            self.assertIn("COMMAND_NOT_EXECUTABLE", result["error"])

    def test_death_by_signal(self) -> None:
        """A signal is reported as one."""
        result = self.daemon.run(self.vm, "sh", "-c", "kill -KILL $$")
        self.assertEqual((result["finished"], result["exitCodeOrSignal"]), (False, SIGKILL))

    def test_timeout(self) -> None:
        """A command that takes too long is ended, and the result says so."""
        result = self.daemon.run(self.vm, "sleep", "1000", timeout=1)
        self.assertEqual((result["timedOut"], result["exitCodeOrSignal"]), (True, SIGTERM))

    def test_ten_megabytes(self) -> None:
        """A command that prints 10 MB has all of it in its result."""
        script = "head -c 10000000 /dev/zero | tr '\\0' x"
        result = self.daemon.run(self.vm, "sh", "-c", script)
        self.assertEqual(len(result["out"]), 10_000_000)
        self.assertEqual(set(result["out"]), {"x"})
        self.assertFalse(result["truncated"])

    def test_output_limit(self) -> None:
        """What is cut is said to be cut."""
        script = "head -c 100000 /dev/zero | tr '\\0' x"
        result = self.daemon.run(self.vm, "sh", "-c", script, output_limit=1000)
        self.assertEqual((result["out"], result["truncated"]), ("x" * 1000, True))

    def test_any_bytes(self) -> None:
        """Every byte comes back equal; as text, what XML can't carry is repaired."""
        octets = "".join(f"\\{number:03o}" for number in range(256))
        api = self.daemon.api
        cmd_id = api.runCmd(self.vm, "printf", [octets])
        result = api.waitCmd(cmd_id, 60)
        self.assertEqual(self.daemon.output(cmd_id, "stdout"), bytes(range(256)))
        self.assertIn("\t\n", result["out"])
        self.assertIn("ABC", result["out"])

    def test_many_at_once(self) -> None:
        """Fifty commands at once all end, each with its own output."""
        api = self.daemon.api
        ids = {number: api.runCmd(self.vm, "echo", [str(number)]) for number in range(50)}
        for number, cmd_id in ids.items():
            self.assertEqual(api.waitCmd(cmd_id, 300)["out"], f"{number}\n")

    def test_copy_both_ways(self) -> None:
        """A file comes back as it went, with its mode and time."""
        data = os.urandom(3_000_001)
        sent, back = self.daemon.exchange / "sent", self.daemon.exchange / "back"
        sent.write_bytes(data)
        sent.chmod(0o640)
        os.utime(sent, (1_000_000_000, 1_000_000_000))
        remote = f"{self.scratch}/copy ü 'x'"
        api = self.daemon.api
        self.assertEqual(api.cpFileToVM(self.vm, str(sent), remote), ["", "", 0])
        digest = self.daemon.run(self.vm, "sha256sum", remote)["out"].lstrip("\\").split()[0]
        self.assertEqual(digest, hashlib.sha256(data).hexdigest())
        self.assertEqual(api.cpFileFromVM(self.vm, remote, str(back)), ["", "", 0])
        self.assertEqual(back.read_bytes(), data)
        self.assertEqual(back.stat().st_mode & 0o7777, 0o640)
        self.assertEqual(int(back.stat().st_mtime), 1_000_000_000)

    def test_empty_file(self) -> None:
        """A file of no bytes is a file, too."""
        sent, back = self.daemon.exchange / "empty", self.daemon.exchange / "empty-back"
        sent.write_bytes(b"")
        self.daemon.api.cpFileToVM(self.vm, str(sent), f"{self.scratch}/empty")
        self.daemon.api.cpFileFromVM(self.vm, f"{self.scratch}/empty", str(back))
        self.assertEqual(back.read_bytes(), b"")

    def test_copies_that_cannot_be(self) -> None:
        """Each is one clear Fault, and leaves nothing half-done on either side."""
        api = self.daemon.api
        good = self.daemon.exchange / "good"
        good.write_bytes(b"x")
        before = sorted(path.name for path in self.daemon.exchange.iterdir())
        to_vm, from_vm = api.cpFileToVM, api.cpFileFromVM
        self.assertIn(
            "NO_SUCH_FILE",
            self.fault("TRANSFER_FAILED", to_vm, self.vm, str(self.daemon.exchange / "no"), "/x"),
        )
        self.fault("ACCESS_DENIED", to_vm, self.vm, "/etc/passwd", f"{self.scratch}/x")
        self.fault("ACCESS_DENIED", from_vm, self.vm, "/etc/passwd", "/etc/vmcontroller-test")
        for path, reason in (
            (f"{self.scratch}/no/such/file", "NO_SUCH_FILE"),
            ("/", "IS_A_DIRECTORY"),
            ("/dev/zero", "NOT_A_FILE"),
        ):
            text = self.fault("TRANSFER_FAILED", from_vm, self.vm, path, "x")
            self.assertIn(reason, text)
        text = self.fault(
            "TRANSFER_FAILED", to_vm, self.vm, str(good), "/proc/vmcontroller-no-permission"
        )
        self.assertTrue("NO_SUCH_FILE" in text or "PERMISSION_DENIED" in text, text)
        after = sorted(path.name for path in self.daemon.exchange.iterdir())
        self.assertEqual(before, after)

    def test_pause_and_resume(self) -> None:
        """A paused guest does not answer, and goes on where it was."""
        api = self.daemon.api
        api.pause(self.vm)
        try:
            self.assertEqual(api.getState(self.vm), "Paused")
            self.fault("GUEST_UNREACHABLE", api.ping, self.vm, 1)
            self.fault("INVALID_STATE", api.pause, self.vm)
        finally:
            api.resume(self.vm)
        self.assertEqual(api.ping(self.vm, 60), f"PONG from {self.vm}")

    def test_calls_beside_a_slow_one(self) -> None:
        """A command that runs, and a client that waits for it, hold nobody else."""
        api = self.daemon.api
        slow = api.runCmd(self.vm, "sleep", ["1000"], {}, "", "", {"timeout": 20})

        def wait() -> None:
            with self.daemon.new_client() as client:
                client.waitCmd(slow, 60)

        waiting = threading.Thread(target=wait)
        waiting.start()
        try:
            self.assertEqual(self.daemon.run(self.vm, "echo", "quick")["out"], "quick\n")
            self.assertFalse(api.getCmdResults(slow)["finished"])
        finally:
            waiting.join()
