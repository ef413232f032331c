"""Who may log in as which guest, as the hypervisor's machines come, go, are cloned and restored."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from vmcontroller.common.background import in_background
from vmcontroller.common.credentials import Credential
from vmcontroller.common.errors import NotConnected, VMControllerError
from vmcontroller.common.model import GuestId
from vmcontroller.host.directory import Directory
from vmcontroller.host.hypervisor.base import Hypervisor, Vm, VmChanged
from vmcontroller.host.identity.credentials import Credentials, logins_of
from vmcontroller.host.identity.identities import identity_of

LOOK_AGAIN_S: Final = 2.0
"""A login of somebody unknown has the machines read anew, but not more often than this."""


class Adoption:
    """Gives every VM a credential, and tells whose a login is.

    `greet` asks a guest that is there for its HELLO: then it is given what it is owed.
    `end_session` closes its connection, if any, and says why.
    """

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        hypervisor: Hypervisor,
        directory: Directory,
        greet: Callable[[GuestId], None],
        end_session: Callable[[GuestId, str], None],
    ) -> None:
        self._clock = clock
        self._hypervisor = hypervisor
        self._directory = directory
        self.credentials: Credentials
        """Known when the daemon starts."""
        self._greet = greet
        self._end_session = end_session
        self._seen_clones: set[tuple[str, str]] = set()
        self._looked_s = -LOOK_AGAIN_S
        self._indexed: tuple[Vm, ...] = ()
        self._by_login: dict[str, Vm] = {}

    def who(self, login: str, passcode: str) -> GuestId | None:
        """Return the guest with this login and passcode; None when there is none, or it is off."""
        vm = self._find(login)
        if vm is None or vm.state.is_off:
            self._look_again()
            return None
        if not self.credentials.admits(vm.uuid, passcode):
            return None
        return identity_of(vm)

    def changed(self, change: VmChanged) -> None:
        """Take in what the hypervisor reports, after the directory has."""
        if change.restored:
            self._log.info("{name} was restored: its credential changes", name=change.name)
            self.credentials.restored(change.uuid)
            self._let_log_in_anew(change.uuid)
        if not self._directory.is_fresh:
            self._follow_soon()

    def owed(self, guest: GuestId) -> Credential | None:
        """Return the credential that this guest has still to be given."""
        vm = self._find(guest)
        return None if vm is None else self.credentials.owed(vm.uuid)

    def kept(self, guest: GuestId, generation: int) -> None:
        """Note that the guest has the credential of this generation."""
        vm = self._find(guest)
        if vm is not None and self.credentials.of(vm.uuid).generation == generation:
            self.credentials.kept(vm.uuid)

    def is_ours(self, vm: Vm) -> bool:
        """Tell whether no other daemon has told this VM how to log in."""
        return not vm.told_passcode or self.credentials.made(vm.told_login, vm.told_passcode)

    def credential_of(self, vm: Vm) -> Credential:
        """Return what the guest of this VM is to be told."""
        return self.credentials.of(vm.uuid)

    async def follow(self) -> None:
        """Read the machines; give credentials to new ones, and new ones to clones."""
        vms = await self._directory.all()
        self.credentials.follow(vms)
        by_uuid = {vm.uuid: vm for vm in vms}
        for vm in vms:
            original = vm.told_login
            if original in {"", vm.uuid} or not self.is_ours(vm):
                continue  # a clone of another daemon's VM is that daemon's to tell
            if (vm.uuid, original) not in self._seen_clones:
                self._seen_clones.add((vm.uuid, original))
                await self._adopt_clone(vm, by_uuid.get(original))

    async def _adopt_clone(self, vm: Vm, original: Vm | None) -> None:
        """Give a VM that has another's credential its own, and the other one a new one."""
        if original is not None:
            self._log.warn(
                "{clone} has the credential of {original}: both get new ones",
                clone=vm.name,
                original=original.name,
            )
            self.credentials.replace(original.uuid, is_on=not original.state.is_off)
            with contextlib.suppress(NotConnected):  # it says HELLO when it connects
                self._greet(identity_of(original))
        try:
            await self._hypervisor.tell(vm.uuid, self.credentials.of(vm.uuid))
        except VMControllerError as error:  # a start will tell it
            self._log.warn("{name} is not told yet: {error}", name=vm.name, error=str(error))

    def _let_log_in_anew(self, uuid: str) -> None:
        """End the session of before: after a quick restore it could even go on."""
        vm = next((vm for vm in self._directory.last_known() if vm.uuid == uuid), None)
        if vm is not None:
            self._end_session(identity_of(vm), "the VM was restored: log in anew")

    def _find(self, login: str) -> Vm | None:
        vms = self._directory.last_known()
        if vms is not self._indexed:  # a thousand guests may come at once
            self._indexed = vms
            self._by_login = {login: vm for vm in vms for login in logins_of(vm)}
        return self._by_login.get(login.upper())

    def _look_again(self) -> None:
        now = self._clock.seconds()
        if now - self._looked_s >= LOOK_AGAIN_S:
            self._looked_s = now
            self._follow_soon()

    def _follow_soon(self) -> None:
        _ = in_background(self._try_to_follow(), "following the hypervisor's machines")

    async def _try_to_follow(self) -> None:
        try:
            await self.follow()
        except VMControllerError as error:
            self._log.debug("machines are not known: {error}", error=str(error))
