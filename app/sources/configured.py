"""Owns the configured sources: adding, rotating and removing them, and reading them ready to verify with."""

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog
from pydantic import ValidationError
from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from app.db.pipeline import Executor
from app.errors import ConfigInvalid, SourceUnknown
from app.models import Source
from app.security import audit
from app.security.audit import Action
from app.security.vault import Vault, VaultUnusable
from app.sources.kinds import KINDS, Kind
from app.sources.kinds.fields import PATTERNS
from app.sources.kinds.kind import Config

_LOG = structlog.get_logger()
SLOWEST_PER_S, FASTEST_PER_S, LARGEST_BURST = 0.01, 1_000_000, 10_000_000
MOST_WEIGHT = 100
FIRST_PARTY = "first-party"
"""The source of events that are posted to the API under no other name."""
_CHANGES = text("SELECT id, updated_at FROM source WHERE updated_at >= CAST(:since AS timestamptz)")
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


@dataclass(frozen=True, slots=True)
class Secret:
    """One secret in the clear; never shown by repr."""

    value: str
    until: datetime | None
    """When it ends; None is the current one."""

    def __repr__(self) -> str:
        return f"Secret(until={self.until})"


@dataclass(frozen=True, slots=True)
class Limit:
    """How many verified events a source may send: so many a second, and ``burst`` at once after a quiet time."""

    per_s: float
    burst: int


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One source, ready to verify and normalise with."""

    id: int
    name: str
    kind: Kind
    config: Config
    secrets: tuple[Secret, ...]
    enabled: bool
    revision: int
    updated_at: datetime
    limit: Limit | None = None
    """None: as the settings say."""
    left: bool = False
    """Whether it is disabled since its sender left for good."""

    @property
    def takes_events(self) -> bool:
        """Whether what is sent to it is stored, if only to be kept until it is enabled again."""
        return self.enabled or (self.kind.keeps_while_disabled and not self.left)

    def valid_secrets(self, now: datetime) -> list[str]:
        """Return the secrets that are valid now: at most two, the newest first."""
        return [secret.value for secret in self.secrets if secret.until is None or secret.until > now]


def check_config(kind: Kind, config: dict[str, Any]) -> Config:
    """Return a kind's options, checked.

    Raises:
        ConfigInvalid: an option is unknown or has a value that can't be.
    """
    try:
        return kind.config.model_validate(config)
    except ValidationError as error:
        raise ConfigInvalid("; ".join(dict.fromkeys(map(_wrong, error.errors())))) from None


def _wrong(error: Any) -> str:
    """Return what is wrong with an option, for a person; elements of a list are counted from 1."""
    where = ".".join(str(step + 1) if isinstance(step, int) else str(step) for step in error["loc"]) or "options"
    pattern = error.get("ctx", {}).get("pattern")
    what = f"must be {PATTERNS[pattern]}" if pattern in PATTERNS else error["msg"]
    return (
        f"{where}: {what}, not {error['input']!r:.100}"
        if isinstance(error["input"], str | int)
        else f"{where}: {what}"
    )


def add(session: Session, vault: Vault, name: str, kind_name: str, secret: str, config: dict[str, Any]) -> Source:
    """Add a source; the name of a removed one can be used again and keeps its events.

    Raises:
        ConfigInvalid: the name, kind, secret or an option can't be used, or the name is taken.
    """
    if not NAME.fullmatch(name):
        raise ConfigInvalid("a source's name is 1 to 63 of a-z 0-9 . _ - and starts with a letter or digit")
    kind = KINDS.get(kind_name)
    if kind is None:
        raise ConfigInvalid(f"no kind {kind_name!r}; there are {', '.join(sorted(KINDS))}")
    kind.check_secret(secret)
    options = check_config(kind, config).model_dump(mode="json", by_alias=True, exclude_unset=True)
    source = session.scalars(select(Source).filter_by(name=name).with_for_update()).one_or_none()
    if source is None:
        source = Source(name=name, revision=0)
        session.add(source)
    elif source.removed_at is None:
        raise ConfigInvalid(f"there is a source {name!r} already; `tiercel sources rotate-secret` changes its secret")
    source.kind, source.config, source.enabled, source.removed_at = kind_name, options, True, None
    source.secrets, source.leaving_since = [{"sealed": vault.seal(secret), "until": None}], None
    _changed(source)
    session.flush()
    audit.record(session, Action.SOURCE_ADDED, f"source:{name}", kind=kind_name)
    return source


def rotate_secret(session: Session, vault: Vault, name: str, secret: str, grace: timedelta) -> Source:
    """Give a source a new secret; the one before stays valid for ``grace``, older ones end now.

    Raises:
        SourceUnknown, ConfigInvalid: no such source, or the secret can't be this kind's.
    """
    source = find(session, name)
    KINDS[source.kind].check_secret(secret)
    until = (datetime.now(UTC) + grace).isoformat()
    before = [{"sealed": kept["sealed"], "until": until} for kept in source.secrets[:1]] if grace else []
    source.secrets = [{"sealed": vault.seal(secret), "until": None}, *before]
    _changed(source)
    audit.record(session, Action.SOURCE_ROTATED, f"source:{name}", grace_s=int(grace.total_seconds()))
    return source


def remove(session: Session, name: str) -> Source:
    """Remove a source: its endpoint answers 404 from now on; its events and entities stay.

    Raises:
        SourceUnknown: no such source.
    """
    source = find(session, name)
    source.removed_at = func.now()
    source.secrets = []
    _changed(source)
    audit.record(session, Action.SOURCE_REMOVED, f"source:{name}")
    return source


def first_party(session: Session) -> Source:
    """Return the source of events that are posted to the API under no other name, made at its first use.

    It has no secret, so its webhook refuses everything.
    """
    made = insert(Source).values(name=FIRST_PARTY, kind="standard").on_conflict_do_nothing().returning(Source.id)
    if session.execute(made).scalar_one_or_none() is not None:
        audit.record(session, Action.SOURCE_ADDED, f"source:{FIRST_PARTY}", kind="standard", by="its first event")
    return session.scalars(select(Source).filter_by(name=FIRST_PARTY)).one()


def limit(session: Session, name: str, to: Limit | None) -> Source:
    """Give a source a budget of its own, or with None the settings'; every receiver knows it within a second.

    Raises:
        SourceUnknown, ConfigInvalid: no such source, or no such budget.
    """
    if to is not None and not (SLOWEST_PER_S <= to.per_s <= FASTEST_PER_S and 1 <= to.burst <= LARGEST_BURST):
        raise ConfigInvalid(f"a limit is {SLOWEST_PER_S} to {FASTEST_PER_S} a second, a burst 1 to {LARGEST_BURST}")
    source = find(session, name)
    source.limit_per_s, source.limit_burst = (None, None) if to is None else (to.per_s, to.burst)
    # Not another revision: what is under way was verified rightly.
    source.updated_at = func.clock_timestamp()
    session.flush()
    audit.record(session, Action.SOURCE_CHANGED, f"source:{name}", limit=None if to is None else asdict(to))
    return source


def set_weight(session: Session, name: str, weight: int) -> Source:
    """Give a source another share of the lanes that several sources want, from the dispatcher's next step on.

    Raises:
        SourceUnknown, ConfigInvalid: no such source, or the weight isn't from 1 to 100.
    """
    if not 1 <= weight <= MOST_WEIGHT:
        raise ConfigInvalid(f"a weight is a number from 1 to {MOST_WEIGHT}")
    source = find(session, name)
    # Nothing that an event is verified with: its revision stays.
    source.weight, source.updated_at = weight, func.clock_timestamp()
    audit.record(session, Action.SOURCE_CHANGED, f"source:{name}", weight=weight)
    return source


def configure(session: Session, name: str, changes: dict[str, Any]) -> Source:
    """Change a source's options: those that are given, the others stay; None takes one away.

    Raises:
        SourceUnknown, ConfigInvalid: no such source, or an option is unknown or has a value that can't be.
    """
    source = find(session, name)
    merged = {option: value for option, value in {**source.config, **changes}.items() if value is not None}
    config = check_config(KINDS[source.kind], merged)
    source.config = config.model_dump(mode="json", by_alias=True, exclude_unset=True)
    _changed(source)
    audit.record(session, Action.SOURCE_CHANGED, f"source:{name}", options=sorted(changes))
    return source


def disable(source: Source) -> None:
    """Disable a source: its endpoint takes nothing until it is enabled again."""
    source.enabled = False
    _changed(source)


def enable(session: Session, name: str) -> Source:
    """Enable a source again, also one whose sender had left.

    Raises:
        SourceUnknown: no such source.
    """
    source = find(session, name)
    source.enabled, source.leaving_since = True, None
    _changed(source)
    audit.record(session, Action.SOURCE_CHANGED, f"source:{name}", enabled=True)
    return source


def switch_off(session: Session, name: str) -> Source:
    """Switch a source off, as a person's decision, at once and everywhere; what came before goes on.

    It answers 503, so that its sender tries again; a kind that keeps events while disabled stores them quarantined.

    Raises:
        SourceUnknown: no such source.
    """
    source = find(session, name)
    if source.enabled:
        disable(source)
        audit.record(session, Action.SOURCE_CHANGED, f"source:{name}", enabled=False)
    return source


def find(session: Session, name: str) -> Source:
    """Return a source's row, locked for a change.

    Raises:
        SourceUnknown: no such source.
    """
    statement = select(Source).filter_by(name=name, removed_at=None).with_for_update()
    source = session.scalars(statement).one_or_none()
    if source is None:
        raise SourceUnknown(f"no source {name!r}")
    return source


def listed(
    session: Session, *, after: str = "", limit: int | None = None, source_ids: Sequence[int] | None = None
) -> Sequence[Source]:
    """Return every source that isn't removed, by name; at most ``limit``, those after a name, of these ids only."""
    statement = select(Source).filter_by(removed_at=None).where(Source.name > after)
    if source_ids is not None:
        statement = statement.where(Source.id.in_(source_ids))
    return session.scalars(statement.order_by(Source.name).limit(limit)).all()


