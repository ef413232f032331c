"""The use cases: what callers are told, and when, while guests obey or don't."""

from __future__ import annotations

from dataclasses import replace

from tests.host.operations_case import TRUE, OperationsCase
from tests.host.wiring import commands_of
from vmcontroller.common.destinations import REQUESTS, requests_of
from vmcontroller.common.errors import (
    BadArgument,
    DeadlinePassed,
    GuestUnreachable,
    HypervisorUnreachable,
    InvalidState,
    NoSuchCommand,
    NoSuchVM,
    Unsupported,
    VMExists,
)
from vmcontroller.common.model import CommandResult
from vmcontroller.common.stomp.client import Message
from vmcontroller.common.words.commands import CmdResult, CmdStarted
from vmcontroller.common.words.running import CmdSignalled, CmdUsage
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.operations.vms import SHUTDOWN_REPEAT_S
from vmcontroller.host.requests import CreateOptions


class OperationsTests(OperationsCase):
    def test_credential_of_a_new_vm(self) -> None:
        """A VM has its own from the beginning, and is told it again at each start."""
        self.create()
        [vm] = self.hypervisor.world.values()
        self.assertEqual(self.hypervisor.told[vm.uuid].login, vm.uuid)
        self.hypervisor.told.clear()
        self.now(self.operations.start("vm"))
        told = self.hypervisor.told[vm.uuid]
        self.assertEqual(self.adoption.who(told.login, told.passcode), vm.macs[0])

    def test_what_is_known_of_guests(self) -> None:
        """Whether its agent is there, since when, and why not."""
        self.create()
        guest = self.now(self.operations.get_guest("vm"))
        self.assertEqual((guest["connected"], guest["state"]), (False, "PoweredOff"))
        self.assertIn("not been heard", guest["detail"])
        self.now(self.operations.start("vm"))
        self.clock.advance(10)
        self.agent_says_hello()
        self.clock.advance(5)
        guest = self.now(self.operations.list_guests())["vm"]
        self.assertTrue(guest["connected"])
        self.assertEqual((guest["since"], guest["lastHeard"]), (1_000_010.0, 1_000_010.0))
        self.assertEqual(guest["silentFor"], 5.0)
        self.now(self.operations.power_off("vm"))
        guest = self.now(self.operations.get_guest("vm"))
        self.assertEqual(guest["detail"], "the VM is PoweredOff")
        self.refused(NoSuchVM, self.operations.get_guest("nobody"))

    def test_life_of_a_vm(self) -> None:
        """Each call answers when its state is reached."""
        self.assertEqual(
            self.now(self.operations.create_vm("vm", "", CreateOptions())), [True, "vm"]
        )
        for operation, state in (
            ("start", "Running"),
            ("pause", "Paused"),
            ("resume", "Running"),
            ("reset", "Running"),
            ("shutdown", "PoweredOff"),
            ("start", "Running"),
            ("power_off", "PoweredOff"),
        ):
            self.assertIs(self.now(getattr(self.operations, operation)("vm")), True)
            self.assertEqual(self.now(self.operations.get_state("vm")), state)
        self.assertEqual(self.now(self.operations.remove_vm("vm")), [True, "vm"])
        self.assertEqual(self.now(self.operations.list_vms()), [])

    def test_shutdown_waits(self) -> None:
        """A guest that takes its time is waited for; its button is pressed again meanwhile."""
        self.create()
        self.now(self.operations.start("vm"))
        self.hypervisor.obedient = False
        stopping = self.begin(self.operations.shutdown("vm"))
        self.assertNoResult(stopping)
        self.clock.pump([SHUTDOWN_REPEAT_S, SHUTDOWN_REPEAT_S])
        self.assertEqual(self.hypervisor.presses, 3)
        [vm] = self.hypervisor.world.values()
        self.hypervisor.becomes(vm, VmState.POWERED_OFF)
        self.successResultOf(stopping)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_shutdown_ignored(self) -> None:
        """A guest that does not obey in time is a Fault; the VM runs on."""
        self.create()
        self.now(self.operations.start("vm"))
        self.hypervisor.obedient = False
        stopping = self.begin(self.operations.shutdown("vm"))
        self.clock.pump([10] * 10)
        self.failureResultOf(stopping, DeadlinePassed)
        self.assertEqual(self.now(self.operations.get_state("vm")), "Running")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_refusals(self) -> None:
        """What can't be is said, and changes nothing."""
        operations = self.operations
        self.create()
        self.refused(VMExists, operations.create_vm("vm", "", CreateOptions()))
        self.refused(BadArgument, operations.create_vm("a/b", "", CreateOptions()))
        self.refused(Unsupported, operations.create_vm("x", "", CreateOptions(kernel="/k")))
        self.refused(Unsupported, operations.create_vm("x", "", CreateOptions(format="raw")))
        self.refused(NoSuchVM, operations.start("nobody"))
        self.refused(InvalidState, operations.shutdown("vm"))
        self.refused(GuestUnreachable, operations.ping("vm", 5))
        self.refused(GuestUnreachable, operations.run_cmd("vm", TRUE))
        self.assertEqual(self.now(operations.list_vms_with_state()), {"vm": "PoweredOff"})

    def test_hypervisor_away(self) -> None:
        """While the hypervisor is away, calls say so."""
        self.create()
        self.now(self.hypervisor.close())
        self.refused(HypervisorUnreachable, self.operations.start("vm"))

    def test_command_needs_the_agent(self) -> None:
        """A command is sent once the agent has said HELLO; before, the caller is told to wait."""
        self.create()
        self.now(self.operations.start("vm"))
        error = self.refused(GuestUnreachable, self.operations.run_cmd("vm", TRUE))
        self.assertIn("ping waits for it", str(error))
        self.agent_says_hello()
        cmd_id = self.now(self.operations.run_cmd("vm", TRUE))
        self.assertEqual(self.now(self.operations.get_cmd_results(cmd_id))["state"], "sent")
        self.assertEqual(self.now(self.operations.get_cmd_details(cmd_id))["cmd"], "true")
        self.assertEqual(self.now(self.operations.list_finished_cmds()), {})

    def test_vm_dies(self) -> None:
        """When a VM dies its command ends as lost, and its agent is gone at once."""
        self.create()
        self.now(self.operations.start("vm"))
        self.agent_says_hello()
        cmd_id = self.now(self.operations.run_cmd("vm", TRUE))
        waiting = self.begin(self.operations.wait_cmd(cmd_id, 60))
        [vm] = self.hypervisor.world.values()
        self.hypervisor.becomes(vm, VmState.ABORTED)
        self.assertEqual(self.successResultOf(waiting)["error"], "LOST: the VM is Aborted")
        self.refused(GuestUnreachable, self.operations.run_cmd("vm", TRUE))

    def test_saved_vm(self) -> None:
        """What runs in a VM that is saved runs on when it is restored: it is not lost."""
        self.create()
        self.now(self.operations.start("vm"))
        self.agent_says_hello()
        cmd_id = self.now(self.operations.run_cmd("vm", TRUE))
        [vm] = self.hypervisor.world.values()
        self.hypervisor.becomes(vm, VmState.SAVED)
        self.assertEqual(self.now(self.operations.get_cmd_results(cmd_id))["state"], "sent")
        self.hypervisor.becomes(vm, VmState.POWERED_OFF)
        self.assertEqual(self.now(self.operations.get_cmd_results(cmd_id))["state"], "lost")

    def test_reset_ends_commands(self) -> None:
        """What ran before a reset does not run any more, whether the guest comes back or not."""
        self.create()
        self.now(self.operations.start("vm"))
        self.agent_says_hello()
        cmd_id = self.now(self.operations.run_cmd("vm", TRUE))
        self.now(self.operations.reset("vm"))
        results = self.now(self.operations.get_cmd_results(cmd_id))
        self.assertEqual((results["state"], results["finished"]), ("lost", False))
        self.assertTrue(self.now(self.operations.forget_cmd(cmd_id)))

    def many(self, *names: str, protocol: int = 3) -> None:
        """Make VMs of these names that run, with their agents."""
        for name in names:
            self.create(name)
            self.now(self.operations.start(name))
            self.agent_says_hello(name, protocol)
        self.sent.clear()

    def run_on(self, vms, request=TRUE):
        return self.now(self.operations.run_cmd_on_all(vms, request))

    def where(self) -> list[str]:
        return [destination for destination, *_ in self.sent]

    def finish(self, cmd_id: str, name: str, code: int) -> None:
        """Let a guest say how a command ended."""
        guest = self.now(self.operations.get_names_to_ids_mapping())[name]
        result = CommandResult(
            cmd_id=cmd_id,
            finished=True,
            exit_code_or_signal=code,
            resources={},
            stdout_bytes=0,
            stderr_bytes=0,
        )
        said = CmdResult(result=result).how_to_say()
        headers = {**said.headers, "from": guest}
        self.conversation.message(Message(destination="", headers=headers, body=said.body))

    def test_command_for_all(self) -> None:
        """One message on the common topic, an id for each, and the results together."""
        self.many("a", "b")
        self.create("off")
        answer = self.run_on("*")
        self.assertEqual(self.where(), [REQUESTS])
        self.assertEqual((sorted(answer["commands"]), answer["failed"]), (["a", "b"], {}))
        waiting = self.begin(self.operations.wait_cmd_on_all(answer["batch"], 60))
        self.finish(answer["commands"]["b"], "b", 2)
        self.assertNoResult(waiting)
        self.finish(answer["commands"]["a"], "a", 1)
        results = self.successResultOf(waiting)
        codes = {name: each["exitCodeOrSignal"] for name, each in results.items()}
        self.assertEqual(codes, {"a": 1, "b": 2})
        for cmd_id in answer["commands"].values():
            self.now(self.operations.forget_cmd(cmd_id))
        self.refused(NoSuchCommand, self.operations.wait_cmd_on_all(answer["batch"], 0))

    def test_who_is_not_meant_does_not_read_it(self) -> None:
        """If any guest that may hear the common topic is not meant, each gets its own message."""
        self.many("worker 1", "worker 2", "other")
        answer = self.run_on("worker *")
        ids = self.now(self.operations.get_names_to_ids_mapping())
        self.assertEqual(
            sorted(self.where()), sorted(requests_of(ids[name]) for name in answer["commands"])
        )
        self.assertEqual(sorted(answer["commands"]), ["worker 1", "worker 2"])
        self.now(self.operations.power_off("other"))
        self.create("silent")
        self.now(self.operations.start("silent"))  # it may be about to say HELLO
        self.sent.clear()
        self.run_on(["worker 1", "worker 2"])
        self.assertNotIn(REQUESTS, self.where())

    def test_who_can_not_be_asked(self) -> None:
        """Those who can't do it are named with the reason; the others do it all the same."""
        self.many("new")
        self.many("old", protocol=2)
        self.create("silent")
        self.now(self.operations.start("silent"))
        self.sent.clear()
        answer = self.run_on(["new", "old", "silent", "nobody"])
        self.assertEqual(sorted(answer["commands"]), ["new", "old"])
        self.assertNotIn(REQUESTS, self.where())
        self.assertRegex(answer["failed"]["silent"], "^GUEST_UNREACHABLE: ")
        self.assertRegex(answer["failed"]["nobody"], "^NO_SUCH_VM: ")
        nice = replace(TRUE, spec=replace(TRUE.spec, nice=1))
        answer = self.run_on("*", nice)
        self.assertEqual(list(answer["commands"]), ["new"])
        self.assertRegex(answer["failed"]["old"], "^UNSUPPORTED: .*nice")
        answer = self.run_on("nobody*")
        self.assertEqual(answer, {"batch": "", "commands": {}, "failed": {}})

    def test_batch_survives(self) -> None:
        """Another daemon on the same directory has the batch still."""
        self.many("a", "b")
        answer = self.run_on("*")
        self.now(self.conversation.commands.stop())
        home = str(self.conversation.commands.store.path.parent)
        after = commands_of(self.conversation, self.clock, home)
        self.assertEqual(
            sorted(after.registry.batch(answer["batch"])), sorted(answer["commands"].values())
        )

    def test_details_while_it_runs(self) -> None:
        """What a command uses is asked of its guest, and told with its age."""
        self.many("a")
        cmd_id = self.now(self.operations.run_cmd("a", TRUE))
        guest = self.now(self.operations.get_names_to_ids_mapping())["a"]

        def says(word) -> None:
            said = word.how_to_say()
            headers = {**said.headers, "from": guest}
            self.conversation.message(Message(destination="", headers=headers, body=said.body))

        says(CmdStarted(cmd_id=cmd_id, pid=77))
        asking = self.begin(self.operations.get_cmd_details(cmd_id))
        says(CmdUsage(cmd_id=cmd_id, usage={"user_s": 1.25}))
        details = self.successResultOf(asking)
        self.assertEqual((details["state"], details["pid"]), ("running", 77))
        self.assertEqual((details["usage"], details["usageAge"]), ({"user_s": 1.25}, 0.0))
        killing = self.begin(self.operations.kill_cmd(cmd_id, "TERM"))
        says(CmdSignalled(cmd_id=cmd_id, signal="TERM", processes=1))
        self.assertIs(self.successResultOf(killing), True)

    def test_started_by_others(self) -> None:
        """A VM that was last known to be off is looked at again before a ping is refused."""
        self.create()
        self.now(self.operations.list_vms())
        [vm] = self.hypervisor.world.values()
        listener, self.hypervisor._listener = self.hypervisor._listener, None
        self.hypervisor.becomes(vm, VmState.RUNNING)  # its report is still on the way
        self.hypervisor._listener = listener
        pinging = self.begin(self.operations.ping("vm", 5))
        self.assertNoResult(pinging)
        self.clock.advance(5)
        self.failureResultOf(pinging, GuestUnreachable)

    def test_states_and_version(self) -> None:
        """Old clients ask for the states' numbers and the version."""
        self.assertEqual(self.now(self.operations.states())["PoweredOff"], 0)
        self.assertTrue(self.now(self.operations.version()))

    def test_commands_that_go_on(self) -> None:
        """They are listed with what they use; a guest that is silent holds that up for 2 s only."""
        self.many("a", "b")
        ids = {name: self.now(self.operations.run_cmd(name, TRUE)) for name in ("a", "b")}
        guests = self.now(self.operations.get_names_to_ids_mapping())
        for name, cmd_id in ids.items():
            self.hear(CmdStarted(cmd_id=cmd_id, pid=7), guests[name])
        listed = self.begin(self.operations.list_cmds(""))
        self.hear(CmdUsage(cmd_id=ids["a"], usage={"memory_kib": 5.0}), guests["a"])
        self.assertNoResult(listed)
        self.clock.advance(2)
        details = {each["toVmName"]: each for each in self.successResultOf(listed)}
        self.assertEqual(details["a"]["usage"], {"memory_kib": 5.0})
        self.assertEqual((details["b"]["state"], "usage" in details["b"]), ("running", False))
        listed = self.begin(self.operations.list_cmds("a"))
        self.hear(CmdUsage(cmd_id=ids["a"], usage={"memory_kib": 6.0}), guests["a"])
        [only] = self.successResultOf(listed)
        self.assertEqual(only["cmd-id"], ids["a"])
        self.finish(ids["a"], "a", 0)
        self.assertEqual(self.now(self.operations.list_cmds("a")), [])
        self.refused(NoSuchVM, self.operations.list_cmds("nobody"))

    def hear(self, word, guest) -> None:
        """Let a guest say a word."""
        said = word.how_to_say()
        headers = {**said.headers, "from": guest}
        self.conversation.message(Message(destination="", headers=headers, body=said.body))
