"""What a guest must do with commands that run, and with trees of files, whatever runs the guest."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import xmlrpc.client
from pathlib import Path
from typing import Any, ClassVar

from tests.integration.daemon import DEADLINE_S, Daemon, until

SIGKILL, SIGTERM = 9, 15


class WorkContract:
    """A mixin; `daemon`, `vm` and `scratch` (a directory in the guest) come from the case."""

    daemon: ClassVar[Daemon]
    vm: ClassVar[str]
    scratch: ClassVar[str]

    def begin(self, *words: str, **options: Any) -> str:
        """Begin a command; return its id."""
        cmd, *args = words
        cmd_id: str = self.daemon.api.runCmd(self.vm, cmd, args, {}, "", "", options)
        return cmd_id

    def shell(self, script: str) -> str:
        """Return what a script prints."""
        out: str = self.daemon.run(self.vm, "sh", "-c", script)["out"]
        return out

    def alive(self, pid: str) -> bool:
        """Tell whether the guest has this process, and it is no zombie."""
        state = self.shell(f"cut -d' ' -f3 /proc/{pid}/stat 2>/dev/null || echo none")
        return state.strip() not in {"none", "Z"}

    def printed_number(self, cmd_id: str) -> str:
        """Return the line that a command begins with."""
        out = until(lambda: self.daemon.output(cmd_id, "stdout"), "it has printed")
        return str(out.decode().split()[0])

    # Streams.

    def test_output_streams(self) -> None:
        """What a command prints can be read while it runs; a long poll answers as it comes."""
        api = self.daemon.api
        cmd_id = self.begin("cat", stdinOpen=True)
        for piece, before in ((b"one", b""), (b"two\x00\xff", b"one")):
            api.sendCmdStdin(cmd_id, xmlrpc.client.Binary(piece))
            found = b""
            while found != piece:
                more = api.getCmdOutput(cmd_id, "stdout", len(before + found), 65536, DEADLINE_S)
                self.assertTrue(more.data, "a long poll answers early only with something")
                found += more.data
        self.assertEqual(api.getCmdResults(cmd_id)["state"], "running")
        api.closeCmdStdin(cmd_id)
        self.assertEqual(api.getCmdOutput(cmd_id, "stdout", 8, 65536, DEADLINE_S).data, b"")
        result = api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((result["state"], result["exitCodeOrSignal"]), ("ended", 0))
        self.assertEqual(result["outBytes"], 8)

    def test_output_that_is_cut(self) -> None:
        """What is beyond the limit is said to be missing; the command is not stopped by it."""
        result = self.daemon.run(
            self.vm, "sh", "-c", "head -c 200000 /dev/zero; echo end >&2; exit 3", outputLimit=1000
        )
        self.assertEqual((result["outBytes"], result["truncated"]), (1000, True))
        self.assertEqual((result["err"], result["exitCodeOrSignal"]), ("end\n", 3))

    def test_stdin_from_the_host(self) -> None:
        """A file of the host, however large, is streamed to a command."""
        source = self.daemon.exchange / "stdin"
        source.write_bytes(os.urandom(3_000_001))
        cmd_id = self.begin("sha256sum", stdinFromHost=str(source))
        result = self.daemon.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual(result["out"].split()[0], self.digest(source))

    def digest(self, path: Path) -> str:
        """Return the SHA-256 of a file of the host."""
        return hashlib.sha256(path.read_bytes()).hexdigest()

    # Ends.

    def test_killed_with_all_it_started(self) -> None:
        """A signal reaches what a command has started, also what has left its session."""
        cmd_id = self.begin("sh", "-c", "setsid sleep 4711 & echo $!; sleep 4712")
        child = self.printed_number(cmd_id)
        self.assertTrue(self.alive(child))
        self.daemon.api.killCmd(cmd_id)
        result = self.daemon.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((result["finished"], result["exitCodeOrSignal"]), (False, SIGTERM))
        until(lambda: not self.alive(child), "what it had started is gone")

    def test_signals_have_names(self) -> None:
        """Any of the usual signals can be sent; an unknown one is a Fault that lists them."""
        api = self.daemon.api
        cmd_id = self.begin("sh", "-c", "trap 'echo caught; exit 5' USR1; echo; sleep 100 & wait")
        until(lambda: self.daemon.output(cmd_id, "stdout"), "it listens")
        with self.assertRaises(xmlrpc.client.Fault) as caught:
            api.killCmd(cmd_id, "NONSENSE")
        self.assertIn("TERM", caught.exception.faultString)
        api.killCmd(cmd_id, "USR1")
        result = api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual((result["out"], result["exitCodeOrSignal"]), ("\ncaught\n", 5))

    def test_time_limit(self) -> None:
        """It is enforced in the guest: TERM, then KILL, for all that the command has started."""
        script = (
            "trap '' TERM; sh -c \"trap '' TERM; sleep 4711\" & echo $!; sleep 4712; sleep 4713"
        )
        cmd_id = self.begin("sh", "-c", script, timeout=1, killAfter=1)
        child = self.printed_number(cmd_id)
        result = self.daemon.api.waitCmd(cmd_id, DEADLINE_S)
        self.assertEqual(
            (result["timedOut"], result["finished"], result["exitCodeOrSignal"]),
            (True, False, SIGKILL),
        )
        until(lambda: not self.alive(child), "what it had started is gone")

    # How it runs.

    def test_how_it_runs(self) -> None:
        """Environment, umask and niceness are as they were asked for."""
        script = "env; umask; cut -d' ' -f19 /proc/self/stat"
        cmd_id = self.daemon.api.runCmd(
            self.vm,
            "/bin/sh",
            ["-c", script],
            {"ONLY": "this", "PATH": "/usr/bin:/bin"},
            "",
            "",
            {"replaceEnv": True, "umask": 0o027, "nice": 7},
        )
        lines = self.daemon.api.waitCmd(cmd_id, DEADLINE_S)["out"].split("\n")
        self.assertIn("ONLY=this", lines)
        self.assertFalse([line for line in lines if line.startswith("HOME=")])
        self.assertEqual(lines[-3:], ["0027", "7", ""])

    def test_what_it_uses(self) -> None:
        """While it runs: processor time that grows, memory, processes, all at most a second old."""
        api = self.daemon.api
        cmd_id = self.begin("sh", "-c", "sleep 4711 & while :; do :; done")

        def usage() -> dict[str, Any]:
            details = api.getCmdDetails(cmd_id)
            # A second, and what the answer itself may take on a slow machine.
            self.assertLessEqual(details.get("usageAge", 0), 1.0 + 2.0)
            found: dict[str, Any] = details.get("usage", {})
            return found

        until(lambda: usage().get("processes", 0) >= 2, "both processes are counted")
        first = usage()["user_s"]
        until(lambda: usage()["user_s"] > first, "its time grows")
        self.assertGreater(usage()["memory_kib"], 100)
        self.assertGreaterEqual(usage()["memory_peak_kib"], usage()["memory_kib"] * 0.5)
        api.killCmd(cmd_id, "KILL")
        result = api.waitCmd(cmd_id, DEADLINE_S)
        self.assertGreater(result["resources"]["ru_utime"], 0)

    def test_resources_of_the_tree(self) -> None:
        """The time of a child that nobody waits for counts, and that of others does not."""
        burn = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done"
        # The burning process is orphaned: its parent ends first.
        script = f"(sh -c '{burn}; echo done' &) ; exec sleep 0"
        result = self.daemon.run(self.vm, "sh", "-c", script)
        self.assertEqual(result["exitCodeOrSignal"], 0)
        result = self.daemon.run(self.vm, "sh", "-c", f"(sh -c '{burn}'; echo) | cat")
        self.assertGreater(result["resources"]["ru_utime"], 0.01)

    def test_on_all(self) -> None:
        """One call runs a command in every guest that a pattern names, and gathers the results."""
        api = self.daemon.api
        begun = api.runCmdOnAll([self.vm], "echo", ["to all"])
        self.assertEqual(list(begun["commands"]), [self.vm], begun)
        results = api.waitCmdOnAll(begun["batch"], DEADLINE_S)
        self.assertEqual(results[self.vm]["out"], "to all\n")

    # Files.

    def make_tree(self, root: Path) -> None:
        """Make a directory with all that a copy keeps."""
        shutil.rmtree(root, ignore_errors=True)
        (root / "deep" / "er").mkdir(parents=True)
        (root / "empty").mkdir(mode=0o750)
        (root / "deep" / "er" / "data").write_bytes(os.urandom(700_000))
        (root / "script").write_text("#!/bin/sh\n")
        (root / "script").chmod(0o755)
        (root / "nothing").touch()
        os.utime(root / "nothing", ns=(10**18, 10**18 + 123_456_789))
        (root / "deep" / "link").symlink_to("../script")
        (root / os.fsdecode(b"odd \xff\n'name")).write_text("odd")

    def seen(self, root: Path) -> dict[str, tuple[Any, ...]]:
        """Return what is in a directory: kinds, modes, times, contents."""
        found: dict[str, tuple[Any, ...]] = {}
        for path in sorted(root.rglob("*")):
            info = path.lstat()
            name = str(path.relative_to(root))
            if path.is_symlink():
                found[name] = ("link", os.readlink(path))
            elif path.is_dir():
                found[name] = ("directory", stat.S_IMODE(info.st_mode))
            else:
                mode = stat.S_IMODE(info.st_mode)
                found[name] = ("file", mode, info.st_mtime_ns, path.read_bytes())
        return found

    def test_tree_goes_and_comes_back(self) -> None:
        """A directory with links, empty ones and odd names is the same after both ways."""
        root, back = self.daemon.exchange / "tree", self.daemon.exchange / "tree back"
        self.make_tree(root)
        shutil.rmtree(back, ignore_errors=True)
        there = f"{self.scratch}/tree-there"
        self.daemon.run(self.vm, "rm", "-rf", there)
        api, recursive = self.daemon.api, {"recursive": True}
        self.assertEqual(api.cpFileToVM(self.vm, str(root), there, recursive), ["", "", 0])
        self.assertEqual(api.cpFileFromVM(self.vm, there, str(back), recursive), ["", "", 0])
        self.assertEqual(self.seen(back), self.seen(root))

    def test_tree_that_leads_out(self) -> None:
        """A link that leads out of the tree, and a socket or device in it, are refused by name."""
        there = f"{self.scratch}/tree-bad"
        for make in ("ln -s /etc/passwd bad", "ln -s ../../x bad", "mkfifo bad"):
            self.shell(f"rm -rf {there}; mkdir {there}; cd {there}; {make}")
            with self.assertRaises(xmlrpc.client.Fault) as caught:
                self.daemon.api.cpFileFromVM(self.vm, there, "bad", {"recursive": True})
            self.assertIn("bad", caught.exception.faultString)
            self.assertFalse((self.daemon.exchange / "bad").exists())

    def test_sparse_file(self) -> None:
        """A hole stays a hole, both ways, and the octets around it are the same."""
        source, back = self.daemon.exchange / "sparse", self.daemon.exchange / "sparse back"
        with source.open("wb") as file:
            file.write(b"begin")
            file.seek(40 * 2**20)
            file.write(b"middle")
            file.truncate(50 * 2**20)
        there = f"{self.scratch}/sparse-there"
        self.daemon.api.cpFileToVM(self.vm, str(source), there)
        self.assertLess(int(self.shell(f"du -k {there} | cut -f1")), 2048)
        self.daemon.api.cpFileFromVM(self.vm, there, str(back))
        self.assertLess(back.stat().st_blocks * 512, 2 * 2**20)
        self.assertEqual(self.digest(back), self.digest(source))
        self.daemon.run(self.vm, "rm", there)

    def test_copies_are_listed(self) -> None:
        """Each copy has a record, also when it has ended: what, how much, how fast, and how."""
        source = self.daemon.exchange / "listed"
        source.write_bytes(os.urandom(300_000))
        self.daemon.api.cpFileToVM(self.vm, str(source), f"{self.scratch}/listed")
        listed = [
            copy
            for copy in self.daemon.api.listTransfers(self.vm)
            if copy["remotePath"].endswith("/listed")
        ]
        self.assertEqual(listed[-1]["state"], "done", listed)
        self.assertEqual((listed[-1]["bytes"], listed[-1]["size"]), (300_000, 300_000))
        self.assertGreater(listed[-1]["rate"], 0)
        self.assertEqual(self.daemon.api.getTransfer(listed[-1]["id"]), listed[-1])
