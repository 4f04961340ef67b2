"""That the rows with which `make bench` fills the inbox are what ended events leave behind."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine, func, select, text

from app.db.engine import transaction
from app.models import Event, EventKey, Outcome, Status
from app.security.vault import Vault
from bench.harness.events import Stream
from bench.harness.system import System
from bench.harness.target import Target, senders
from bench.measure.parts import growth
from config.settings import Settings


def test_grown_rows_look_like_a_month_of_ended_events(
    settings: Settings, engine: Engine, vault: Vault, tmp_path: Path
) -> None:
    target = Target("127.0.0.1", settings.port, engine, vault, settings)
    with senders(target, {"grown": ("standard", {})}) as (made, _):
        system = System(target, Stream(made["grown"]), tmp_path)
        growth.fill(system, 0, 100, 400)
        growth.fill(system, 100, 400, 400)
        assert system.behind() == 0
    with transaction(engine) as session:
        ended = (Event.status == Status.COMPLETED, Event.outcome == Outcome.APPLIED, Event.finished_at.is_not(None))
        assert session.scalar(select(func.count()).select_from(Event).where(*ended)) == 400
        assert session.scalar(select(func.count()).select_from(EventKey)) == 400
        lanes = dict(session.execute(select(Event.lane, func.count()).group_by(Event.lane)).tuples().all())
        assert sorted(lanes.values()) == [40, 120, 240]
        # As the real ids: in order of time.
        ids, times = zip(*session.execute(text("SELECT id::text, received_at FROM event ORDER BY id")), strict=True)
        assert list(times) == sorted(times)
        assert all(one[14] == "7" for one in ids)
        now = datetime.now(UTC)
        assert now - timedelta(days=settings.retention_days) < times[0] < times[-1] < now
