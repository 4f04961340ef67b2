"""The default mapping: what changes prices is urgent, what only records waits."""

import pytest

from app.lanes import prioritise
from app.models import Lane
from tests.factories import incoming


@pytest.mark.parametrize(
    ("event_type", "lane"),
    [
        ("price.updated", Lane.HIGH),
        ("promotion.started", Lane.HIGH),
        ("campaign.stopped", Lane.HIGH),
        ("product.out_of_stock", Lane.HIGH),
        ("catalog-release.updated", Lane.HIGH),
        ("segment.updated", Lane.MEDIUM),
        ("content.published", Lane.MEDIUM),
        ("currency.updated", Lane.MEDIUM),
        ("customer.created", Lane.MEDIUM),
        ("lead.captured", Lane.MEDIUM),
        ("something.else", Lane.MEDIUM),
        ("log.written", Lane.LOW),
        ("analytics.recorded", Lane.LOW),
        ("price.resynced", Lane.LOW),
    ],
)
def test_an_event_goes_to_the_lane_of_its_kind(event_type: str, lane: Lane) -> None:
    decision = prioritise(incoming(event_type))
    assert decision.lane is lane
    assert 0 <= decision.priority <= 9
    assert decision.reasons
