"""How a process's descriptors are shared between the API and the rest."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.broker.limits import connections_within
from vmcontroller.host.descriptors import shared_descriptors


class SharedTests(SynchronousTestCase):
    def test_enough(self):
        """Where there are many, the API has what was asked for."""
        self.assertEqual(shared_descriptors(65536, 1000), (63536, 1000))

    def test_few(self):
        """With the usual 1024 neither starves the other."""
        rest, door = shared_descriptors(1024, 1000)
        self.assertEqual((rest, door), (768, 128))
        self.assertEqual(connections_within(rest), 512)

    @given(st.integers(256, 65536), st.integers(16, 65536))
    def test_never_more_than_there_are(self, descriptors, wanted):
        """Both listening places together have a quarter at most, and never more than wanted."""
        rest, door = shared_descriptors(descriptors, wanted)
        self.assertEqual(rest + 2 * door, descriptors)
        self.assertLessEqual(2 * door, max(32, descriptors // 4))
        self.assertLessEqual(door, wanted)
