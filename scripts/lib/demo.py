"""The demo's client: starts the daemon and walks one VM from createVM to removeVM over XML-RPC."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import os
import shutil
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from demo_place import DemoFailed, Place
from demo_signals import Interrupted, Signals

VM = "vmcontroller-demo"
COPY_BYTES = 20_000_000
BOOT_DEADLINE_S = 300
CLEAN_UP_S = 20
PLACES = {
    "libvirt": Path("/var/lib/vmcontroller-demo"),
    "local": Path(__file__).resolve().parents[2] / ".cache" / "vmcontroller-demo-local",
}


def main() -> int:
    """Run the demo; return the exit status."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--hypervisor", choices=tuple(PLACES), default="libvirt")
    parser.add_argument("--image", type=Path, help="the guest's disk (libvirt)")
    parser.add_argument("--keep", action="store_true")
    demo = Demo(parser.parse_args(), Signals())
    try:
        demo.run()
    except (DemoFailed, xmlrpc.client.Fault, OSError, subprocess.SubprocessError) as error:
        demo.status = 1
        demo.explain_failure(error)
    except Interrupted as interrupted:
        demo.status = interrupted.status
        with contextlib.suppress(OSError):
            print(f"\nInterrupted at: {demo.step}", flush=True)
    finally:
        demo.clean_up()
    return demo.status