def sealed(session: Session) -> dict[int, list[str]]:
    """Return the sealed secrets of every source that has some, by the source's id."""
    found = session.execute(select(Source.id, Source.secrets).order_by(Source.id))
    return {source_id: [kept["sealed"] for kept in secrets] for source_id, secrets in found if secrets}


def seal_anew(session: Session, vault: Vault, source_id: int) -> int:
    """Seal a source's secrets with the vault's first key; return how many there are. They stay what they are.

    Raises:
        VaultUnusable: no key of this process opens one of them.
    """
    source = session.scalars(select(Source).filter_by(id=source_id).with_for_update()).one()
    # Not another revision, and not another time of change: whatever is verified with them is verified the same.
    source.secrets = [{**kept, "sealed": vault.seal(vault.open(kept["sealed"]))} for kept in source.secrets]
    return len(source.secrets)


def changes_since(session: Executor, since: datetime) -> frozenset[tuple[int, datetime]]:
    """Return which sources changed at or after ``since``, and when each last did."""
    return frozenset((source_id, at) for source_id, at in session.execute(_CHANGES, {"since": since}))


def changed_since(session: Session, vault: Vault, since: datetime) -> tuple[list[Endpoint], list[str], datetime]:
    """Return the endpoints that changed at or after ``since``, the names removed, and the newest change seen."""
    live: list[Endpoint] = []
    gone: list[str] = []
    newest = since
    for source in session.scalars(select(Source).where(Source.updated_at >= since)):
        newest = max(newest, source.updated_at)
        endpoint = None if source.removed_at else ready(source, vault)
        if endpoint is None:
            gone.append(source.name)
        else:
            live.append(endpoint)
    return live, gone, newest


