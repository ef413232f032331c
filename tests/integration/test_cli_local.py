"""The command line against a daemon whose VM is a process: every command, as a process itself."""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.client.process import CommandLine
from tests.integration.daemon import Daemon, free_port, until
from vmcontroller.client.cli.main import COMMANDS

VM = "vmctest-f"
TEN_MB = 10_000_000
HUNDRED_MB = 100_000_000

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon for all tests of this module."""
    if not _running:
        daemon = Daemon("local", broker=f"{{port: {free_port()}}}")
        atexit.register(daemon.stop)
        daemon.start()
        _running.append(daemon)
    return _running[0]


class LocalCase(SynchronousTestCase):
    """One guest, over the Unix socket."""

    def setUp(self) -> None:
        self.daemon = running()
        self.vmc = CommandLine(f"unix:{self.daemon.dir}/xmlrpc.sock")
        if VM not in self.daemon.api.listVMs():
            self.vmc.good("create", VM, "--start")
        self.dir = self.daemon.dir / "files"
        shutil.rmtree(self.dir, ignore_errors=True)
        self.dir.mkdir()

    def shell(self, script: str, *options: str, **more) -> subprocess.CompletedProcess:
        """Run a script in the guest."""
        return self.vmc.run("exec", *options, VM, "--", "sh", "-c", script, **more)

    def random_file(self, name: str, size: int) -> Path:
        path = self.dir / name
        path.write_bytes(random.Random(name).randbytes(size))
        return path


class ExecTests(LocalCase):
    def test_exact_bytes(self) -> None:
        """10 MB of any bytes on both streams at once arrive as they are, each on its own."""
        out, err = self.random_file("out", TEN_MB), self.random_file("err", TEN_MB)
        done = self.shell(f"cat {err} >&2 & cat {out}; wait; exit 3")
        self.assertEqual(done.returncode, 3)
        self.assertTrue(done.stdout == out.read_bytes())
        self.assertTrue(done.stderr == err.read_bytes())

    def test_stdin(self) -> None:
        """Standard input goes through, whatever it is: a pipe, a file, nothing."""
        data = self.random_file("in", TEN_MB)
        done = self.vmc.run("exec", VM, "cat", stdin=data.read_bytes())
        self.assertTrue(done.stdout == data.read_bytes())
        with data.open("rb") as file, self.vmc.start("exec", VM, "cat", stdin=file) as process:
            self.assertTrue(process.communicate(timeout=60)[0] == data.read_bytes())
        self.assertEqual(self.vmc.good("exec", VM, "cat"), "")
        self.assertEqual(self.vmc.good("exec", "-n", VM, "cat", stdin=b"not this"), "")

    def test_it_comes_as_it_is_printed(self) -> None:
        """A line is here while the command waits for the next one of stdin."""
        with self.vmc.start(
            "exec",
            VM,
            "--",
            "sh",
            "-c",
            "while read a; do echo got $a; done",
            stdin=subprocess.PIPE,
        ) as process:
            for word in (b"one", b"two"):
                process.stdin.write(word + b"\n")
                process.stdin.flush()
                self.assertEqual(process.stdout.readline(), b"got " + word + b"\n")
            process.stdin.close()
            self.assertEqual(process.wait(60), 0)

    def test_exit_statuses(self) -> None:
        """They are the command's; 128 and the signal; 126, 127 if it can't be run; 125 for us."""
        for script, status in (("exit 0", 0), ("exit 77", 77), ("kill -TERM $$", 143)):
            done = self.shell(script)
            self.assertEqual((done.returncode, done.stderr), (status, b""))
        done = self.vmc.run("exec", VM, "no-such-program")
        self.assertEqual(done.returncode, 127)
        self.assertRegex(done.stderr, b"^vmcontroller: COMMAND_NOT_FOUND: ")
        self.assertEqual(self.vmc.run("exec", VM, "/etc/passwd").returncode, 126)
        done = self.vmc.run("exec", "vmctest-nobody", "true")
        self.assertEqual((done.returncode, done.stdout), (125, b""))
        self.assertRegex(done.stderr, b"^NO_SUCH_VM: ")
        done = self.vmc.run("exec", VM, "--", "printf", "\x1b")
        self.assertEqual(done.returncode, 125)
        self.assertRegex(done.stderr, b"^NOT_SENDABLE: XML cannot carry U\\+001B")

    def test_time_limit(self) -> None:
        """--timeout ends it, and says so."""
        done = self.shell("echo begun; exec sleep 100", "--timeout", "1")
        self.assertEqual((done.returncode, done.stdout), (143, b"begun\n"))
        self.assertEqual(done.stderr, b"vmcontroller: its time was over\n")

    def test_how_it_runs(self) -> None:
        """Directory, environment, user and niceness; options before VM and behind it."""
        vmc = CommandLine(self.vmc.environment["VMCONTROLLER_URL"], HERE="from here")
        script = "pwd; echo $A $HERE; id -un; cut -d' ' -f19 /proc/self/stat"
        words = ("--cwd", "/usr", "--env", "A=b", "-e", "HERE", "--user", "nobody", "--nice", "3")
        if os.getuid():
            words = words[:-4] + words[-2:]
        done = vmc.run("exec", *words, VM, "--", "sh", "-c", script)
        name = b"nobody" if not os.getuid() else done.stdout.split(b"\n")[2]
        self.assertEqual(done.stdout, b"/usr\nb from here\n" + name + b"\n3\n")
        self.assertEqual(vmc.run("exec", VM, *words, "--", "sh", "-c", script).stdout, done.stdout)

    def test_output_that_is_cut(self) -> None:
        """That some is missing is never silent: the status says so, too."""
        done = self.shell("head -c 5000 /dev/zero", "--output-limit", "1000")
        self.assertEqual((done.returncode, len(done.stdout)), (125, 1000))
        self.assertIn(b"missing", done.stderr)

    def test_nothing_is_left(self) -> None:
        """A command that was followed to its end is forgotten on the host."""
        before = len(json.loads(self.vmc.good("ps", "-a", "--json")))
        self.shell("echo x")
        self.assertEqual(len(json.loads(self.vmc.good("ps", "-a", "--json"))), before)

    def test_nobody_reads(self) -> None:
        """As in `exec … | head -1`: the command ends, and nothing is said."""
        process = self.vmc.start("exec", VM, "--", "sh", "-c", "echo $$; exec yes")
        pid = process.stdout.readline().strip().decode()
        process.stdout.close()
        self.assertEqual((process.wait(60), process.stderr.read()), (141, b""))
        process.stderr.close()
        until(lambda: not Path(f"/proc/{pid}").exists(), "the command has ended, too")

    def test_terminated(self) -> None:
        """SIGTERM is passed on; the status is what the command makes of it."""
        process = self.vmc.start(
            "exec", VM, "--", "sh", "-c", "trap 'exit 9' TERM; echo; sleep 100 & wait"
        )
        process.stdout.readline()
        process.terminate()
        self.assertEqual(process.wait(60), 9)
        process.stdout.close()
        process.stderr.close()

    def test_daemon_restarts(self) -> None:
        """What runs goes on, and nothing of its output is missing or there twice."""
        script = "i=0; while [ $i -lt 60 ]; do i=$((i+1)); echo $i; sleep 0.1; done; cat; exit 4"
        with self.vmc.start("exec", VM, "--", "sh", "-c", script, stdin=subprocess.PIPE) as process:
            process.stdout.readline()
            self.daemon.kill()
            self.daemon.start()
            process.stdin.write(b"and stdin\n")
            process.stdin.close()
            out, err = process.stdout.read(), process.stderr.read()
            self.assertEqual((process.wait(60), err), (4, b""))
        numbers = "".join(f"{i}\n" for i in range(2, 61))
        self.assertEqual(out.decode(), numbers + "and stdin\n")


class TerminalTests(LocalCase):
    def test_ctrl_c(self) -> None:
        """It reaches the command, which may do with it what it likes."""
        terminal = self.vmc.terminal(
            "exec", VM, "--", "sh", "-c", "trap 'echo caught; exit 7' INT; echo up; sleep 99 & wait"
        )
        terminal.until(b"up\r\n")
        terminal.type(b"\x03")
        status, shown = terminal.end()
        self.assertEqual((status, b"caught" in shown), (7, True), shown)

    def test_ctrl_c_twice(self) -> None:
        """The second one kills what ignores the first."""
        terminal = self.vmc.terminal(
            "exec",
            VM,
            "--",
            "sh",
            "-c",
            "trap 'echo ignored' INT; echo up; while :; do sleep 1; done",
        )
        terminal.until(b"up\r\n")
        terminal.type(b"\x03")
        terminal.until(b"ignored")
        terminal.type(b"\x03")
        self.assertEqual(terminal.end()[0], 137)

    def test_ctrl_c_thrice(self) -> None:
        """Where not even that helps, as the guest does not answer, one is let go."""
        terminal = self.vmc.terminal("exec", VM, "--", "sh", "-c", "echo up; sleep 2; echo end")
        terminal.until(b"up\r\n")
        self.vmc.good("pause", VM)
        try:
            for count in (1, 2, 3):
                terminal.type(b"\x03")
                terminal.until(b"^C" * count)
                time.sleep(0.2)
            status, shown = terminal.end()
        finally:
            self.vmc.good("resume", VM)
        self.assertEqual(status, 130)
        cmd_id = re.search(rb"it runs on: vmcontroller results (\S+)", shown)[1].decode()
        self.assertIn("state", self.vmc.good("results", cmd_id, "--wait"))

    def test_typed_stdin(self) -> None:
        """What is typed is read by the command, until Ctrl-D."""
        terminal = self.vmc.terminal("exec", VM, "sh", "-c", 'read a; echo "<$a>"; cat; echo end')
        terminal.type(b"hello\n")
        terminal.until(b"<hello>\r\n")
        terminal.type(b"\x04")
        status, shown = terminal.end()
        self.assertEqual((status, shown.endswith(b"end\r\n")), (0, True))

    def test_raw_and_harmless(self) -> None:
        """What exec prints is raw on a terminal; everything else is shown as harmless text."""
        script = "printf '\\033]0;owned\\007text'"
        status, shown = self.vmc.terminal("exec", VM, "--", "sh", "-c", script).end()
        self.assertEqual((status, shown), (0, b"\x1b]0;owned\x07text"))
        cmd_id = self.vmc.good("exec", "-d", VM, "--", "sh", "-c", script).strip()
        self.vmc.good("results", cmd_id, "--wait")
        _, shown = self.vmc.terminal("output", cmd_id).end()
        self.assertEqual(shown, b"\\x1b]0;owned\\x07text")
        _, shown = self.vmc.terminal("output", "--raw", cmd_id).end()
        self.assertEqual(shown, b"\x1b]0;owned\x07text")
        self.assertEqual(self.vmc.run("output", cmd_id).stdout, b"\x1b]0;owned\x07text")

    def test_tables(self) -> None:
        """A terminal gets a table with colours, and none where they are not wanted."""
        status, shown = self.vmc.terminal("list").end()
        self.assertEqual(status, 0)
        self.assertRegex(shown, b"NAME.*STATE.*AGENT")
        self.assertIn(b"\x1b[32mRunning", shown)
        for words, environment in ((("list", "--no-color"), {}), (("list",), {"NO_COLOR": "1"})):
            vmc = CommandLine(self.vmc.environment["VMCONTROLLER_URL"], **environment)
            self.assertNotIn(b"\x1b[3", vmc.terminal(*words).end()[1])
        self.assertNotIn("\x1b", self.vmc.good("list"))

    def test_hostile_words(self) -> None:
        """What a guest or a caller calls something turns no line round, and ends none."""
        cmd_id = self.vmc.good(
            "exec", "-d", VM, "--", "sh", "-c", "sleep 30", "\u202eevil\u2028"
        ).strip()
        self.addCleanup(self.vmc.run, "kill", cmd_id)
        for words in (("ps",), ("results", cmd_id), ("ps", "--json")):
            shown = self.vmc.terminal(*words, "--no-color").end()[1].decode()
            self.assertNotIn("\u202e", shown)
            self.assertIn("\\u202eevil", shown)
        done = self.vmc.run("exec", VM, "\u202enope")
        self.assertIn(b"\\u202enope", done.stderr)

    def test_progress(self) -> None:
        """A copy shows how far it is, the rate, the time that is left; on standard error only."""
        source = self.random_file("big", 60_000_000)
        terminal = self.vmc.terminal("cp", str(source), f"{VM}:{self.dir}/there")
        status, shown = terminal.end()
        self.assertEqual(status, 0, shown)
        self.assertRegex(shown.decode(), r"big .*\d+%.*[0-9.]+/57\.2 MiB.*MB/s.*0:00:0")
        done = self.vmc.run("cp", str(source), f"{VM}:{self.dir}/again")
        self.assertEqual((done.stdout, done.stderr), (b"", b""))


class CopyTests(LocalCase):
    def test_files(self) -> None:
        """Both ways, by whichever way: contents and mode are the same; an empty one is one, too."""
        for name, size in (("empty", 0), ("small", 1), ("odd size", 3 * 2**20 + 1)):
            source = self.random_file(name, size)
            source.chmod(0o751)
            there, back = self.dir / f"{name} there", self.dir / f"{name} back"
            self.vmc.good("cp", str(source), f"{VM}:{there}")
            self.vmc.good("cp", f"{VM}:{there}", str(back))
            for copy in (there, back):
                self.assertEqual(copy.read_bytes(), source.read_bytes())
                self.assertEqual(copy.stat().st_mode, source.stat().st_mode)
                self.assertEqual(int(copy.stat().st_mtime), int(source.stat().st_mtime))

    def test_names(self) -> None:
        """A directory gets copies under their own names; a UUID and a MAC address name the VM."""
        one, two = self.random_file("one", 10), self.random_file("-two; $(x)", 20)
        into, back = self.dir / "into", self.dir / "back"
        into.mkdir()
        back.mkdir()
        self.vmc.good("cp", str(one), str(two), f"{VM}:{into}")
        mac = self.daemon.api.getNamesToIdsMapping()[VM]
        self.vmc.good("cp", f"{mac}:{into}/{two.name}", f"{VM}:{into}/one", f"{back}/")
        self.assertEqual(sorted(os.listdir(back)), sorted([one.name, two.name]))
        self.assertEqual((back / two.name).read_bytes(), two.read_bytes())

    def test_trees(self) -> None:
        """-r takes a directory with all below it; an existing one gets it under its own name."""
        tree = self.dir / "tree"
        (tree / "deep" / "empty").mkdir(parents=True)
        (tree / "deep" / "file").write_bytes(os.urandom(300_000))
        (tree / "link").symlink_to("deep/file")
        self.vmc.good("cp", "-r", str(tree), f"{VM}:{self.dir}/there")
        self.vmc.good("cp", "-r", f"{VM}:{self.dir}/there", f"{self.dir}/back")
        for copy in ("there", "back"):
            subprocess.run(["diff", "-r", tree, self.dir / copy], check=True)
            self.assertEqual(os.readlink(self.dir / copy / "link"), "deep/file")
        left = [name for name in os.listdir(self.dir) if name.startswith(".")]
        self.assertEqual(left, [])
        done = self.vmc.run("cp", "-r", f"{VM}:{self.dir}/there", f"{self.dir}/back/there")
        self.assertEqual(done.returncode, 0)
        done = self.vmc.run("cp", "-r", f"{VM}:{self.dir}/there", f"{self.dir}/back")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, b"^COPY_FAILED: EXISTS: ")

    def test_trees_that_lead_out(self) -> None:
        """A link out of a directory that a guest sends is refused, and nothing of it is there."""
        there = self.dir / "there"
        there.mkdir()
        (there / "evil").symlink_to("/etc")
        done = self.vmc.run("cp", "-r", f"{VM}:{there}", f"{self.dir}/back")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, b"^COPY_FAILED: ESCAPES_TREE: ")
        self.assertEqual(os.listdir(self.dir), ["there"])

    def test_failures(self) -> None:
        """Each says what is wrong, with a word; nothing is left behind."""
        one = self.random_file("one", 10)
        for source, target, status, said in (
            (f"{self.dir}/nope", f"{VM}:/tmp", 5, "NO_SUCH_FILE"),
            (f"{VM}:{self.dir}/nope", f"{self.dir}/x", 5, "NO_SUCH_FILE"),
            (f"{one}", f"{VM}:{self.dir}/no/where", 5, "NO_SUCH_FILE"),
            (f"{VM}:{one}", f"{self.dir}/no/where", 5, "NO_SUCH_FILE"),
            (f"{self.dir}", f"{VM}:/tmp", 1, "IS_A_DIRECTORY"),
            (f"{VM}:{self.dir}", f"{self.dir}/x", 1, "IS_A_DIRECTORY"),
            (f"{VM}:/dev/null", f"{self.dir}/x", 1, "NOT_A_FILE"),
        ):
            done = self.vmc.run("cp", source, target)
            self.assertEqual((done.returncode, done.stdout), (status, b""), (source, done))
            self.assertRegex(done.stderr.decode(), f"^COPY_FAILED: {said}: ")
        self.assertEqual(os.listdir(self.dir), ["one"])
        done = self.vmc.run("cp", str(one), "vmctest-nobody:/tmp")
        self.assertEqual((done.returncode, done.stderr[:12]), (5, b"NO_SUCH_VM: "))

    def test_on_the_host(self) -> None:
        """--on-host names files of the daemon's host: below its directories, and no others."""
        source = self.daemon.exchange / "cli-source"
        source.write_bytes(os.urandom(5_000_000))
        self.vmc.good("cp", "--on-host", "cli-source", f"{VM}:{self.dir}/there")
        self.vmc.good("cp", "--on-host", f"{VM}:{self.dir}/there", "cli-back")
        self.assertEqual((self.daemon.exchange / "cli-back").read_bytes(), source.read_bytes())
        done = self.vmc.run("cp", "--on-host", "/etc/passwd", f"{VM}:{self.dir}/passwd")
        self.assertEqual(done.returncode, 4)
        self.assertRegex(done.stderr, b"^ACCESS_DENIED: ")
        done = self.vmc.run("cp", "--on-host", f"{VM}:{self.dir}/nope", "cli-nope")
        self.assertEqual(done.returncode, 5, done)

    def copied_after_a_kill(self, source: str, target: str, part_dir: Path) -> int:
        """Kill a copy when some of it is there, do it again; return the inode of the first part."""
        process = self.vmc.start("cp", source, target)

        def part() -> Path | None:
            found = list(part_dir.glob(".vmcontroller-*.part"))
            return found[0] if found and found[0].stat().st_size > 70_000_000 else None

        begun = until(part, "a part of it has come")
        process.kill()
        process.communicate()
        inode = begun.stat().st_ino
        self.vmc.good("cp", source, target)
        return inode

    def test_resume_to(self) -> None:
        """100 MB into a guest go on after the command was killed, where they were."""
        source, there = self.random_file("source", HUNDRED_MB), self.dir / "to"
        there.mkdir()
        inode = self.copied_after_a_kill(str(source), f"{VM}:{there}/copy", there)
        self.assertEqual((there / "copy").stat().st_ino, inode)
        self.assertEqual(self.digest(there / "copy"), self.digest(source))
        self.assertEqual(os.listdir(there), ["copy"])
        until(lambda: not json.loads(self.vmc.good("ps", "--json")), "nothing of it runs on")

    def test_resume_from(self) -> None:
        """And those from a guest."""
        source, back = self.random_file("source", HUNDRED_MB), self.dir / "from"
        back.mkdir()
        inode = self.copied_after_a_kill(f"{VM}:{source}", f"{back}/copy", back)
        self.assertEqual((back / "copy").stat().st_ino, inode)
        self.assertEqual(self.digest(back / "copy"), self.digest(source))
        self.assertEqual(os.listdir(back), ["copy"])

    def test_what_is_there_is_something_else(self) -> None:
        """A part that is not the beginning of the file is found out, and the copy is right."""
        source, there = self.random_file("source", HUNDRED_MB), self.dir / "to"
        there.mkdir()
        process = self.vmc.start("cp", str(source), f"{VM}:{there}/copy")
        begun = until(
            lambda: [
                path
                for path in there.glob(".vmcontroller-*.part")
                if path.stat().st_size > 2_000_000
            ],
            "some has come",
        )
        process.kill()
        process.communicate()
        for each in json.loads(self.vmc.good("ps", "--json")):
            self.vmc.run("kill", "-s", "KILL", each["cmd-id"])
        with begun[0].open("r+b") as file:
            file.write(b"something else")
        self.vmc.good("cp", str(source), f"{VM}:{there}/copy")
        self.assertEqual(self.digest(there / "copy"), self.digest(source))

    def test_daemon_restarts(self) -> None:
        """A copy goes on by itself over a daemon that is killed and started."""
        source = self.random_file("source", HUNDRED_MB)
        process = self.vmc.start("cp", str(source), f"{VM}:{self.dir}/copy")
        until(lambda: list(self.dir.glob(".vmcontroller-*.part")), "it has begun")
        self.daemon.kill()
        self.daemon.start()
        out, err = process.communicate(timeout=120)
        self.assertEqual((process.returncode, out, err), (0, b"", b""))
        self.assertEqual(self.digest(self.dir / "copy"), self.digest(source))

    def digest(self, path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()


class EveryCommandTests(LocalCase):
    """A VM's life by the command line alone; the last test looks for what is left out."""

    def test_life(self) -> None:
        """Made, started, paused, saved in a snapshot, restored, stopped, removed."""
        vm = "vmctest-f-life"
        self.assertEqual(json.loads(self.vmc.good("create", vm, "--json")), [True, vm])
        self.assertIn(f"{vm}\tPoweredOff\t-\t\t\n", self.vmc.good("list"))
        self.vmc.good("start", vm)
        self.vmc.good("wait", vm)
        self.assertIn("agent\tup", self.vmc.good("info", vm))
        self.vmc.good("pause", vm)
        self.assertEqual(self.vmc.good("api", "getState", vm), '"Paused"\n')
        self.vmc.good("resume", vm)
        self.vmc.good("reset", vm)
        self.vmc.good("wait", vm)
        self.assertEqual(self.vmc.good("exec", vm, "echo", "well"), "well\n")
        self.vmc.good("stop", vm)
        self.vmc.good("wait", vm, "--state", "poweredoff")
        for name in ("first", "second"):
            self.vmc.good("snapshot", "take", vm, name, "-d", f"the {name}")
        self.assertRegex(
            self.vmc.good("snapshot", "list", vm),
            r"(?s)^first\t.*\nsecond\t.*\*\tthe second\tfirst\n$",
        )
        shown = self.vmc.terminal("snapshot", "list", vm, "--no-color").end()[1].decode()
        self.assertRegex(shown, r"(?s)NAME.*\r\nfirst .*\r\n└─ second ")
        self.vmc.good("snapshot", "restore", vm, "first")
        self.vmc.good("snapshot", "delete", vm, "first")
        self.vmc.good("start", vm)
        done = self.vmc.run("save", vm)
        self.assertIn(done.returncode, {0, 1})
        if done.returncode:
            self.assertRegex(done.stderr, b"^UNSUPPORTED: ")
        self.vmc.good("remove", "--now", vm)
        done = self.vmc.run("info", vm)
        self.assertEqual((done.returncode, done.stdout), (5, b""))
        self.assertRegex(done.stderr, b"^NO_SUCH_VM: ")

    def test_commands(self) -> None:
        """Begun, listed with what it uses, signalled, looked at, forgotten."""
        script = "echo out; echo err >&2; exec sleep 100"
        cmd_id = self.vmc.good("exec", "--detach", VM, "--", "sh", "-c", script).strip()
        fields = until(
            lambda: [
                line.split("\t")
                for line in self.vmc.good("ps", VM).splitlines()
                if line.startswith(cmd_id) and "\trunning\t" in line and line.split("\t")[5]
            ],
            "it runs, and uses something",
        )[0]
        self.assertEqual(fields[1], VM)
        self.assertGreater(int(fields[5]), 100_000)
        self.vmc.good("kill", "-s", "USR1", cmd_id)
        facts = self.vmc.good("results", "--wait", cmd_id)
        self.assertIn(f"signal\t{int(signal.SIGUSR1)}\n", facts)
        self.assertEqual(self.vmc.good("output", cmd_id), "out\n")
        self.assertEqual(self.vmc.good("output", "--stderr", "-f", cmd_id), "err\n")
        self.vmc.good("results", "--forget", cmd_id)
        self.assertEqual(self.vmc.run("results", cmd_id).returncode, 5)

    def test_events(self) -> None:
        """They are told as they happen."""
        with self.vmc.start("events", "-f", "--json", "--vm", VM, "--kind", "vm-*") as process:
            first = until(lambda: self.paused_event(process), "an event comes")
            process.terminate()
            process.communicate()
        self.assertEqual((first["kind"], first["vm"]), ("vm-state", VM))
        self.assertIn("\tvm-state\t", self.vmc.good("events", "--kind", "vm-state"))
        shown = self.vmc.terminal("events").end()[1]
        self.assertIn(b"vm-state", shown)

    def paused_event(self, process) -> dict | None:
        """Let something happen; return the next event, if it was seen."""
        self.vmc.good("pause", VM)
        self.vmc.good("resume", VM)
        os.set_blocking(process.stdout.fileno(), False)
        line = process.stdout.readline()
        return json.loads(line) if line else None

    def test_tasks(self) -> None:
        """A call that goes on by itself, waited for."""
        task = self.vmc.good("tasks", "submit", "getState", VM).strip()
        self.assertEqual(self.vmc.good("tasks", "wait", task), '"Running"\n')
        self.assertIn(task, self.vmc.good("tasks"))
        self.assertIn("state\tdone", self.vmc.good("tasks", "show", task))
        done = self.vmc.run("tasks", "submit", "getState", "1", "2")
        self.assertEqual((done.returncode, done.stderr[:14]), (2, b"BAD_ARGUMENT: "))

    def test_screen(self) -> None:
        """A process has no screen, and that is said; its console is its agent's log."""
        done = self.vmc.run("screenshot", VM, str(self.dir / "png"))
        self.assertEqual((done.returncode, done.stderr[:13]), (1, b"UNSUPPORTED: "))
        self.assertEqual(os.listdir(self.dir), [])
        self.assertIn("session", self.vmc.good("console", VM))
        self.assertIn("kind\tnone", self.vmc.good("display", VM))

    def test_the_rest(self) -> None:
        """Who one is, and the shell's help: bash completes commands and names of VMs."""
        self.assertIn("roles\t", self.vmc.good("whoami"))
        script = self.vmc.good("completion", "bash")
        self.assertIn("_VMCONTROLLER_COMPLETE=bash_complete", script)
        completing = CommandLine(
            self.vmc.environment["VMCONTROLLER_URL"],
            _VMCONTROLLER_COMPLETE="bash_complete",
            COMP_WORDS="vmcontroller stop vmctest",
            COMP_CWORD="2",
        )
        self.assertEqual(completing.run().stdout, f"plain,{VM}\n".encode())

    def test_with_bare_python(self) -> None:
        """The start is quick: --help imports neither the client nor rich."""
        script = (
            "import sys; from vmcontroller.client.cli.main import run, Session\n"
            "run(Session(), ['--help'])\n"
            "print([name for name in ('rich', 'xmlrpc.client', 'http.client', 'asyncio', 'twisted')"
            " if name in sys.modules])"
        )
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, check=True, text=True
        )
        self.assertEqual(done.stdout.splitlines()[-1], "[]")

    def test_z_none_is_left_out(self) -> None:
        """Every command of the list was run by the tests of this module."""
        self.assertEqual(set(COMMANDS) - CommandLine.ran, set())
