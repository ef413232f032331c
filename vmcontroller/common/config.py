"""Every key of host.yaml and guest.yaml, with its default, what is allowed and what it is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from vmcontroller.common import settings
from vmcontroller.common.door_config import ROLES, XmlRpcConfig, check_xmlrpc
from vmcontroller.common.errors import BadArgument, ConfigError
from vmcontroller.common.model import guest_id
from vmcontroller.common.settings import key, section

STOMP_PORT = 61613


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerConfig:
    """`broker` of the host: the STOMP broker between host and guests."""

    name: str = key("morbid", settings.one_of("morbid", "external"), "morbid: the embedded broker")
    host: tuple[str, ...] = key(
        (),
        settings.auto_or_hosts,
        "auto (loopback and the host's address in each guest network), an address, or a list; "
        "of an external broker its one address or name, for this host and for guests",
    )
    port: int = key(STOMP_PORT, settings.whole(0, 65535), "its TCP port; 0 takes a free one")
    tls_port: int = key(
        0, settings.whole(0, 65535), "another TCP port of the embedded broker, for TLS; 0 is none"
    )
    tls_certificate: str = key("", settings.path_or_empty, "its certificate and chain, a PEM file")
    tls_key: str = key("", settings.path_or_empty, "the key of that, a PEM file")
    socket: str = key("", settings.path_or_empty, "a Unix socket of the embedded broker, mode 0660")
    tls: bool = key(False, settings.truth, "reach the external broker over TLS")
    tls_ca: str = key(
        "", settings.path_or_empty, "whom to trust then, a PEM file; empty: whom the system trusts"
    )
    username: str = key("", settings.text, "what the host logs in with at an external broker")
    password: str = key("", settings.text, "and its password")
    guest_username: str = key(
        "",
        settings.login,
        "what guests are told to log in with at an external broker; empty: guest.yaml says it",
    )
    guest_password: str = key("", settings.passcode, "and its password")
    monitor_username: str = key(
        "",
        settings.login,
        "who may hear /topic/vmcontroller_events at the embedded broker; empty: nobody",
    )
    monitor_password: str = key("", settings.passcode, "and its password")

    @property
    def is_external(self) -> bool:
        """Whether the broker is somebody else's."""
        return self.name == "external"