class Demo:
    """The steps, and what has to be cleaned up after them."""

    def __init__(self, arguments: argparse.Namespace, signals: Signals) -> None:
        self.arguments = arguments
        self.signals = signals
        self.step = "preparing"
        self.status = 0
        self.good = False
        self.vm_may_exist = False
        self.place = Place(PLACES[arguments.hypervisor])
        self.daemon: subprocess.Popen[bytes] | None = None
        self.url = ""
        self.api: Any = None

    def run(self) -> None:
        """Walk through all steps."""
        started = time.monotonic()
        self.clear_away_earlier()
        self.start_daemon()
        self.remove_vm_of_earlier()
        image = self.prepare_image()
        self.vm_may_exist = True
        with self.doing(f"createVM {VM!r}"), self.signals.held():
            self.api.createVM(VM, image)
        with self.doing("start"), self.signals.held():
            self.api.start(VM)
        self.wait_for_agent()
        with self.doing("ping"):
            self.said(self.api.ping(VM, 10))
        self.run_command()
        self.copy_in_and_out()
        if self.arguments.keep:
            self.good = True
            self.explain()
            return
        with self.doing("shutdown (the guest is asked to power off)"):
            self.api.shutdown(VM)
        with self.doing("removeVM"), self.signals.held():
            self.api.removeVM(VM)
        self.good = True
        print(f"\nAll of it worked, in {time.monotonic() - started:.0f} s.")

    @contextlib.contextmanager
    def doing(self, step: str) -> Iterator[None]:
        """Print a step, and how long it took."""
        self.step = step
        print(f"{step} …", flush=True)
        started = time.monotonic()
        yield
        print(f"    done in {time.monotonic() - started:.2f} s", flush=True)

    def said(self, text: str) -> None:
        """Print what came back."""
        for line in text.rstrip("\n").split("\n"):
            print(f"    {line}", flush=True)

    def clear_away_earlier(self) -> None:
        """Stop the daemon of a demo that was killed, or kept."""
        self.place.take()
        self.vm_may_exist = self.place.exchange.exists()
        if self.place.daemons():
            with self.doing("stopping the daemon of an earlier demo"):
                self.place.stop_daemons(None)

    def start_daemon(self) -> None:
        """Start vmcontroller-host with a configuration of its own; wait until it answers."""
        port, broker_port = free_ports()
        place = self.place
        place.config.write_text(
            f"xmlrpc: {{port: {port}, anonymous: true, socket: {place.path}/xmlrpc.sock}}\n"
            f"broker: {{port: {broker_port}}}\n"
            f"hypervisor: {{name: {self.arguments.hypervisor}}}\n"
            f"state_dir: {place.path}/state\n"
        )
        with self.doing(f"starting vmcontroller-host, log in {place.log}"):
            program = Path(sys.executable).with_name("vmcontroller-host")
            self.url = f"http://127.0.0.1:{port}/RPC2"
            with place.log.open("wb") as log, self.signals.held():
                self.daemon = subprocess.Popen(
                    [str(program), "-c", str(place.config)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            self.api = xmlrpc.client.ServerProxy(self.url)
            self.await_daemon()

    def await_daemon(self) -> None:
        """Return when the daemon answers."""
        deadline = time.monotonic() + 60
        problem = ""
        while time.monotonic() < deadline:
            if self.daemon is None or self.daemon.poll() is not None:
                raise DemoFailed("vmcontroller-host ended")
            try:
                self.said(f"vmcontroller {self.api.version()}, VMs: {self.api.listVMs()}")
            except (OSError, xmlrpc.client.Fault) as error:
                problem = str(error)
                time.sleep(0.2)
            else:
                return
        raise DemoFailed(f"vmcontroller-host does not answer: {problem}")

    def remove_vm_of_earlier(self) -> None:
        """Remove the VM of a demo that was killed."""
        if VM not in self.api.listVMs():
            return
        with self.doing("removing the VM of an earlier demo"):
            with contextlib.suppress(xmlrpc.client.Fault):  # it is off
                self.api.powerOff(VM)
            self.api.removeVM(VM)

    def prepare_image(self) -> str:
        """Return the image to give to createVM: a disk of the demo's own, or '' for local."""
        if self.arguments.image is None:
            return ""
        disk = self.place.disk
        with self.doing(f"copying the guest's disk to {disk}"):
            shutil.copyfile(self.arguments.image, disk)
        return str(disk)

    def wait_for_agent(self) -> None:
        """Wait for the agent's HELLO with a line that shows it."""
        with self.doing("waiting for the guest to boot and its agent to say HELLO"):
            started = time.monotonic()
            while True:
                waited = time.monotonic() - started
                if sys.stdout.isatty():
                    print(f"\r    {waited:4.0f} s", end="", flush=True)
                try:
                    self.api.ping(VM, 2)
                except xmlrpc.client.Fault as fault:
                    if waited > BOOT_DEADLINE_S:
                        raise DemoFailed(fault.faultString) from fault
                    state = self.api.getState(VM)
                    if state != "Running":
                        raise DemoFailed(f"the VM is {state}") from fault
                    if not sys.stdout.isatty():
                        print(f"    {waited:.0f} s: not yet", flush=True)
                else:
                    break
            if sys.stdout.isatty():
                print()

    def run_command(self) -> None:
        """Run uname in the guest and show the result."""
        with self.doing("runCmd uname -a"):
            result = self.api.waitCmd(self.api.runCmd(VM, "uname", ["-a"]), 60)
            if not (result["finished"] and result["exitCodeOrSignal"] == 0):
                raise DemoFailed(f"uname did not end well: {result}")
            self.said(result["out"])
            used = result["resources"]
            self.said(
                f"exit code {result['exitCodeOrSignal']}, user {used['ru_utime']:.3f} s, "
                f"system {used['ru_stime']:.3f} s, {used['ru_maxrss']} KiB at most"
            )

    def copy_in_and_out(self) -> None:
        """Copy a file into the guest and back, and compare digests."""
        exchange = self.place.exchange
        sent, returned = exchange / "demo-sent", exchange / "demo-returned"
        sent.write_bytes(os.urandom(COPY_BYTES))
        remote = "/tmp/demo-copy" if self.arguments.hypervisor == "libvirt" else "demo-copy"
        try:
            for step, call, source, target in (
                ("cpFileToVM", self.api.cpFileToVM, str(sent), remote),
                ("cpFileFromVM", self.api.cpFileFromVM, remote, str(returned)),
            ):
                with self.doing(f"{step}, {COPY_BYTES // 1_000_000} MB"):
                    started = time.monotonic()
                    call(VM, source, target)
                    rate = COPY_BYTES / 1e6 / (time.monotonic() - started)
                    self.said(f"{rate:.1f} MB/s")
            with self.doing("comparing digests"):
                digests = [sha256(path) for path in (sent, returned)]
                if digests[0] != digests[1]:
                    raise DemoFailed(f"the copies differ: {digests}")
                self.said(f"SHA-256 {digests[0][:16]}… both")
        finally:
            for path in (sent, returned):
                path.unlink(missing_ok=True)

    def explain(self) -> None:
        """Say how to talk to what is left running."""
        print(
            f"\nLeft running: the VM {VM!r} and the daemon (pid {self.place.daemons()[0]}).\n"
            f'  Talk to it:   python3 -c "from xmlrpc.client import ServerProxy;'
            f" print(ServerProxy('{self.url}').help())\"\n"
            f"  Its log:      {self.place.log}\n"
            f"  End it:       scripts/demo --hypervisor {self.arguments.hypervisor}"
            "   (clears away and runs anew)"
        )

    def explain_failure(self, error: Exception) -> None:
        """Say where it stopped and why, and show the end of the daemon's log."""
        text = error.faultString if isinstance(error, xmlrpc.client.Fault) else str(error)
        with contextlib.suppress(OSError):  # whoever was to read it may have gone
            print(f"\nThe demo stopped at: {self.step}\n  {text}")
            if self.daemon is not None:
                print(f"  the daemon's log: {self.place.log}")
                for line in self.place.log.read_text(errors="replace").splitlines()[-12:]:
                    print(f"  | {line}")
            sys.stdout.flush()

    def clean_up(self) -> None:
        """Leave nothing behind but the log of a failure, unless it was asked for."""
        if not self.place.is_taken or (self.arguments.keep and self.good):
            return
        self.signals.ignore()
        problem = "" if self.good else self.remove_vm_quietly()
        self.place.stop_daemons(self.daemon)
        if problem:
            with contextlib.suppress(OSError):
                print(f"  The VM {VM!r} may be left: {problem}. The next demo removes it.")
        elif self.status == 1:
            self.place.disk.unlink(missing_ok=True)
        else:
            self.place.remove()

    def remove_vm_quietly(self) -> str:
        """Remove the VM in whatever state it is. Returns why it may still be there, or ''."""
        if not self.vm_may_exist:
            return ""
        problem = "the daemon does not run"
        socket.setdefaulttimeout(CLEAN_UP_S)
        deadline = time.monotonic() + CLEAN_UP_S
        while (
            self.daemon is not None and self.daemon.poll() is None and time.monotonic() < deadline
        ):
            # Not self.api: a call that was interrupted makes it useless.
            api: Any = xmlrpc.client.ServerProxy(self.url)
            try:
                if VM not in api.listVMs():
                    return ""
                with contextlib.suppress(xmlrpc.client.Fault):  # it is off
                    api.powerOff(VM)
                api.removeVM(VM)
            except (OSError, xmlrpc.client.Error, http.client.HTTPException) as error:
                problem = str(error)
                time.sleep(0.2)
        return problem


def free_ports() -> tuple[int, int]:
    """Return the usual ports where they are free, else others."""
    return free_port(50505), free_port(61613)


def free_port(wanted: int) -> int:
    """Return `wanted` where it is free, else another."""
    for port in (wanted, 0):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(("", port))
            return int(probe.getsockname()[1])
    raise DemoFailed("no free TCP port")


def sha256(path: Path) -> str:
    """Return a file's digest."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    sys.exit(main())
