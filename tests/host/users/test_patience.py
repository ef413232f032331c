"""What was right is remembered for a moment; who is wrong too often waits."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.users.failures import AT_ONCE, EVERY_S, Failures
from vmcontroller.host.users.remembered import REMEMBERED_S, Remembered


class RememberedTests(SynchronousTestCase):
    def test_for_a_moment(self):
        """A pair is known for a minute, and only that pair."""
        remembered = Remembered()
        remembered.add("a", "secret", version=1, now_s=0)
        self.assertTrue(remembered.has("a", "secret", version=1, now_s=REMEMBERED_S - 1))
        self.assertFalse(remembered.has("a", "secret2", version=1, now_s=0))
        self.assertFalse(remembered.has("b", "secret", version=1, now_s=0))
        self.assertFalse(remembered.has("a", "secret", version=1, now_s=REMEMBERED_S))
        self.assertFalse(remembered.has("a", "secret", version=1, now_s=0))

    def test_until_the_users_change(self):
        """When the file changes nothing is remembered: whoever was removed is out."""
        remembered = Remembered()
        remembered.add("a", "secret", version=1, now_s=0)
        self.assertFalse(remembered.has("a", "secret", version=2, now_s=0))
        self.assertFalse(remembered.has("a", "secret", version=1, now_s=0))

    def test_no_secret_is_kept(self):
        """In memory there is a digest under a key of this process, not the password."""
        one, other = Remembered(), Remembered()
        one.add("a", "secret", version=1, now_s=0)
        self.assertNotIn("secret", repr(vars(one)))
        self.assertNotEqual(one.digest("a", "secret"), other.digest("a", "secret"))

    def test_bounded(self):
        """However many are right, memory has a bound."""
        remembered = Remembered()
        for number in range(5000):
            remembered.add(str(number), "x", version=1, now_s=0)
        self.assertLessEqual(len(remembered._until_s), 1000)


class FailureTests(SynchronousTestCase):
    def test_a_few_at_once(self):
        """Ten may be wrong at once; then one every five seconds, each address for itself."""
        failures = Failures()
        for _ in range(AT_ONCE):
            self.assertEqual(failures.wait_s("1", 100.0), 0)
            failures.note("1", 100.0)
        self.assertAlmostEqual(failures.wait_s("1", 100.0), EVERY_S)
        self.assertEqual(failures.wait_s("2", 100.0), 0)
        self.assertEqual(failures.wait_s("1", 100.0 + EVERY_S), 0)
        failures.note("1", 100.0 + EVERY_S)
        self.assertGreater(failures.wait_s("1", 100.0 + EVERY_S), 0)

    @given(st.lists(st.floats(0, 60), max_size=100))
    def test_rate(self, pauses):
        """Whatever the pauses, there are no more guesses than at once plus one per interval."""
        failures, now, guesses = Failures(), 0.0, 0
        for pause in pauses:
            now += pause
            if failures.wait_s("a", now) <= 1e-9:
                failures.note("a", now)
                guesses += 1
        self.assertLessEqual(guesses, AT_ONCE + now / EVERY_S + 1)

    def test_bounded(self):
        """Addresses without end don't fill the memory."""
        failures = Failures()
        for number in range(30_000):
            failures.note(str(number), 0.0)
        self.assertLessEqual(len(failures._clean_at_s), 10_000)