def ready(source: Source, vault: Vault) -> Endpoint | None:
    """Return a source ready to verify and map with, or None where this release can't use it."""
    try:
        kind = KINDS[source.kind]
        return Endpoint(
            id=source.id,
            name=source.name,
            kind=kind,
            config=check_config(kind, source.config),
            secrets=tuple(_open(kept, vault) for kept in source.secrets),
            enabled=source.enabled,
            revision=source.revision,
            updated_at=source.updated_at,
            limit=_limit(source),
            left=not source.enabled and source.leaving_since is not None,
        )
    except (KeyError, ConfigInvalid, VaultUnusable) as error:
        # One source that can't be read must not close the receiver for the others.
        _LOG.error("a source can't be used", action="source_unusable", source=source.name, error=str(error))  # noqa: TRY400
        return None


def _limit(source: Source) -> Limit | None:
    if source.limit_per_s is None or source.limit_burst is None:
        return None
    return Limit(source.limit_per_s, source.limit_burst)


def _open(kept: dict[str, Any], vault: Vault) -> Secret:
    until = kept.get("until")
    return Secret(vault.open(kept["sealed"]), None if until is None else datetime.fromisoformat(until))


def _changed(source: Source) -> None:
    source.revision += 1
    source.updated_at = func.clock_timestamp()
