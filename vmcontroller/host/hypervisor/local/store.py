"""What must survive of local VMs, on disk: a directory each. Blocks; called in threads.

STATE_DIR/local/UUID/vm.json      name, MAC address, description
                     root/        where the agent and its commands work
                     guest.yaml   the agent's configuration, written at each start
                     agent.env    where the broker is and what to log in with, for its agent only
                     agent.log    what it logs
                     agent.json   its pid and when that process was made, while it runs
"""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import yaml

from vmcontroller.common.credentials import Credential
from vmcontroller.common.environment import (
    BROKER_VARIABLE,
    CREDENTIAL_VARIABLE,
    parse_environment,
)
from vmcontroller.common.errors import BadImage, HypervisorError, NoSuchImage, VMExists
from vmcontroller.common.model import guest_id
from vmcontroller.host.hypervisor.base import AgentAddress


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalVm:
    """A local VM's lasting facts."""

    uuid: str
    name: str
    mac: str
    home: Path
    description: str = ""

    @property
    def root(self) -> Path:
        """The directory it works in."""
        return self.home / "root"


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentProcess:
    """A process, told from a later one of the same pid by when it was made."""

    pid: int
    made_s: float
    """Seconds since 1970, as psutil's create_time."""


class LocalStore:
    """The directories below STATE_DIR/local."""

    def __init__(self, state_dir: str) -> None:
        self._home = Path(state_dir) / "local"

    def all(self) -> list[LocalVm]:
        """Return every VM; what a crash left of a half-made or half-removed one is cleared."""
        self._home.mkdir(mode=0o700, parents=True, exist_ok=True)
        vms = []
        for home in sorted(self._home.iterdir()):
            if home.suffix in {".new", ".gone"}:
                shutil.rmtree(home, ignore_errors=True)
            elif (home / "vm.json").is_file():
                vms.append(_read(home))
        return vms

    def create(self, name: str, image: str, *, uuid: str = "", description: str = "") -> LocalVm:
        """Make a VM's directory, from `image` where that is not empty; all or nothing.

        An empty `uuid` is chosen here.

        Raises VMExists, NoSuchImage and BadImage.
        """
        others = self.all()
        if any(vm.name == name for vm in others):
            raise VMExists(name)
        uuid = uuid or str(uuid4())
        new = self._home / f"{uuid}.new"
        try:
            new.mkdir(mode=0o700)
            _copy(image, new / "root")
            mac = _free_mac({vm.mac for vm in others})
            record = {"name": name, "mac": mac, "description": description}
            (new / "vm.json").write_text(json.dumps(record), encoding="utf-8")
            new.rename(self._home / uuid)
        except OSError as error:
            shutil.rmtree(new, ignore_errors=True)
            raise HypervisorError("local", f"cannot make {name!r}: {error}") from error
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise
        return _read(self._home / uuid)

    def remove(self, vm: LocalVm) -> None:
        """Remove a VM's directory; the image it was made from is not touched."""
        gone = vm.home.with_suffix(".gone")
        vm.home.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def read_process(vm: LocalVm) -> AgentProcess | None:
    """Return which process the VM's agent was started as, if it was not stopped since."""
    try:
        record = json.loads((vm.home / "agent.json").read_text(encoding="utf-8"))
        return AgentProcess(pid=record["pid"], made_s=record["made"])
    except (OSError, ValueError, KeyError):
        return None


def write_process(vm: LocalVm, process: AgentProcess | None) -> None:
    """Note the agent's process, or that there is none."""
    path = vm.home / "agent.json"
    if process is None:
        path.unlink(missing_ok=True)
        return
    new = path.with_suffix(".new")
    new.write_text(json.dumps({"pid": process.pid, "made": process.made_s}), encoding="utf-8")
    new.rename(path)


def write_agent_config(vm: LocalVm) -> None:
    """Tell the agent who it is, and where it reads the rest."""
    config = {
        "vm": {"id": vm.mac, "environment_file": str(vm.home / "agent.env"), "channel": "none"},
        "state_dir": str(vm.home / "state"),
    }
    (vm.home / "guest.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def write_environment(vm: LocalVm, address: AgentAddress) -> str:
    """Tell the agent where the broker is, and what to log in with. Returns the login, or ''."""
    host = "127.0.0.1" if "127.0.0.1" in address.hosts else next(iter(address.hosts), "127.0.0.1")
    told = {
        BROKER_VARIABLE: f"[{host}]:{address.port}" if ":" in host else f"{host}:{address.port}"
    }
    if address.credential is not None:
        told[CREDENTIAL_VARIABLE] = address.credential.written
    _write_environment(vm, told)
    return address.credential.login if address.credential is not None else ""


def write_credential(vm: LocalVm, credential: Credential) -> None:
    """Tell the agent what to log in with from its next attempt on."""
    _write_environment(vm, {**_environment(vm), CREDENTIAL_VARIABLE: credential.written})


def told_login(vm: LocalVm) -> str:
    """Return the login that the agent is told; empty when it is told none."""
    return _environment(vm).get(CREDENTIAL_VARIABLE, "").partition(":")[0]


def _environment(vm: LocalVm) -> dict[str, str]:
    try:
        text = (vm.home / "agent.env").read_text(encoding="utf-8")
    except OSError:
        return {}
    return dict(parse_environment(text))


def _write_environment(vm: LocalVm, told: Mapping[str, str]) -> None:
    new = vm.home / "agent.env.new"
    new.unlink(missing_ok=True)
    text = "".join(f"{name}={value}\n" for name, value in told.items())
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    new.rename(vm.home / "agent.env")


def _read(home: Path) -> LocalVm:
    record = json.loads((home / "vm.json").read_text(encoding="utf-8"))
    return LocalVm(
        uuid=home.name,
        name=record["name"],
        mac=record["mac"],
        home=home,
        description=record.get("description", ""),
    )


def _copy(image: str, root: Path) -> None:
    if not image:
        root.mkdir()
        return
    if not os.path.lexists(image):
        raise NoSuchImage(image, "there is no such directory")
    if not Path(image).is_dir():
        raise BadImage(image, "the image of a local VM is a directory (or '')")
    try:
        shutil.copytree(image, root, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise NoSuchImage(image, f"cannot be copied: {error}") from error


def _free_mac(taken: set[str]) -> str:
    """Return an address of the range that QEMU's users have (52:54:00), not taken here."""
    while True:
        octets = [0x52, 0x54, 0x00, *random.SystemRandom().randbytes(3)]
        mac = guest_id(":".join(f"{octet:02x}" for octet in octets))
        if mac not in taken:
            return mac
