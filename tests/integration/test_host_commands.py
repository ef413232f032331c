"""Commands over real daemons that are killed and started again; nothing of them is lost."""

from __future__ import annotations

import hashlib
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from xmlrpc.client import Binary, Fault

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.daemon import DEADLINE_S, Daemon, free_port, until


class HostCommandsCase(SynchronousTestCase):
    """One daemon, and guests that find it again."""

    config = ""
    vms = ("vmctest a",)

    def setUp(self) -> None:
        self.daemon = Daemon("local", broker=f"{{port: {free_port()}}}", config=self.config)
        self.daemon.start()
        self.addCleanup(self.daemon.stop)
        for vm in self.vms:
            self.api.createVM(vm, "")
            self.api.start(vm)
            self.api.ping(vm, DEADLINE_S)

    @property
    def api(self) -> Any:
        return self.daemon.api

    def run_it(self, *command: str, **options: Any) -> str:
        cmd, *args = command
        return str(self.api.runCmd("vmctest a", cmd, args, {}, "", "", options))

    def again(self) -> None:
        """Kill the daemon, start another, and wait for its guests."""
        self.daemon.kill()
        self.daemon.start()
        for vm in self.vms:
            self.api.ping(vm, DEADLINE_S)

    def all_of(self, cmd_id: str, stream: str = "stdout") -> bytes:
        """Read a stream page by page, waiting for more until there is none."""
        found = bytearray()
        while True:
            page = self.api.getCmdOutput(cmd_id, stream, len(found), 2**20, DEADLINE_S).data
            if not page:
                return bytes(found)
            found += page


class KilledDaemonTests(HostCommandsCase):
    def test_results_are_kept(self) -> None:
        """A result and its output are the same after the daemon was killed, until forgotten."""
        long_one = self.run_it("head", "-c", "3000000", "/dev/urandom")
        short_one = self.run_it("sh", "-c", "echo short; echo bad >&2; exit 3")
        before = [self.api.waitCmd(each, DEADLINE_S) for each in (long_one, short_one)]
        digest = hashlib.sha256(self.all_of(long_one)).digest()
        self.again()
        after = [self.api.getCmdResults(each) for each in (long_one, short_one)]
        self.assertEqual(after, before)
        self.assertEqual(hashlib.sha256(self.all_of(long_one)).digest(), digest)
        self.assertEqual(set(self.api.listFinishedCmds()), {long_one, short_one})
        self.api.forgetCmd(long_one)
        self.again()
        self.assertEqual(set(self.api.listFinishedCmds()), {short_one})
        fault = self.assertRaises(Fault, self.api.getCmdResults, long_one)
        self.assertEqual(fault.faultCode, 15)

    def test_running_goes_on(self) -> None:
        """A command that runs while the daemon is killed brings every byte, before and after."""
        script = "seq 1 20000; read line; seq 20001 40000"
        cmd_id = self.run_it("sh", "-c", script, stdinOpen=True)
        until(lambda: self.api.getCmdDetails(cmd_id)["outBytes"], "some output has come")
        self.again()
        self.assertEqual(self.api.getCmdDetails(cmd_id)["state"], "running")
        self.api.sendCmdStdin(cmd_id, "go\n")
        expected = "".join(f"{number}\n" for number in range(1, 40001)).encode()
        self.assertEqual(self.all_of(cmd_id), expected)
        self.assertEqual(self.api.waitCmd(cmd_id, DEADLINE_S)["exitCodeOrSignal"], 0)

    def test_many_at_once(self) -> None:
        """Of many commands under way when the daemon is killed each ends once, with its bytes."""
        mark = f"{self.daemon.dir}/ran"
        script = f'echo "$0" >>{mark}; sleep 0.$(($0 % 5)); printf %s "$0"; exit $(($0 % 200))'
        ids = [self.run_it("sh", "-c", script, str(number)) for number in range(60)]
        self.again()
        for number, cmd_id in enumerate(ids):
            result = self.api.waitCmd(cmd_id, DEADLINE_S)
            self.assertEqual(
                (result["state"], result["out"], result["exitCodeOrSignal"]),
                ("ended", str(number), number % 200),
            )
        with open(mark) as file:
            ran = sorted(int(line) for line in file)
        self.assertEqual(ran, list(range(60)))

    def test_damaged_database(self) -> None:
        """A daemon whose database can't be used says so, with what to do, and does not start."""
        self.assertEqual(self.daemon.terminate(), 0)
        (self.daemon.dir / "state" / "commands.db").write_bytes(b"no database at all" * 1000)
        error = self.assertRaises(AssertionError, self.daemon.start)
        self.assertIn("commands.db", str(error))
        self.assertIn("move it away", str(error))
        (self.daemon.dir / "state" / "commands.db").unlink()
        self.daemon.start()
        self.assertEqual(self.api.listFinishedCmds(), {})


