"""The command line at work in a real guest: from nothing to a command's output in a VM, and on.

The guest's image is that of scripts/guest-image; its userland is busybox's, or Debian's.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import random
import re
import shutil
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.client.process import CommandLine
from tests.integration.daemon import Daemon, free_port, readable_dir, until

VM = "vmctest-f"
TEN_MB = 10_000_000
HUNDRED_MB = 100_000_000

_running: list[Daemon] = []


def running() -> Daemon:
    """Return one daemon with one guest that is up, for all tests of this module."""
    if not _running:
        daemon = Daemon(
            "libvirt",
            config="guests: {stop_timeout: 120}\n",
            broker=f"{{port: {free_port()}}}",
        )
        atexit.register(daemon.stop)
        daemon.start()
        _running.append(daemon)
        disk = daemon.dir / "disk.qcow2"
        shutil.copyfile(Path(os.environ["VMCONTROLLER_TEST_IMAGE"]) / "disk.qcow2", disk)
        vmc = CommandLine(f"unix:{daemon.dir}/xmlrpc.sock")
        vmc.good("create", VM, str(disk), "--memory", "512", "--start")
    return _running[0]


class RealTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.daemon = running()
        self.vmc = CommandLine(f"unix:{self.daemon.dir}/xmlrpc.sock")
        self.dir = readable_dir("vmctest-f-")
        self.addCleanup(shutil.rmtree, self.dir)

    def shell(self, script: str, **more) -> bytes:
        """Return what a script prints in the guest."""
        done = self.vmc.run("exec", VM, "--", "sh", "-c", script, **more)
        self.assertEqual((done.returncode, done.stderr), (0, b""), script)
        return done.stdout

    def random_file(self, name: str, size: int) -> Path:
        path = self.dir / name
        path.write_bytes(random.Random(name).randbytes(size))
        return path

    def digest(self, path: Path) -> str:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def digest_there(self, path: str) -> str:
        return self.shell(f"sha256sum < {path}").split()[0].decode()

    def test_it_is_another_machine(self) -> None:
        """The command runs in the guest, and its status comes back."""
        self.assertNotEqual(
            self.shell("cat /proc/sys/kernel/random/boot_id"),
            Path("/proc/sys/kernel/random/boot_id").read_bytes(),
        )
        self.assertEqual(self.vmc.run("exec", VM, "--", "sh", "-c", "exit 42").returncode, 42)
        self.assertEqual(self.vmc.run("exec", VM, "--", "sh", "-c", "kill -9 $$").returncode, 137)

    def test_exact_bytes(self) -> None:
        """10 MB of random bytes on both streams at once are those that the guest made."""
        made = (
            self.shell(
                f"head -c {TEN_MB} /dev/urandom >/tmp/out; head -c {TEN_MB} /dev/urandom >/tmp/err;"
                "sha256sum /tmp/out /tmp/err | cut -c 1-64"
            )
            .decode()
            .split()
        )
        done = self.vmc.run("exec", VM, "--", "sh", "-c", "cat /tmp/err >&2 & cat /tmp/out; wait")
        found = [hashlib.sha256(data).hexdigest() for data in (done.stdout, done.stderr)]
        self.assertEqual(found, made)
        self.assertEqual(len(done.stdout), TEN_MB)
        back = self.shell("cat; rm /tmp/out /tmp/err", stdin=done.stdout)
        self.assertTrue(back == done.stdout)

    def test_ctrl_c(self) -> None:
        """It reaches what runs in the guest."""
        terminal = self.vmc.terminal(
            "exec", VM, "--", "sh", "-c", "trap 'echo caught; exit 7' INT; echo up; sleep 99 & wait"
        )
        terminal.until(b"up\r\n")
        terminal.type(b"\x03")
        status, shown = terminal.end()
        self.assertEqual((status, b"caught" in shown), (7, True), shown)

    def killed_and_again(self, source: str, target: str, far_enough) -> None:
        """Kill a copy when it is far enough, and do it again."""
        process = self.vmc.start("cp", source, target)
        until(far_enough, "much of it has come")
        process.kill()
        process.communicate()
        self.vmc.good("cp", source, target)

    def test_100_mb_both_ways(self) -> None:
        """Killed on each way, and gone on with: the file is the same in the end, on both sides."""
        source = self.random_file("source", HUNDRED_MB)
        self.shell("mkdir -p /var/tmp/cp && rm -rf /var/tmp/cp/* /var/tmp/cp/.v*")
        self.addCleanup(self.shell, "rm -rf /var/tmp/cp")

        def half_there() -> bool:
            size = self.shell("cat /var/tmp/cp/.v*.part 2>/dev/null | wc -c || echo 0")
            return int(size) > HUNDRED_MB // 3

        self.killed_and_again(str(source), f"{VM}:/var/tmp/cp/copy", half_there)
        self.assertEqual(self.digest_there("/var/tmp/cp/copy"), self.digest(source))
        self.assertEqual(self.shell("ls -A /var/tmp/cp"), b"copy\n")

        def half_here() -> bool:
            return any(
                part.stat().st_size > HUNDRED_MB // 3
                for part in self.dir.glob(".vmcontroller-*.part")
            )

        self.killed_and_again(f"{VM}:/var/tmp/cp/copy", f"{self.dir}/back", half_here)
        self.assertEqual(self.digest(self.dir / "back"), self.digest(source))
        self.assertEqual(sorted(os.listdir(self.dir)), ["back", "source"])
        until(lambda: not json.loads(self.vmc.good("ps", "--json")), "nothing of it runs on")

    def test_trees(self) -> None:
        """A directory goes there and back through the guest's own tar."""
        tree = self.dir / "tree"
        (tree / "deep" / "empty").mkdir(parents=True)
        (tree / "deep" / "file").write_bytes(os.urandom(300_000))
        (tree / "deep" / "script").write_text("#!/bin/sh\n")
        (tree / "deep" / "script").chmod(0o750)
        (tree / "link").symlink_to("deep/file")
        self.vmc.good("cp", "-r", str(tree), f"{VM}:/tmp/tree-there")
        self.addCleanup(self.shell, "rm -rf /tmp/tree-there")
        self.vmc.good("cp", "-r", f"{VM}:/tmp/tree-there", f"{self.dir}/back")
        for name in ("deep/file", "deep/script", "link", "deep/empty"):
            before, after = (tree / name).lstat(), (self.dir / "back" / name).lstat()
            self.assertEqual(before.st_mode, after.st_mode, name)
        self.assertEqual(
            self.digest(self.dir / "back" / "deep" / "file"), self.digest(tree / "deep" / "file")
        )
        self.shell("mkdir /tmp/evil; ln -s /etc /tmp/evil/l")
        self.addCleanup(self.shell, "rm -rf /tmp/evil")
        done = self.vmc.run("cp", "-r", f"{VM}:/tmp/evil", f"{self.dir}/evil")
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, b"^COPY_FAILED: ESCAPES_TREE: ")
        self.assertFalse((self.dir / "evil").exists())

    def test_by_the_daemon(self) -> None:
        """--on-host copies without the bytes passing through this command."""
        source = self.daemon.exchange / "cli"
        source.write_bytes(os.urandom(3_000_000))
        self.vmc.good("cp", "--on-host", "cli", f"{VM}:/tmp/by-daemon")
        self.assertEqual(self.digest_there("/tmp/by-daemon"), self.digest(source))

    def test_what_a_guest_calls_itself(self) -> None:
        """A hostname, a file's name, a command's words of a guest do nothing to a terminal."""
        name = self.shell("hostname").strip().decode()
        evil = "printf 'evil \\033]0;owned\\007\\n' >&2; exit 99"
        cmd_id = self.vmc.good("exec", "-d", VM, "--", "sh", "-c", evil).strip()
        self.vmc.good("results", "--wait", cmd_id)
        for words in (
            ("output", "--stderr", cmd_id),
            ("results", cmd_id),
            ("info", VM),
            ("ps", "-a"),
        ):
            shown = self.vmc.terminal(*words, "--no-color").end()[1]
            self.assertNotIn(b"\x1b]", shown)
            self.assertNotIn(b"\x07", shown)
        self.assertIn(f"hostname\t{name}", self.vmc.good("info", VM))

    def test_figures_and_screen(self) -> None:
        """What it uses, a picture of its screen, its serial console, its display."""
        info = self.vmc.good("info", VM)
        self.assertRegex(info, r"(?m)^memory\t536870912$")
        self.assertRegex(info, r"(?m)^cpu\.time\t[0-9.]+$")
        picture = self.dir / "screen.png"
        self.vmc.good("screenshot", VM, str(picture))
        self.assertEqual(picture.read_bytes()[:8], b"\x89PNG\r\n\x1a\n")
        self.assertIn(b"session with the broker", self.vmc.run("console", VM).stdout)
        shown = self.vmc.terminal("console", VM).end()[1]
        self.assertNotIn(b"\x1b", shown)
        display = json.loads(self.vmc.good("display", VM, "--json"))
        self.assertIn(display["kind"], {"vnc", "spice", "none"})

    def test_ps(self) -> None:
        """What runs there, with the memory it uses there."""
        cmd_id = self.vmc.good("exec", "-d", VM, "sleep", "99").strip()
        rows = until(
            lambda: [
                row
                for row in json.loads(self.vmc.good("ps", VM, "--json"))
                if row["cmd-id"] == cmd_id and row.get("usage")
            ],
            "it is listed with what it uses",
        )
        self.assertGreater(rows[0]["usage"]["memory_kib"], 50)
        self.vmc.good("kill", cmd_id)
        self.assertIn("signal\t15\n", self.vmc.good("results", "--wait", "--forget", cmd_id))

    def test_snapshots(self) -> None:
        """The tree is drawn; a restored VM is what it was, and its agent answers again."""
        self.shell("echo before >/etc/state; sync")
        self.vmc.good("snapshot", "take", VM, "base", "-d", "with a file")
        self.shell("echo after >/etc/state; sync")
        self.vmc.good("snapshot", "take", VM, "later")
        shown = self.vmc.terminal("snapshot", "list", VM, "--no-color").end()[1].decode()
        self.assertTrue(re.search(r"\r\nbase .*with a file *\r\n└─ later ", shown), shown)
        self.vmc.good("snapshot", "restore", VM, "base")
        self.vmc.good("wait", VM)
        self.assertEqual(self.shell("cat /etc/state"), b"before\n")
        for name in ("later", "base"):
            self.vmc.good("snapshot", "delete", VM, name)

    def test_z_stop(self) -> None:
        """The guest is asked to shut down, started again, and its events are told."""
        self.vmc.good("stop", VM)
        self.vmc.good("wait", VM, "--state", "PoweredOff")
        done = self.vmc.run("exec", VM, "true")
        self.assertEqual(done.returncode, 125)
        self.assertRegex(done.stderr, b"^GUEST_UNREACHABLE: ")
        done = self.vmc.run("wait", VM, "--timeout", "1")
        self.assertEqual(done.returncode, 6)
        self.vmc.good("start", "--wait", VM)
        self.assertEqual(self.shell("echo up"), b"up\n")
        kinds = [line.split("\t")[2] for line in self.vmc.good("events", "--vm", VM).splitlines()]
        for kind in ("vm-added", "vm-state", "agent-up", "agent-gone", "command-ended"):
            self.assertIn(kind, kinds)
