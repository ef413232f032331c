"""Backends by the name they have in the configuration; each is imported only when it is used."""

from __future__ import annotations

from typing import Any

from vmcontroller.common.config import HypervisorConfig
from vmcontroller.common.errors import ConfigError
from vmcontroller.host.hypervisor.base import Hypervisor


def hypervisor_from(config: HypervisorConfig, *, reactor: Any, state_dir: str) -> Hypervisor:
    """Build the backend that the configuration names; nothing is connected yet.

    Raises ConfigError when what the backend needs is not installed.
    """
    return _BACKENDS[config.name](config, reactor, state_dir)


def _libvirt(config: HypervisorConfig, reactor: Any, state_dir: str) -> Hypervisor:
    try:
        from vmcontroller.host.hypervisor.libvirt.backend import LibvirtHypervisor
    except ImportError as error:
        raise ConfigError(
            "hypervisor", "name", f"libvirt needs the extra 'vmcontroller[libvirt]': {error}"
        ) from error
    return LibvirtHypervisor(
        reactor=reactor,
        uri=config.uri,
        state_dir=state_dir,
        accelerator=config.accelerator,
        network=config.network,
        isolated_network=config.isolated_network,
        isolated_subnet=config.isolated_subnet,
    )


def _local(_config: HypervisorConfig, reactor: Any, state_dir: str) -> Hypervisor:
    from vmcontroller.host.hypervisor.local.backend import LocalHypervisor

    return LocalHypervisor(reactor=reactor, state_dir=state_dir)


_BACKENDS = {"libvirt": _libvirt, "local": _local}
