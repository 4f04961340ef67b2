"""``tiercel events release``: held events (quarantined or unmapped) are applied after all."""

import time
import uuid
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

import click
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from app.cli import filters, given, show
from app.cli.connect import opened, read_settings
from app.cli.policygiven import author
from app.cli.whoami import whoami
from app.db.engine import transaction
from app.inbox import release
from app.inbox.mapper import Mapper
from app.inbox.read import EventFilter, EventUnknown
from app.inbox.release import NotHeld, Released
from app.inbox.remap import StillUnmapped
from app.models import Outcome, Source
from app.priority.stored.live import LivePolicies
from app.security import audit
from app.security.audit import Action, acting
from app.security.vault import Vault
from app.sources import configured
from config.settings import Settings

_BATCH = 100
_EXAMPLE = "Example: tiercel events release --outcome unmapped --source shop --type price_list.updated --dry-run"


@click.command("release", epilog=_EXAMPLE)
@click.argument("event_ids", metavar="[ID]...", type=click.UUID, nargs=-1)
@filters.options
@click.option("--reason", help="Whose reason contains this text.")
@click.option("--dry-run", is_flag=True, help="Only say what would become of them.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option(
    "--trust-version",
    is_flag=True,
    help="Keep a quarantined event's version: until that time nothing older is applied to the entity.",
)
@show.as_json
def release_command(  # noqa: PLR0913  # an option each
    *,
    event_ids: tuple[uuid.UUID, ...],
    reason: str | None,
    dry_run: bool,
    yes: bool,
    trust_version: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Let held events be applied: by ID, or all quarantined and unmapped ones that match the filters.

    A quarantined event goes as of its arrival. An unmapped one is mapped again by today's code and options, with its
    own version and arrival, through the same version gate as any other; where it still can't be read it stays.
    Who released it is kept in its timeline.
    """
    filtered = reason is not None or any(value is not None for value in chosen.values())
    if bool(event_ids) == filtered:
        raise click.UsageError("say either the IDs of events, or which ones with filters")
    settings = read_settings()
    with opened(settings) as engine:
        if event_ids:
            results = _each(engine, settings, event_ids, trust_version=trust_version, dry_run=dry_run)
        else:
            wanted = filters.event_filter(chosen)
            if not dry_run and not yes:
                _ask(engine, wanted, reason)
            results = _all(engine, settings, wanted, reason, trust_version=trust_version, dry_run=dry_run)
    if as_json:
        show.json([_shown(one) for one in results])
    elif event_ids:
        for one in results:
            click.echo(_line(one, dry_run=dry_run))
    else:
        _summary(results, dry_run=dry_run)
    if event_ids and any(one.becomes == "unmapped" for one in results):
        raise click.exceptions.Exit(1)


def _ask(engine: Engine, wanted: EventFilter, reason: str | None) -> None:
    if not given.is_terminal():
        raise click.UsageError("say --yes to release them without being asked, or --dry-run to only count")
    with transaction(engine) as session:
        count = len(release.held(session, wanted, reason, limit=1_000_000))
    click.confirm(f"Release {count} events?", abort=True)


def _each(
    engine: Engine, settings: Settings, event_ids: Sequence[uuid.UUID], *, trust_version: bool, dry_run: bool
) -> list[Released]:
    results = []
    with transaction(engine) as session:
        acting(session, author())
        mapper_of = mappers(session, settings)
        for event_id in event_ids:
            one = release.release(
                session,
                event_id,
                mapper_of,
                by=whoami(),
                skew_s=settings.version_skew_s,
                trust_version=trust_version,
                dry_run=dry_run,
            )
            results.append(one)
            if not dry_run and one.becomes != "unmapped":
                audit.record(session, Action.EVENT_RELEASED, f"event:{event_id}", trust_version=trust_version)
    return results


def _all(
    engine: Engine, settings: Settings, wanted: EventFilter, reason: str | None, *, trust_version: bool, dry_run: bool
) -> list[Released]:
    """Release what matches, in transactions of a hundred: what is done stays done when this is stopped."""
    results: list[Released] = []
    after: uuid.UUID | None = None
    while True:
        with transaction(engine) as session:
            acting(session, author())
            mapper_of = mappers(session, settings)
            found, before = release.held(session, wanted, reason, after=after, limit=_BATCH), len(results)
            for event_id in found:
                # Another release may have taken it meanwhile.
                with suppress(NotHeld, EventUnknown), session.begin_nested():
                    results.append(
                        release.release(
                            session,
                            event_id,
                            mapper_of,
                            by=whoami(),
                            skew_s=settings.version_skew_s,
                            trust_version=trust_version,
                            dry_run=dry_run,
                        )
                    )
            if found and not dry_run:
                done = sum(one.becomes != "unmapped" for one in results[before:])
                audit.record(session, Action.EVENTS_RELEASED, "events", count=done, trust_version=trust_version)
        if len(found) < _BATCH:
            return results
        after = found[-1]


def mappers(session: Session, settings: Settings) -> Callable[[int], Mapper]:
    """Return what maps each source's unmapped events, as its options and the live priority policy are now.

    It raises StillUnmapped where a source is removed.
    """
    policies = LivePolicies()
    policies.read(session)
    vault = Vault(settings)

    @cache
    def mapper(source_id: int) -> Mapper:
        # Locked, so that its options stay what they are until what was mapped by them is stored.
        source = session.get_one(Source, source_id, with_for_update={"read": True}, populate_existing=True)
        endpoint = None if source.removed_at else configured.ready(source, vault)
        if endpoint is None:
            raise StillUnmapped(f"the source {source.name!r} is removed, or can't be used by this release")
        return Mapper(
            source=endpoint.name,
            source_id=source_id,
            revision=endpoint.revision,
            kind=endpoint.kind,
            config=endpoint.config,
            secrets=[secret.value for secret in endpoint.secrets],
            decide=lambda event, _at: policies.decide(event, kind=endpoint.kind.name, at=time.time()),
            skew_s=settings.version_skew_s,
        )

    return mapper


def _shown(one: Released) -> dict[str, Any]:
    return {
        "id": str(one.id),
        "was": one.was.name.lower(),
        "status": one.becomes,
        "type": one.type,
        "detail": one.detail or None,
        "events": [str(event_id) for event_id in one.events],
    }


def _line(one: Released, *, dry_run: bool) -> str:
    if one.becomes == "unmapped":
        return show.clean(f"{one.id} still can't be read: {one.detail}")
    what = f"{one.id} would be" if dry_run else f"{one.id} is"
    if one.becomes == "pending":
        more = f", as {len(one.events)} events" if one.events else ""
        kind = f" as {one.type}" if one.was is Outcome.UNMAPPED else ""
        what = f"{one.id} would wait" if dry_run else f"{one.id} waits"
        return show.clean(f"{what} to be applied{kind}{more}")
    return f"{what} {one.becomes}"


def _summary(results: Sequence[Released], *, dry_run: bool) -> None:
    counts = Counter((one.becomes, one.type, one.detail) for one in results)
    columns = ("would become" if dry_run else "became", "type", "detail", "count")
    rows = [(becomes, kind, detail or None, count) for (becomes, kind, detail), count in sorted(counts.items())]
    if rows:
        show.table(columns, rows)
    click.echo(f"{len(results)} held events match" + ("; nothing is changed" if dry_run else ""))
