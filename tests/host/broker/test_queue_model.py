"""Queues against a model: nothing lost, nothing twice without saying so, all of it in order."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.common.errors import ProtocolError
from vmcontroller.common.stomp.frames import Frame, Version
from vmcontroller.common.stomp.parser import Parser
from vmcontroller.host.broker.limits import BrokerLimits
from vmcontroller.host.broker.peers import Peer
from vmcontroller.host.broker.rights import OpenRights, Principal, Role
from vmcontroller.host.broker.router import Router

LIMITS = BrokerLimits(
    unacked_messages=3,
    refusals=2,
    transactions=2,
    queue_messages=6,
    burst_bytes=4000,
)
QUEUES = ("/queue/a", "/queue/b")
NAMES = ("t", "u")
MODES = ("auto", "client", "client-individual")

which = st.integers(min_value=0, max_value=30)
queues = st.sampled_from(QUEUES)


@dataclass(eq=False)
class Job:
    """What the model knows of a message. `number` is its place in the order of sending."""

    body: bytes
    queue: str
    number: int = 0
    state: str = "waiting"
    deliveries: int = 0
    refused_by: list[Subscription] = field(default_factory=list)


@dataclass(eq=False)
class Subscription:
    """And of a subscription."""

    key: str
    queue: str
    mode: str
    unacked: dict[str, Job] = field(default_factory=dict)
    """By what an ACK must name, oldest first."""


@dataclass(eq=False)
class Client:
    """And of a connection."""

    peer: Peer
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    transactions: dict[str, list] = field(default_factory=dict)


class QueueMachine(RuleBasedStateMachine):
    """A step is told to router and model; `check` compares what the router then delivers."""

    def __init__(self):
        super().__init__()
        self.router = Router(rights=OpenRights(), limits=LIMITS)
        self.clients = []
        self.jobs = {}
        self.count = 0
        self.keys = 0

    # What the steps are made of.

    def one(self, number, among=None):
        some = self.clients if among is None else among
        return some[number % len(some)]

    def tell(self, client, command, *headers, body=b""):
        self.check(self.router.receive(client.peer, Frame(command, headers, body)))

    def refused(self, client, command, *headers, body=b""):
        """The frame must be refused; as after any ERROR, the connection ends."""
        try:
            self.router.receive(client.peer, Frame(command, headers, body))
        except ProtocolError:
            self.leave(client)
        else:
            raise AssertionError(f"{command} {headers} should have been refused")

    def leave(self, client):
        self.clients.remove(client)
        for subscription in client.subscriptions.values():
            self.give_back(subscription)
        self.check(self.router.lost(client.peer))

    def give_back(self, subscription):
        for job in subscription.unacked.values():
            job.state = "waiting"
        subscription.unacked.clear()

    def waiting(self, queue):
        jobs = (j for j in self.jobs.values() if j.queue == queue and j.state == "waiting")
        return sorted(jobs, key=lambda job: job.number)

    def put(self, job):
        self.count += 1
        job.number = self.count
        self.jobs[job.body] = job

    def settle(self, subscription, name, accepted):
        """Do in the model what an ACK or NACK does; tell whether it names what awaits it."""
        if name not in subscription.unacked:
            return False
        names = list(subscription.unacked)
        upto = names.index(name) + 1
        for each in names[:upto] if subscription.mode == "client" else [name]:
            job = subscription.unacked.pop(each)
            job.state = "done" if accepted else "waiting"
            if not accepted:
                job.refused_by.append(subscription)
                if len(job.refused_by) == LIMITS.refusals:
                    job.state = "dropped"
        return True

    def check(self, out):
        """Each delivery must be of the first that waits, to somebody who may have it."""
        for peer, head, message in out:
            tail = message.tail(peer.version) if message else b""
            [frame] = Parser(version=peer.version).feed(head + tail)
            [client] = [c for c in self.clients if c.peer is peer]
            subscription = client.subscriptions[frame.header("subscription")]
            job = self.jobs[frame.body]
            assert job.queue == subscription.queue == frame.header("destination")
            assert job is self.waiting(job.queue)[0], "not its turn, or not to be had"
            assert (frame.header("redelivered") == "true") == (job.deliveries > 0)
            job.deliveries += 1
            if subscription in job.refused_by:
                others = [o for o in self.free(job.queue) if o not in job.refused_by]
                assert not others, "who refused it got it again though another could take it"
            if subscription.mode == "auto":
                job.state = "done"
                continue
            job.state = "delivered"
            assert len(subscription.unacked) < LIMITS.unacked_messages
            name = frame.header("ack" if peer.version is Version.V1_2 else "message-id")
            assert name not in subscription.unacked
            subscription.unacked[name] = job

    def free(self, queue):
        """Return the subscriptions that could take a message now."""
        return [
            subscription
            for client in self.clients
            if client.peer not in self.router.throttled
            for subscription in client.subscriptions.values()
            if subscription.queue == queue and len(subscription.unacked) < LIMITS.unacked_messages
        ]

    # The steps.

    @initialize(
        versions=st.lists(st.sampled_from(list(Version)), min_size=2, max_size=3),
        modes=st.lists(st.sampled_from(MODES), min_size=3, max_size=3),
        number=which,
    )
    def something_is_going_on(self, versions, modes, number):
        for version in versions:
            self.connect(version)
            self.begin(len(self.clients) - 1, "t")
        for at, mode in enumerate(modes):
            self.subscribe(at, "/queue/a", mode)
        self.send(number, "/queue/a", 3)

    @rule(version=st.sampled_from(list(Version)))
    def connect(self, version):
        if len(self.clients) < 4:
            principal = Principal(role=Role.ANYONE)
            self.clients.append(Client(Peer(principal=principal, version=version, address="")))

    @precondition(lambda self: self.clients)
    @rule(number=which, queue=queues, mode=st.sampled_from(MODES))
    def subscribe(self, number, queue, mode):
        client = self.one(number)
        self.keys += 1
        key = str(self.keys)
        client.subscriptions[key] = Subscription(key, queue, mode)
        self.tell(client, "SUBSCRIBE", ("destination", queue), ("id", key), ("ack", mode))

    @precondition(lambda self: any(client.subscriptions for client in self.clients))
    @rule(number=which, other=which, disconnecting=st.booleans())
    def go(self, number, other, disconnecting):
        client = self.one(number, [c for c in self.clients if c.subscriptions])
        if disconnecting:
            self.leave(client)
            return
        key = self.one(other, list(client.subscriptions))
        self.give_back(client.subscriptions.pop(key))
        self.tell(client, "UNSUBSCRIBE", ("id", key))

    @precondition(lambda self: self.clients)
    @rule(number=which, queue=queues, count=st.integers(min_value=1, max_value=4))
    def send(self, number, queue, count):
        client = self.one(number)
        for _ in range(count):
            self.keys += 1
            job = Job(b"%d" % self.keys, queue)
            if len(self.waiting(queue)) >= LIMITS.queue_messages:
                self.refused(client, "SEND", ("destination", queue), body=job.body)
                return
            self.put(job)
            self.tell(client, "SEND", ("destination", queue), body=job.body)

    def named(self, client, subscription, name):
        if client.peer.version is Version.V1_2:
            return [("id", name)]
        return [("message-id", name), ("subscription", subscription.key)]

    def deliveries(self):
        return [
            (client, subscription, name)
            for client in self.clients
            for subscription in client.subscriptions.values()
            for name in subscription.unacked
        ]

    @precondition(lambda self: self.deliveries())
    @rule(number=which, accepted=st.booleans())
    def settle_one(self, number, accepted):
        client, subscription, name = self.one(number, self.deliveries())
        headers = self.named(client, subscription, name)
        if not accepted and client.peer.version is Version.V1_0:
            self.refused(client, "NACK", *headers)
            return
        self.settle(subscription, name, accepted)
        self.tell(client, "ACK" if accepted else "NACK", *headers)

    @precondition(lambda self: any(c.peer in self.router.throttled for c in self.clients))
    @rule(number=which)
    def keep_up(self, number):
        slow = [c for c in self.clients if c.peer in self.router.throttled]
        self.check(self.router.resume(self.one(number, slow).peer))

    @precondition(lambda self: self.clients)
    @rule(number=which, name=st.sampled_from(NAMES))
    def begin(self, number, name):
        client = self.one(number)
        if name in client.transactions:
            self.refused(client, "BEGIN", ("transaction", name))
        else:
            client.transactions[name] = []
            self.tell(client, "BEGIN", ("transaction", name))

    @precondition(lambda self: any(client.transactions for client in self.clients))
    @rule(number=which, other=which, queue=queues)
    def send_later(self, number, other, queue):
        client, name = self.open_one(number, other)
        self.keys += 1
        job = Job(b"%d" % self.keys, queue)
        client.transactions[name].append(job)
        headers = (("destination", queue), ("transaction", name))
        self.tell(client, "SEND", *headers, body=job.body)

    @precondition(lambda self: any(c.transactions for c, _, _ in self.deliveries()))
    @rule(numbers=st.lists(which, min_size=1, max_size=3), other=which, accepted=st.booleans())
    def settle_later(self, numbers, other, accepted):
        some = [d for d in self.deliveries() if d[0].transactions]
        for number in numbers:
            client, subscription, name = self.one(number, some)
            accepted = accepted or client.peer.version is Version.V1_0
            transaction = self.one(other, list(client.transactions))
            client.transactions[transaction].append((subscription, name, accepted))
            headers = [*self.named(client, subscription, name), ("transaction", transaction)]
            self.tell(client, "ACK" if accepted else "NACK", *headers)

    def open_one(self, number, other):
        client = self.one(number, [c for c in self.clients if c.transactions])
        return client, self.one(other, list(client.transactions))

    @precondition(lambda self: any(client.transactions for client in self.clients))
    @rule(number=which, other=which)
    def abort(self, number, other):
        client, name = self.open_one(number, other)
        del client.transactions[name]
        self.tell(client, "ABORT", ("transaction", name))

    @precondition(lambda self: any(client.transactions for client in self.clients))
    @rule(number=which, other=which)
    def commit(self, number, other):
        client, name = self.open_one(number, other)
        steps = client.transactions.pop(name)
        if not self.can_commit(client, steps):
            self.refused(client, "COMMIT", ("transaction", name))
            return
        for step in steps:
            if isinstance(step, Job):
                self.put(step)
            else:
                assert self.settle(*step)
        self.tell(client, "COMMIT", ("transaction", name))

    def can_commit(self, client, steps):
        """Tell so without doing anything: each settles what awaits it then, and there is room."""
        left = {s: list(s.unacked) for s in client.subscriptions.values()}
        for step in steps:
            if isinstance(step, Job):
                continue
            subscription, name, _ = step
            if name not in left.get(subscription, ()):
                return False
            at = left[subscription].index(name)
            del left[subscription][0 if subscription.mode == "client" else at : at + 1]
        return all(
            len(self.waiting(queue)) + sum(isinstance(s, Job) and s.queue == queue for s in steps)
            <= LIMITS.queue_messages
            or not any(isinstance(s, Job) and s.queue == queue for s in steps)
            for queue in QUEUES
        )

    # What holds between steps.

    @invariant()
    def nobody_waits_for_nothing(self):
        """A message waits only when nobody could take it."""
        for queue in QUEUES:
            assert not (self.waiting(queue) and self.free(queue)), queue

    @invariant()
    def counts_agree(self):
        """Of what waits, what is out, and what both cost."""
        there = self.router.queues.by_name
        for queue in QUEUES:
            assert len(there.get(queue, ())) == len(self.waiting(queue))
        messages = [message for queue in there.values() for message in queue._messages]
        for client in self.clients:
            for key, subscription in client.subscriptions.items():
                unacked = client.peer.subscriptions[key].unacked
                assert len(unacked) == len(subscription.unacked)
                messages += unacked.values()
        assert self.router.queues.queued_bytes == sum(m.cost_bytes for m in messages)
        assert len(self.router.transactions) == sum(len(c.transactions) for c in self.clients)

    def teardown(self):
        """All who are there go; who then comes gets all that is left, and nothing remains."""
        while self.clients:
            self.leave(self.clients[0])
        self.connect(Version.V1_2)
        for queue in QUEUES:
            self.subscribe(0, queue, "auto")
        while self.router.throttled:
            self.keep_up(0)
        assert {job.state for job in self.jobs.values()} <= {"done", "dropped"}
        self.leave(self.clients[0])
        assert self.router.queues.by_name == {}
        assert self.router.queues.queued_bytes == 0
        assert self.router.throttled == set()
        assert self.router.transactions.held_bytes == 0


class QueueModelTests(SynchronousTestCase):
    def test_any_sequence_of_steps(self):
        """Sends, acks, nacks, transactions and lost connections, in any order the search finds."""
        run_state_machine_as_test(
            QueueMachine,
            settings=settings(max_examples=150, stateful_step_count=40, deadline=None),
        )
