"""Each source's skew, as its events tell."""

from decimal import Decimal

from app.events.incoming import Clock, Version
from tests.support.cli_run import from_json, ok
from tests.support.factories import Inbox, incoming

NOW = 1_790_000_000


def test_the_skew_of_a_sources_versions_is_measured(inbox: Inbox) -> None:
    for number, ahead_s in enumerate((-2, -1, 400)):
        inbox.accept(incoming(entity_id=str(number), version=NOW + ahead_s), received_at=float(NOW))
    # Neither a counter nor an arrival is a time of the sender's.
    inbox.accept(incoming(version=None), received_at=float(NOW))
    inbox.accept(incoming(version=None, entity_id="n"), received_at=float(NOW))
    counted = Version(Decimal(7), "7", Clock.COUNTER)
    inbox.accept(incoming(entity_id="c", version=None), received_at=float(NOW))
    inbox.sql("UPDATE event SET version = :v, version_text = '7' WHERE entity_id = 'c'", v=counted.order)
    (shown,) = from_json("sources", "skew")
    assert shown == {
        "source": "shop",
        "measured": 3,
        "least_s": -2.0,
        "median_s": -1.0,
        "most_s": 400.0,
        "quarantined": 1,
    }
    assert "400.0" in ok("sources", "skew")


def test_a_source_that_counts_has_no_skew(inbox: Inbox) -> None:
    inbox.accept(incoming(version=NOW), received_at=float(NOW))
    inbox.sql('UPDATE source SET config = \'{"version_clock": "counter"}\'')
    assert from_json("sources", "skew") == []
