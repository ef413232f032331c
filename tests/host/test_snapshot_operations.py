"""The use cases of snapshots, saved states and sleep: what callers are told, and what is lost."""

from __future__ import annotations

from dataclasses import replace

from tests.host.operations_case import TRUE, OperationsCase
from vmcontroller.common.errors import (
    DeadlinePassed,
    GuestUnreachable,
    InvalidState,
    NoSuchCommand,
    NoSuchSnapshot,
    NoSuchVM,
    SnapshotExists,
    Unsupported,
)
from vmcontroller.common.model import CommandResult
from vmcontroller.common.stomp.client import Message
from vmcontroller.common.words.commands import CmdOutput, CmdResult
from vmcontroller.common.words.presence import Descriptor, Hello
from vmcontroller.host.events.log import Wanted
from vmcontroller.host.hypervisor.vm_state import VmState
from vmcontroller.host.operations.snapshots import DEPTH_MAX, SLEEPS_WITHIN_S


class SnapshotOperationsTests(OperationsCase):
    def setUp(self) -> None:
        super().setUp()
        self.create()
        self.do = self.operations

    def running(self) -> str:
        """Start the VM, let its agent say HELLO, and begin a command."""
        self.now(self.do.start("vm"))
        self.agent_says_hello()
        return self.now(self.do.run_cmd("vm", TRUE))

    @property
    def vm(self):
        [vm] = self.hypervisor.world.values()
        return vm

    def agent_says(self, word) -> None:
        said = word.how_to_say()
        headers = {**said.headers, "from": self.vm.macs[0]}
        self.conversation.message(Message(destination="", headers=headers, body=said.body))

    def ends(self, cmd_id: str, code: int, out: bytes = b"") -> None:
        if out:
            self.agent_says(CmdOutput(cmd_id=cmd_id, stream="stdout", offset=0, data=out))
        result = CommandResult(
            cmd_id=cmd_id,
            finished=True,
            exit_code_or_signal=code,
            resources={},
            stdout_bytes=len(out),
            stderr_bytes=0,
        )
        self.agent_says(CmdResult(result=result))

    def result_of(self, cmd_id: str):
        return self.now(self.do.get_cmd_results(cmd_id))

    def asleep_command(self) -> str:
        [command] = self.conversation.commands.registry.running()
        return command.cmd_id

    def test_tree(self) -> None:
        """Names come depth first, and the tree has what the wire promises."""
        for name in ("a", "b"):
            self.assertIs(self.now(self.do.take_snapshot("vm", name, f"of {name}")), True)
        self.now(self.do.restore_snapshot("vm", "a"))
        self.now(self.do.take_snapshot("vm", "c", ""))
        self.assertEqual(self.now(self.do.list_snapshots("vm")), ["a", "b", "c"])
        [root] = self.now(self.do.get_snapshots("vm"))
        self.assertEqual([child["name"] for child in root["children"]], ["b", "c"])
        child = root["children"][1]
        self.assertEqual(
            {key: child[key] for key in child if key != "created"},
            {
                "name": "c",
                "description": "",
                "state": "PoweredOff",
                "parent": "a",
                "current": True,
                "children": [],
            },
        )
        self.assertIsInstance(child["created"], float)
        self.assertIs(self.now(self.do.delete_snapshot("vm", "a")), True)
        names = [root["name"] for root in self.now(self.do.get_snapshots("vm"))]
        self.assertEqual(names, ["b", "c"])

    def test_deep_tree(self) -> None:
        """A long chain can be answered: its end stands side by side, with its true parents."""
        names = [f"{number:04}" for number in range(1000)]
        for name in names:
            self.now(self.do.take_snapshot("vm", name, ""))
        level, depth = self.now(self.do.get_snapshots("vm")), 1
        while level[0]["children"]:
            self.assertEqual(len(level), 1)
            level, depth = level[0]["children"], depth + 1
        self.assertEqual(depth, DEPTH_MAX)
        self.assertEqual([each["name"] for each in level], names[DEPTH_MAX - 1 :])
        self.assertEqual([each["parent"] for each in level], names[DEPTH_MAX - 2 : -1])
        self.assertEqual(self.now(self.do.list_snapshots("vm")), names)

    def test_refusals(self) -> None:
        """Each by its own error."""
        self.refused(NoSuchSnapshot, self.do.restore_snapshot("vm", ""))
        self.refused(NoSuchSnapshot, self.do.delete_snapshot("vm", "a"))
        self.now(self.do.take_snapshot("vm", "a", ""))
        self.refused(SnapshotExists, self.do.take_snapshot("vm", "a", ""))
        self.refused(NoSuchVM, self.do.get_snapshots("nobody"))
        self.refused(InvalidState, self.do.save_state("vm"))
        self.refused(InvalidState, self.do.discard_state("vm"))

    def test_current_is_restored(self) -> None:
        """Without a name it is the newest that was taken or restored, as clients of old expect."""
        for name in ("a", "b"):
            self.now(self.do.take_snapshot("vm", name, ""))
        self.now(self.do.restore_snapshot("vm", "a"))
        begin = self.now(self.do.wait_events(-1, 0, Wanted()))["next"]
        self.assertIs(self.now(self.do.restore_snapshot("vm", "")), True)
        page = self.now(self.do.wait_events(begin, 0, Wanted()))
        self.assertEqual(
            [(event["kind"], event["detail"]) for event in page["events"]],
            [("snapshot-restored", {"name": "a"})],
        )

    def test_commands_of_the_abandoned_future_are_lost(self) -> None:
        """The reason is the restore; the guest of then is let in though it counts from then."""
        self.now(self.do.start("vm"))
        self.agent_says_hello()
        self.now(self.do.take_snapshot("vm", "live", ""))
        cmd_id = self.now(self.do.run_cmd("vm", TRUE))
        self.now(self.do.restore_snapshot("vm", "live"))
        result = self.result_of(cmd_id)
        self.assertEqual(result["state"], "lost")
        self.assertIn("restored to a snapshot", result["error"])
        self.assertEqual(self.vm.state, VmState.RUNNING)
        self.refused(GuestUnreachable, self.do.run_cmd("vm", TRUE))
        self.sent.clear()
        self.agent_says_hello()
        self.assertNotIn(cmd_id, str(self.sent))
        self.now(self.do.run_cmd("vm", TRUE))

    def test_command_of_the_past_goes_on(self) -> None:
        """One that the guest of then still runs comes to its true end, output not twice."""
        cmd_id = self.running()
        self.agent_says(CmdOutput(cmd_id=cmd_id, stream="stdout", offset=0, data=b"1\n"))
        self.now(self.do.take_snapshot("vm", "live", ""))
        self.agent_says(CmdOutput(cmd_id=cmd_id, stream="stdout", offset=2, data=b"2\n3\n"))
        self.now(self.do.restore_snapshot("vm", "live"))
        self.assertEqual(self.result_of(cmd_id)["state"], "lost")
        hello = Hello(
            descriptor=Descriptor(id=self.vm.macs[0]), session="s", protocol=3, commands=(cmd_id,)
        )
        self.agent_says(hello)
        self.agent_says(CmdOutput(cmd_id=cmd_id, stream="stdout", offset=2, data=b"2\n"))
        self.ends(cmd_id, 0)
        result = self.result_of(cmd_id)
        self.assertEqual((result["state"], result["out"]), ("ended", "1\n2\n3\n"))

    def test_saved_and_discarded(self) -> None:
        """What runs is not lost by saving, and is by discarding."""
        cmd_id = self.running()
        self.assertIs(self.now(self.do.save_state("vm")), True)
        self.assertEqual(self.now(self.do.get_state("vm")), "Saved")
        self.assertEqual(self.result_of(cmd_id)["state"], "sent")
        self.now(self.do.start("vm"))
        self.assertEqual(self.result_of(cmd_id)["state"], "sent")
        self.now(self.do.save_state("vm"))
        self.assertIs(self.now(self.do.discard_state("vm")), True)
        self.assertEqual(self.result_of(cmd_id)["state"], "lost")

    def test_sleep_by_the_agent(self) -> None:
        """The agent is asked; it is true when the VM stands still, and the command is forgotten."""
        self.ends(self.running(), 0)
        sleeping = self.begin(self.do.sleep("vm"))
        self.assertNoResult(sleeping)
        cmd_id = self.asleep_command()
        self.hypervisor.becomes(self.vm, VmState.PAUSED)
        self.assertIs(self.successResultOf(sleeping), True)
        self.now(self.do.resume("vm"))
        self.ends(cmd_id, 0)
        self.refused(NoSuchCommand, self.do.get_cmd_results(cmd_id))

    def test_guest_that_wakes_at_once(self) -> None:
        """Its command has ended well: it has slept."""
        self.ends(self.running(), 0)
        sleeping = self.begin(self.do.sleep("vm"))
        self.ends(self.asleep_command(), 0)
        self.assertIs(self.successResultOf(sleeping), True)

    def test_guest_that_can_not_sleep(self) -> None:
        """What the guest says of it is in the error, and the command is forgotten."""
        self.ends(self.running(), 0)
        sleeping = self.begin(self.do.sleep("vm"))
        cmd_id = self.asleep_command()
        self.ends(cmd_id, 3, b"its kernel has no suspend\n\x1b[2J" + 5000 * b"x")
        error = self.failureResultOf(sleeping, Unsupported).value
        self.assertIn("sleep: its kernel has no suspend  [2Jxx", str(error))
        self.assertLess(len(str(error)), 300)
        self.refused(NoSuchCommand, self.do.get_cmd_results(cmd_id))

    def test_guest_that_stays_awake(self) -> None:
        """One that says nothing and does not sleep is told as such."""
        self.ends(self.running(), 0)
        sleeping = self.begin(self.do.sleep("vm"))
        self.clock.advance(SLEEPS_WITHIN_S)
        self.failureResultOf(sleeping, DeadlinePassed)
        self.assertEqual(self.now(self.do.get_state("vm")), "Running")

    def test_vm_that_dies_instead(self) -> None:
        """Then the guest was not reached."""
        self.ends(self.running(), 0)
        sleeping = self.begin(self.do.sleep("vm"))
        self.now(self.do.power_off("vm"))
        self.failureResultOf(sleeping, GuestUnreachable)

    def test_sleep_without_an_agent(self) -> None:
        """The hypervisor's own means are tried, and what it says is told."""
        self.refused(InvalidState, self.do.sleep("vm"))
        self.now(self.do.start("vm"))
        self.assertIs(self.now(self.do.sleep("vm")), True)
        self.now(self.do.resume("vm"))
        self.hypervisor.sleeps = False
        self.refused(Unsupported, self.do.sleep("vm"))
        self.assertEqual(self.vm.state, VmState.RUNNING)

    def test_hypervisor_that_can_not(self) -> None:
        """Then no agent is asked for what could not be undone."""
        self.ends(self.running(), 0)
        self.hypervisor.capabilities = frozenset()
        self.hypervisor.sleeps = False
        self.refused(Unsupported, self.do.sleep("vm"))
        self.assertEqual(len(self.conversation.commands.registry.running()), 0)

    def test_slow_to_wake(self) -> None:
        """Resume answers when the guest is awake, not before."""
        self.now(self.do.start("vm"))
        self.hypervisor.becomes(self.vm, VmState.PAUSED)
        paused = self.vm

        async def resume(uuid: str) -> None:
            self.assertEqual(uuid, paused.uuid)

        self.hypervisor.resume = resume
        waking = self.begin(self.do.resume("vm"))
        self.assertNoResult(waking)
        self.hypervisor.becomes(replace(paused), VmState.RUNNING)
        self.assertIs(self.successResultOf(waking), True)
