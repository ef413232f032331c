"""Making and removing VMs with the files that belong to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from uuid import uuid4

from twisted.logger import Logger

from vmcontroller.common.config import VmsConfig
from vmcontroller.common.errors import HypervisorError, InvalidState, NoSuchVM, Unsupported
from vmcontroller.host.creation import InThread
from vmcontroller.host.creation.abilities import check_abilities
from vmcontroller.host.creation.made_files import MadeFiles, Stage
from vmcontroller.host.creation.overlays import make_disk
from vmcontroller.host.creation.programs import RunProgram
from vmcontroller.host.creation.sharing import needed_by
from vmcontroller.host.creation.specifying import Design, design
from vmcontroller.host.hypervisor.base import Hypervisor, Vm
from vmcontroller.host.hypervisor.specification import VmSpec
from vmcontroller.host.requests import CreateOptions


class Creation:
    """Makes VMs of one hypervisor; what it makes for them is below `directory`."""

    _log = Logger()

    def __init__(
        self,
        *,
        hypervisor: Hypervisor,
        in_thread: InThread,
        run_program: RunProgram,
        directory: Path,
        defaults: VmsConfig,
    ) -> None:
        self._hypervisor = hypervisor
        self._in_thread = in_thread
        self._run_program = run_program
        self._files = MadeFiles(directory, hypervisor.name)
        self._defaults = defaults

    async def create(
        self, name: str, image: str, options: CreateOptions, others: Sequence[Vm]
    ) -> Vm:
        """Make a VM beside the `others`, with all its files; after an error nothing of it remains.

        Raises NoSuchImage, BadImage, ImageInUse, BadArgument, Unsupported, VMExists and
        HypervisorError.
        """
        check_abilities(self._hypervisor, options)
        uuid = str(uuid4())
        designing = partial(
            design,
            self._hypervisor,
            partial(self._files.path, uuid),
            self._defaults,
            spec=VmSpec(name=name, image=image, uuid=uuid),
            options=options,
            others=others,
        )
        designed: Design = await self._in_thread(designing)
        if not designed.files:
            return await self._hypervisor.create(designed.spec)
        try:
            await self._make(designed)
            vm = await self._hypervisor.create(designed.spec)
        except BaseException as error:  # a call that is cancelled leaves nothing either
            await self._drop(uuid)
            if isinstance(error, OSError):
                raise self._not_made(error) from error
            raise
        await self._mark(uuid, Stage.MADE)
        return vm

    async def _make(self, designed: Design) -> None:
        spec = designed.spec
        await self._in_thread(self._files.begin, spec.uuid, spec.name, designed.files)
        for command in designed.commands:
            await make_disk(self._run_program, self._hypervisor.name, command)
        if designed.seed:
            await self._in_thread(self._write_seed, spec.seed, designed.seed)

    def _write_seed(self, path: str, files: Mapping[str, bytes]) -> None:
        try:
            from vmcontroller.host.creation.seed_image import write_seed
        except ImportError as error:
            raise Unsupported(
                self._hypervisor.name,
                f"seed images as it is installed here: the extra 'vmcontroller[libvirt]': {error}",
            ) from error
        write_seed(path, files)

    async def remove(self, vm: Vm, others: Sequence[Vm]) -> None:
        """Remove a VM that is off, and what was made for it but nothing that another one needs."""
        await self._mark(vm.uuid, Stage.REMOVING)
        try:
            await self._hypervisor.remove(vm.uuid)
        except NoSuchVM:
            await self._drop(vm.uuid)  # it went at the same time
            raise
        except InvalidState:  # after any other error nobody knows: the next sweep finds it out
            await self._mark(vm.uuid, Stage.MADE)
            raise
        paths = await self.made(vm.uuid)
        others = [other for other in others if other.uuid != vm.uuid]
        needed = await self._in_thread(needed_by, others, paths) if paths else frozenset()
        if needed:
            self._log.warn(
                "files of {name} stay, as other VMs have them: {files}",
                name=vm.name,
                files=", ".join(sorted(needed)),
            )
        await self._drop(vm.uuid, needed)

    async def made(self, uuid: str) -> Sequence[str]:
        """Return the paths of what was made for a VM."""
        made: Sequence[str] = await self._in_thread(self._files.files, uuid)
        return made

    async def sweep(self, vms: Sequence[Vm]) -> None:
        """Remove what a daemon that was killed left of VMs that aren't among all that there are.

        Raises nothing: what can't be removed now is found the next time.
        """
        uuids = {vm.uuid for vm in vms}
        try:
            swept = await self._in_thread(self._files.sweep, uuids.__contains__)
        except OSError as error:
            self._log.error("the disks could not be looked through: {error}", error=str(error))
            return
        for uuid in swept.removed:
            self._log.info("removed what was left of a half-made VM, {uuid}", uuid=uuid)
        for record in swept.orphans:
            self._log.warn(
                "the disks of {name} ({uuid}) stay: others have removed the VM, not its files",
                name=record.vm,
                uuid=record.uuid,
            )

    async def _drop(self, uuid: str, keep: frozenset[str] = frozenset()) -> None:
        try:
            await self._in_thread(self._files.drop, uuid, keep)
        except OSError as error:
            self._log.error("what was made for {uuid} stays: {error}", uuid=uuid, error=str(error))

    async def _mark(self, uuid: str, stage: Stage) -> None:
        """Note how far a VM is; without the note the next sweep finds it out."""
        try:
            await self._in_thread(self._files.mark, uuid, stage)
        except OSError as error:
            self._log.warn("no note on {uuid}: {error}", uuid=uuid, error=str(error))

    def _not_made(self, error: OSError) -> HypervisorError:
        return HypervisorError(self._hypervisor.name, f"cannot make its disks: {error}")
