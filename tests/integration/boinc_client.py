"""Plays BOINC's client: a slot, its channels in a mapped file, and the wrapper as a process."""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.integration.daemon import DEADLINE_S, until

CHANNEL_BYTES = 1024
REQUEST, HEARTBEAT, APP_STATUS = 0, 4, 5
"""Channels, by their order in BOINC's struct SHARED_MEM."""


class BoincClient:
    """One job of BOINC's in one slot, as its client sees it."""

    def __init__(self, slot: Path, url: str, job: str, files: Mapping[str, str]) -> None:
        slot.mkdir()
        self.slot = slot
        self.url = url
        self.project = slot.with_name(f"{slot.name}-project")
        self.project.mkdir()
        (slot / "job.xml").write_text(job)
        for name, text in files.items():
            self.link(name).write_text(text)
        self.process: subprocess.Popen[bytes] | None = None
        self._map: mmap.mmap | None = None
        self.seen: list[dict[str, float]] = []

    def link(self, name: str) -> Path:
        """Make a soft link of the slot to a file of the project; return that file's path."""
        physical = self.project / f"physical_{name}"
        text = f"<soft_link>../{self.project.name}/{physical.name}</soft_link>\n"
        (self.slot / name).write_text(text)
        return physical

    def init_data(self, **more: object) -> None:
        told = {
            "result_name": self.slot.name,
            "shm_key": -1,
            "client_pid": os.getpid(),
            "checkpoint_period": 300.0,
            "fraction_done_start": 0.0,
            "fraction_done_end": 1.0,
            "ncpus": 2.0,
        } | more
        tags = "".join(f"<{name}>{value}</{name}>\n" for name, value in told.items())
        (self.slot / "init_data.xml").write_text(f"<app_init_data>\n{tags}</app_init_data>\n")

    def start(self, *options: str, **told: object) -> None:
        """Begin an episode: fresh channels, and the wrapper as a child."""
        self.init_data(**told)
        for name in ("boinc_finish_called", "boinc_temporary_exit"):
            (self.slot / name).unlink(missing_ok=True)
        self.stop_map()
        path = self.slot / "boinc_mmap_file"
        path.write_bytes(bytes(8 * CHANNEL_BYTES))
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 8 * CHANNEL_BYTES)
        command = [sys.executable, "-m", "vmcontroller.client.boinc", "--url", self.url, *options]
        self.process = subprocess.Popen(command, cwd=self.slot)

    def stop_map(self) -> None:
        if self._map is not None:
            self._map.close()
            self._map = None

    def say(self, message: str) -> None:
        """Send <suspend/> and the like; wait until the wrapper has taken it."""
        assert self._map is not None
        buffer = self._map
        until(lambda: buffer[0] == 0, "the request before was taken")
        buffer[1 : len(message) + 2] = message.encode() + b"\0"
        buffer[0] = 1
        until(lambda: buffer[0] == 0 or not self.runs, f"{message} was taken")

    def status(self) -> dict[str, float] | None:
        """Take the status message, if there is one."""
        assert self._map is not None
        start = APP_STATUS * CHANNEL_BYTES
        if not self._map[start]:
            return None
        text = self._map[start + 1 : start + CHANNEL_BYTES].partition(b"\0")[0].decode()
        self._map[start] = 0
        found = {name: float(value) for name, value in re.findall(r"<(\w+)>([^<]*)</\1>", text)}
        self.seen.append(found)
        return found

    def until_status(self, wanted: Any, what: str) -> dict[str, float]:
        """Return the first status that is as wanted."""
        found = until(lambda: (s := self.status()) and wanted(s) and s, what, 3 * DEADLINE_S)
        assert isinstance(found, dict)
        return found

    @property
    def runs(self) -> bool:
        assert self.process is not None
        return self.process.poll() is None

    def wait(self, deadline_s: float = 3 * DEADLINE_S) -> int:
        """Return the wrapper's exit code; take what it says meanwhile."""
        assert self.process is not None
        deadline = time.monotonic() + deadline_s
        while self.runs:
            self.status()
            assert time.monotonic() < deadline, self.stderr()
            time.sleep(0.05)
        self.status()
        return self.process.returncode

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stderr(self) -> str:
        return (self.slot / "stderr.txt").read_text()

    def finished(self) -> str:
        """Return the file that says that the job is done; '' when there is none."""
        path = self.slot / "boinc_finish_called"
        return path.read_text() if path.exists() else ""

    def later(self) -> str:
        """Return the file that says when to start it again; '' when there is none."""
        path = self.slot / "boinc_temporary_exit"
        return path.read_text() if path.exists() else ""

    def progress(self) -> dict[str, Any]:
        """Return what the wrapper has written down; empty when it has not."""
        path = self.slot / "vmcontroller_boinc.json"
        answer: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
        return answer

    def close(self) -> None:
        if self.process is not None and self.runs:
            self.kill()
            sys.stderr.write(self.stderr())  # a test that was over would not have left it running
        self.stop_map()
        shutil.rmtree(self.slot, ignore_errors=True)
        shutil.rmtree(self.project, ignore_errors=True)
