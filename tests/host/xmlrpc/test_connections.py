"""How many connections there may be: who gives way, and who never does."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.xmlrpc.connections import Connections


class Connection:
    def __init__(self, client):
        self.client = client


class ConnectionTests(SynchronousTestCase):
    def setUp(self):
        self.connections = Connections(10)

    def come(self, client):
        """Let one come as the channel does; return it, or None where there is no room."""
        may_stay, leaving = self.connections.room_for(client)
        if leaving is not None:
            self.connections.remove(leaving)
        if not may_stay:
            return None
        connection = Connection(client)
        self.connections.add(connection)
        return connection

    def test_one_client_has_half(self):
        """One client's surplus costs its own oldest connection, nobody else's."""
        first = self.come("a")
        others = [self.come("b") for _ in range(3)]
        for _ in range(20):
            self.come("a")
        self.assertEqual(len(self.connections), 8)
        self.assertFalse(first in self.connections._all)
        self.assertTrue(self.connections._all.issuperset(others))

    def test_calls_are_never_lost(self):
        """Where a call is under way on each, the newcomer is refused."""
        for _ in range(5):
            self.connections.calls(self.come("a"))
        self.assertIsNone(self.come("a"))
        for number in range(5):
            self.connections.calls(self.come(f"b{number}"))
        self.assertIsNone(self.come("c"))
        self.assertEqual(len(self.connections), 10)

    def test_strangers_go_first(self):
        """Who has not called yet goes before who has, and the oldest of them first."""
        resting = self.come("a")
        self.connections.calls(resting)
        self.connections.rests(resting)
        strangers = [self.come(f"s{number}") for number in range(9)]
        self.come("new")
        self.assertFalse(strangers[0] in self.connections._all)
        self.assertTrue(resting in self.connections._all)
        for each in strangers:
            self.connections.calls(each)
        self.come("newer")  # for the stranger "new"
        self.connections.calls(next(iter(self.connections._strangers)))
        self.come("newest")
        self.assertFalse(resting in self.connections._all)

    @given(st.lists(st.tuples(st.sampled_from("ncrx"), st.integers(0, 30)), max_size=200))
    def test_bounds(self, steps):
        """Whatever happens, the bounds hold, and nothing is left of who is gone."""
        connections, there = Connections(6), []
        for step, number in steps:
            if step == "n":
                client = str(number % 4)
                may_stay, leaving = connections.room_for(client)
                if leaving is not None:
                    connections.remove(leaving)
                    there.remove(leaving)
                if may_stay:
                    there.append(Connection(client))
                    connections.add(there[-1])
            elif there:
                which = there[number % len(there)]
                {"c": connections.calls, "r": connections.rests, "x": connections.remove}[step](
                    which
                )
                if step == "x":
                    there.remove(which)
            self.assertEqual(len(connections), len(there))
            self.assertLessEqual(len(there), 6)
            for client in "0123":
                self.assertLessEqual(sum(each.client == client for each in there), 3)
        for each in there:
            connections.remove(each)
            connections.rests(each)
        self.assertEqual(
            (connections._all, connections._of, connections._idle, connections._strangers),
            (set(), {}, {}, {}),
        )
