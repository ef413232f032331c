"""The credential of each VM's guest: which one is good, and when it is replaced.

A passcode is derived from a key of this host, the VM's UUID and a generation, so that only
generations are stored. Pure; `credential_store` keeps the records.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from vmcontroller.common.credentials import Credential
from vmcontroller.host.hypervisor.base import Vm
from vmcontroller.host.identity.identities import identity_of

_PASSCODE: Final = re.compile(r"([1-9][0-9]{0,8})-[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialRecord:
    """What is stored of one VM; its name and addresses only for people who ask by them."""

    name: str = ""
    macs: tuple[str, ...] = ()
    generation: int = 1
    also: tuple[int, ...] = ()
    """Older generations that the guest may still have: good until it has used, or confirmed, the
    current one."""
    restored: bool = False
    """Its memory was put back: its next login may be of any generation, and replaces it."""


def derive(key: bytes, uuid: str, generation: int) -> Credential:
    """Return a VM's credential of this generation."""
    digest = hmac.new(key, f"{uuid}/{generation}".encode(), hashlib.sha256).hexdigest()
    return Credential(login=uuid, passcode=f"{generation}-{digest}")


def generation_of(key: bytes, uuid: str, passcode: str) -> int:
    """Return the generation of a passcode of this VM; 0 when it is none."""
    found = _PASSCODE.fullmatch(passcode)
    if found is None:
        return 0
    expected = derive(key, uuid, int(found[1])).passcode
    return int(found[1]) if hmac.compare_digest(expected, passcode) else 0


class Credentials:
    """Every VM's credential. `save` is given all records whenever one has changed."""

    def __init__(
        self,
        *,
        key: bytes,
        records: Mapping[str, CredentialRecord],
        save: Callable[[Mapping[str, CredentialRecord]], None],
    ) -> None:
        self._key = key
        self._records = dict(records)
        self._save = save

    def of(self, uuid: str) -> Credential:
        """Return the current credential of a VM."""
        return derive(self._key, uuid, self._record(uuid).generation)

    def admits(self, uuid: str, passcode: str) -> bool:
        """Tell whether this is the VM's passcode. After a restore, a good one is replaced."""
        record = self._record(uuid)
        generation = generation_of(self._key, uuid, passcode)
        if not 0 < generation <= record.generation:
            return False
        if record.restored:
            self._put(uuid, replace(_next(record, also=(generation,)), restored=False))
        elif generation == record.generation:
            self.kept(uuid)
        elif generation not in record.also:
            return False
        return True

    def made(self, login: str, passcode: str) -> bool:
        """Tell whether this was ever a credential of this host."""
        return generation_of(self._key, login, passcode) > 0

    def owed(self, uuid: str) -> Credential | None:
        """Return the credential that the guest has still to be given; None if it has it."""
        return self.of(uuid) if self._record(uuid).also else None

    def kept(self, uuid: str) -> None:
        """Note that the guest has the current one: no older one is good any more."""
        record = self._record(uuid)
        if record.also:
            self._put(uuid, replace(record, also=()))

    def restored(self, uuid: str) -> None:
        """Note that the VM's memory, and what its guest logs in with, was put back."""
        self._put(uuid, replace(self._record(uuid), restored=True))

    def replace(self, uuid: str, *, is_on: bool) -> None:
        """Make a new one. A guest that is on may use the old one until it has the new."""
        record = self._record(uuid)
        also = (*record.also, record.generation) if is_on else ()
        self._put(uuid, _next(record, also=also))

    def follow(self, vms: Iterable[Vm]) -> None:
        """Take in which VMs there are, and what they are called.

        Of one that is gone only a generation above the first is remembered: it may come back.
        """
        present = {
            vm.uuid: replace(self._record(vm.uuid), name=vm.name, macs=vm.macs) for vm in vms
        }
        gone = {
            uuid: CredentialRecord(generation=record.generation)
            for uuid, record in self._records.items()
            if uuid not in present and record.generation > 1
        }
        if present | gone != self._records:
            self._records = present | gone
            self._save(self._records)

    def _record(self, uuid: str) -> CredentialRecord:
        return self._records.get(uuid, CredentialRecord())

    def _put(self, uuid: str, record: CredentialRecord) -> None:
        if record != self._record(uuid):
            self._records[uuid] = record
            self._save(self._records)


def _next(record: CredentialRecord, *, also: tuple[int, ...]) -> CredentialRecord:
    return replace(record, generation=record.generation + 1, also=also)


def find_record(
    records: Mapping[str, CredentialRecord], reference: str
) -> tuple[str, CredentialRecord] | None:
    """Return UUID and record of the VM with this name, UUID or MAC address."""
    for uuid, record in records.items():
        if record.name == reference or uuid == reference.lower():
            return uuid, record
    for uuid, record in records.items():
        if reference.upper() in record.macs:
            return uuid, record
    return None


def logins_of(vm: Vm) -> frozenset[str]:
    """Return all that a guest of this VM may log in as, in upper case."""
    return frozenset({vm.uuid.upper(), *vm.macs, identity_of(vm)})