class StdinTests(HostCommandsCase):
    def test_over_a_kill(self) -> None:
        """A stdin that is given before and after the daemon was killed is read whole."""
        data = random.Random(7).randbytes(3 * 2**20)
        cmd_id = self.run_it("sh", "-c", "sleep 1; cat", stdinOpen=True, stdin=Binary(data[:9]))
        self.api.sendCmdStdin(cmd_id, Binary(data[9 : 2**21]))
        self.again()
        self.assertEqual(self.api.sendCmdStdin(cmd_id, Binary(data[2**21 :])), len(data) - 9)
        self.api.closeCmdStdin(cmd_id)
        self.assertEqual(self.all_of(cmd_id), data)
        fault = self.assertRaises(Fault, self.api.sendCmdStdin, cmd_id, "more")
        self.assertEqual(fault.faultCode, 2)

    def test_file_of_the_host(self) -> None:
        """A file of the host of any size becomes a command's stdin; others are not readable."""
        data = random.Random(8).randbytes(5 * 2**20)
        (self.daemon.exchange / "in").write_bytes(data)
        cmd_id = self.run_it("sha256sum", stdinFromHost="in")
        out = self.api.waitCmd(cmd_id, DEADLINE_S)["out"]
        self.assertEqual(out.split()[0], hashlib.sha256(data).hexdigest())
        fault = self.assertRaises(Fault, self.run_it, "cat", stdinFromHost="/etc/passwd")
        self.assertEqual(fault.faultCode, 50)

    def test_too_much_waits(self) -> None:
        """What a command doesn't read waits here up to a bound; then the caller has to wait."""
        cmd_id = self.run_it("sleep", "1000", stdinOpen=True)
        piece = Binary(bytes(8 * 2**20))
        sent = 0
        for _ in range(4):
            try:
                sent = self.api.sendCmdStdin(cmd_id, piece)
            except Fault as fault:
                self.assertEqual(fault.faultCode, 22)
                break
        self.assertEqual(sent, 2 * len(piece.data))
        self.assertTrue(self.api.killCmd(cmd_id, "KILL"))
        self.assertEqual(self.api.waitCmd(cmd_id, DEADLINE_S)["exitCodeOrSignal"], 9)


