"""What happened at the broker lately is kept for people, in order, and not without bound."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from vmcontroller.host.broker.stats import BrokerEvent
from vmcontroller.host.recent_events import KEPT, RecentEvents


class RecentEventsTests(SynchronousTestCase):
    def test_kept_in_order_and_bounded(self) -> None:
        """The oldest goes first, and the numbers tell that some are missing."""
        events = RecentEvents(lambda: 1.5)
        for number in range(KEPT + 2):
            events.note(
                BrokerEvent(
                    kind="takeover", principal="guest A", address="h:1", detail=f"no. {number}"
                )
            )
        kept = events.answer()
        self.assertEqual([event["number"] for event in kept], list(range(3, KEPT + 3)))
        self.assertEqual(
            kept[0],
            {
                "number": 3,
                "at": 1.5,
                "kind": "takeover",
                "who": "guest A",
                "address": "h:1",
                "detail": "no. 2",
            },
        )