@dataclass(frozen=True, slots=True, kw_only=True)
class HypervisorConfig:
    """`hypervisor`: what runs the virtual machines."""

    name: str = key("libvirt", settings.one_of("libvirt", "local"), "the backend")
    uri: str = key("qemu:///system", settings.filled_text, "libvirt's connection URI")
    accelerator: Literal["auto", "kvm", "tcg"] = key(
        "auto",
        settings.one_of("auto", "kvm", "tcg"),
        "auto: KVM where a guest really boots under it, else emulation",
    )
    network: str = key("default", settings.filled_text, "libvirt's network for `nat`")
    isolated_network: str = key(
        "vmcontroller-isolated",
        settings.filled_text,
        "libvirt's network for `isolated`, without a way out; made when it is first needed",
    )
    isolated_subnet: str = key(
        "192.168.151.0/24", settings.subnet, "the IPv4 network it is made with"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class VmsConfig:
    """`vms`: what a new virtual machine has, where createVM says nothing else."""

    memory_mib: int = key(512, settings.whole(16, 16 * 2**20), "its memory in MiB")
    vcpus: int = key(1, settings.whole(1, 512), "its virtual CPUs")
    network: str = key(
        "nat", settings.one_of("nat", "isolated", "bridge", "none"), "the network it is on"
    )
    bridge: str = key("", settings.text, "the host's bridge, of those with network bridge")


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestsConfig:
    """`guests`: what the host expects of agents and guests."""

    gc_grace: float = key(
        30.0, settings.seconds(1, 86400), "a guest unheard for so many seconds is gone"
    )
    stop_timeout: float = key(
        120.0, settings.seconds(1, 86400), "seconds a guest may take to shut down when asked"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class FilesConfig:
    """`files`: what copies may touch on the host."""

    roots: tuple[str, ...] = key(
        (),
        settings.absolute_paths,
        "directories that copies may read and write; STATE_DIR/exchange always is one",
    )
    read_roots: tuple[str, ...] = key(
        (), settings.absolute_paths, "directories that copies may only read"
    )
    role_roots: Mapping[str, tuple[str, ...]] = key(
        MappingProxyType({}),
        settings.paths_of(*ROLES),
        "directories that copies of callers with a role may read and write, too: {role: [paths]}",
    )
    resume_grace: float = key(
        300.0,
        settings.seconds(0, 86400),
        "seconds that a copy waits for a guest that is away, to go on with it",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandsConfig:
    """`commands`: what is kept of commands in guests, and for how long."""

    time_to_live: float = key(
        86400.0, settings.seconds(1, 366 * 86400), "seconds that a result is kept for"
    )
    keep: int = key(
        10_000, settings.whole(1, 1_000_000), "ended commands beyond this number are forgotten"
    )
    output_limit: int = key(
        64 * 2**20,
        settings.whole(0, 2**40),
        "bytes kept of each stream of a command that has no output_limit of its own",
    )
    spool_limit_mib: int = key(
        4096,
        settings.whole(1, 2**30),
        "what the output of all commands may take on the disk, and one guest half of; beyond it "
        "output is cut, and the result says so",
    )
    lost_after: float = key(
        3600.0,
        settings.seconds(1, 366 * 86400),
        "a guest whose VM runs and that is unheard for so many seconds loses its commands",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TasksConfig:
    """`tasks`: calls that go on by themselves."""

    time_to_live: float = key(
        3600.0, settings.seconds(1, 366 * 86400), "seconds that an ended task is kept for"
    )
    keep: int = key(
        1000, settings.whole(1, 100_000), "ended tasks beyond this number are forgotten"
    )
    at_once: int = key(
        200, settings.whole(1, 10_000), "so many run at once, and of one caller half of these"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StatsConfig:
    """`stats`: the figures of VMs and what is kept of them."""

    interval: float = key(
        10.0, settings.seconds(1, 3600), "seconds between two readings of all VMs' figures"
    )
    keep: int = key(
        360, settings.whole(1, 100_000), "so many values are kept of each figure, of 8 bytes each"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class HostConfig:
    """host.yaml."""

    xmlrpc: XmlRpcConfig = section(XmlRpcConfig)
    broker: BrokerConfig = section(BrokerConfig)
    hypervisor: HypervisorConfig = section(HypervisorConfig)
    vms: VmsConfig = section(VmsConfig)
    guests: GuestsConfig = section(GuestsConfig)
    files: FilesConfig = section(FilesConfig)
    commands: CommandsConfig = section(CommandsConfig)
    stats: StatsConfig = section(StatsConfig)
    tasks: TasksConfig = section(TasksConfig)
    state_dir: str = key("/var/lib/vmcontroller", settings.absolute_path, "what must survive")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerClientConfig:
    """`broker` of the guest: where the agent connects to."""

    host: str = key(
        "auto", settings.filled_text, "auto: what the hypervisor says, else the default gateway"
    )
    port: int = key(STOMP_PORT, settings.whole(1, 65535), "its TCP port")
    tls: bool = key(False, settings.truth, "connect over TLS, to a port that wants it")
    tls_ca: str = key(
        "", settings.path_or_empty, "whom to trust then, a PEM file; empty: whom the system trusts"
    )
    username: str = key("", settings.text, "login; empty: the agent's id")
    password: str = key("", settings.text, "passcode")


def _mac_or_empty(value: object) -> str:
    if not settings.text(value):
        return ""
    try:
        return guest_id(settings.text(value))
    except BadArgument:
        raise ValueError("must be a MAC address") from None


@dataclass(frozen=True, slots=True, kw_only=True)
class VmConfig:
    """`vm`: who this guest is."""

    network_interface: str = key(
        "auto", settings.filled_text, "the interface whose MAC address is the guest's id"
    )
    beacon_interval: float = key(
        10.0, settings.seconds(0.1, 3600), "seconds between two STILL_ALIVE"
    )
    id: str = key("", _mac_or_empty, "the guest's id where no interface has it")
    environment_file: str = key(
        "",
        settings.text,
        "a file that tells VMCONTROLLER_BROKER and VMCONTROLLER_CREDENTIAL; empty: SMBIOS does",
    )
    channel: str = key(
        "auto",
        settings.filled_text,
        "the serial port to the host, for a guest without a network: auto, none, or its path",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestCommandsConfig:
    """`commands` of the guest: what they may take of it."""

    spool_limit_mib: int = key(
        1024,
        settings.whole(1, 2**20),
        "MiB of output that may wait for the host, of all commands; what is beyond it is dropped",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GuestConfig:
    """guest.yaml."""

    broker: BrokerClientConfig = section(BrokerClientConfig)
    vm: VmConfig = section(VmConfig)
    commands: GuestCommandsConfig = section(GuestCommandsConfig)
    state_dir: str = key(
        "/var/lib/vmcontroller-guest", settings.absolute_path, "output waiting for the host"
    )


def load_host_config(path: str) -> HostConfig:
    """Read host.yaml; ConfigError names the file, the key and what is allowed."""
    config = settings.load(HostConfig, _read(path), path)
    check_broker(config.broker, path)
    check_xmlrpc(config.xmlrpc, path)
    return config


def check_broker(config: BrokerConfig, source: str) -> None:
    """Raise ConfigError for keys of the broker that don't go together."""
    _check_pair(config, "monitor", source)
    if not config.is_external:
        _check_tls(config, source)
        try:
            settings.auto_or_addresses(list(config.host) or "auto")
        except ValueError as error:
            shown = ", ".join(config.host)
            raise ConfigError(source, "broker.host", f"{error}, not {shown!r:.80}") from None
        return
    if len(config.host) != 1:
        raise ConfigError(
            source, "broker.host", "must be the one address or name of the external broker"
        )
    if not config.port:
        raise ConfigError(source, "broker.port", "must be the external broker's port, not 0")
    if config.monitor_username:
        problem = "is for the embedded broker; an external one has permissions of its own"
        raise ConfigError(source, "broker.monitor_username", problem)
    _check_pair(config, "guest", source)


def _check_pair(config: BrokerConfig, whose: str, source: str) -> None:
    name, password = getattr(config, f"{whose}_username"), getattr(config, f"{whose}_password")
    if bool(name) != bool(password):
        missing = "password" if name else "username"
        raise ConfigError(
            source, f"broker.{whose}_{missing}", "must be given with the other, or neither"
        )


def _check_tls(config: BrokerConfig, source: str) -> None:
    if config.tls:
        raise ConfigError(source, "broker.tls", "is for an external broker; here it is tls_port")
    for name in ("tls_certificate", "tls_key"):
        if config.tls_port and not getattr(config, name):
            raise ConfigError(source, f"broker.{name}", "must name a file, as tls_port is given")


def load_guest_config(path: str) -> GuestConfig:
    """Read guest.yaml; ConfigError names the file, the key and what is allowed."""
    return settings.load(GuestConfig, _read(path), path)


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError(path, "", f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(path, "", f"is not UTF-8 text: {error.reason}") from error