class WhileItRunsTests(HostCommandsCase):
    def test_output_as_it_comes(self) -> None:
        """Whoever waits for output has it long before the command ends."""
        cmd_id = self.run_it("sh", "-c", "sleep 0.3; printf '\\0\\377'; sleep 1000")
        self.assertEqual(
            self.api.getCmdOutput(cmd_id, "stdout", 0, 100, DEADLINE_S).data, b"\0\xff"
        )
        began = time.monotonic()
        self.assertEqual(self.api.getCmdOutput(cmd_id, "stdout", 2, 100, 0.2).data, b"")
        self.assertGreaterEqual(time.monotonic() - began, 0.2)
        with ThreadPoolExecutor() as threads, self.daemon.new_client() as other:
            polling = threads.submit(other.getCmdOutput, cmd_id, "stdout", 2, 100, DEADLINE_S)
            self.assertTrue(self.api.killCmd(cmd_id))
            self.assertEqual(polling.result(DEADLINE_S).data, b"")
        result = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((result["finished"], result["exitCodeOrSignal"]), (False, 15))
        fault = self.assertRaises(Fault, self.api.killCmd, cmd_id)
        self.assertIn("has ended", fault.faultString)

    def test_what_it_uses(self) -> None:
        """A busy command's figures are those of its whole tree, and young."""
        cmd_id = self.run_it("sh", "-c", "while :; do :; done & while :; do :; done")

        def busy() -> Any:
            details = self.api.getCmdDetails(cmd_id)
            return details if details.get("usage", {}).get("user_s", 0) > 0.2 else None

        details = until(busy, "it has used processor time")
        self.assertGreaterEqual(details["usage"]["processes"], 2)
        self.assertGreater(details["usage"]["memory_kib"], 0)
        self.assertLess(details["usageAge"], 5)
        self.assertGreaterEqual(details["started"], details["created"])
        self.assertTrue(self.api.killCmd(cmd_id, "SIGKILL"))
        self.api.waitCmd(cmd_id, DEADLINE_S)

    def test_how_it_runs(self) -> None:
        """Environment, umask and niceness are those that were asked for."""
        cmd_id = self.api.runCmd(
            "vmctest a",
            "/bin/sh",
            ["-c", "env | sort; umask; nice"],
            {"ONLY": "this", "PATH": "/usr/bin:/bin"},
            "/",
            "",
            {"replaceEnv": True, "umask": 0o27, "nice": 5},
        )
        out = self.api.waitCmd(cmd_id, DEADLINE_S)["out"]
        self.assertIn("ONLY=this\n", out)
        self.assertNotIn("HOME=", out)
        self.assertTrue(out.endswith(f"0027\n{os.nice(0) + 5}\n"), out)


class SpoolTests(HostCommandsCase):
    config = "commands: {spool_limit_mib: 2, output_limit: 100000}\n"

    def test_limits(self) -> None:
        """The configured limit is that of a command; beyond all limits output is said to be cut."""
        cmd_id = self.run_it("head", "-c", "200000", "/dev/zero")
        result = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((result["outBytes"], result["truncated"]), (100_000, True))
        self.assertEqual((result["outTruncated"], result["errTruncated"]), (True, False))
        cmd_id = self.run_it("head", "-c", "3000000", "/dev/zero", outputLimit=10**7)
        result = self.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertTrue(result["truncated"])
        self.assertIn("OUTPUT_NOT_STORED", result["error"])
        self.assertLessEqual(result["outBytes"], 2**20)
        self.assertEqual(set(self.all_of(cmd_id)), {0})


class ManyGuestsTests(HostCommandsCase):
    vms = ("vmctest a", "vmctest b", "vmctest c")

    def test_on_all(self) -> None:
        """One call runs it in all that are meant; the results come together, also after a kill."""
        self.api.createVM("vmctest off", "")
        answer = self.api.runCmdOnAll("vmctest ?", "sh", ["-c", "sleep 0.5; pwd"])
        self.assertEqual((sorted(answer["commands"]), answer["failed"]), (sorted(self.vms), {}))
        self.again()
        results = self.api.waitCmdOnAll(answer["batch"], DEADLINE_S)
        self.assertEqual(sorted(results), sorted(self.vms))
        self.assertEqual({each["state"] for each in results.values()}, {"ended"})
        self.assertEqual(len({each["out"] for each in results.values()}), 3)
        answer = self.api.runCmdOnAll(["vmctest b", "vmctest off"], "true")
        self.assertEqual(list(answer["commands"]), ["vmctest b"])
        self.assertIn("GUEST_UNREACHABLE", answer["failed"]["vmctest off"])
        self.assertEqual(
            self.api.waitCmdOnAll(answer["batch"], DEADLINE_S)["vmctest b"]["exitCodeOrSignal"], 0
        )
