"""GitHub's events, held against the signed body. Source: docs.github.com, "Webhook events and payloads".

The event's name stands in ``X-GitHub-Event``, which isn't signed; its action is in the body. So a delete must have the
body that a delete of its event has, and nothing else, unless the option ``trust_type_header`` is set.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from app.errors import FieldInvalid
from app.events.incoming import Completeness, Incoming, JsonObject, Operation
from app.sources.kinds import fields
from app.sources.kinds.catalogue import Locator, Topic, catalogue
from app.sources.kinds.hmac_vendor import Vendor
from app.sources.kinds.kind import Outgoing, Request

HEADER = "x-github-event"
_AROUND = frozenset({"action", "repository", "organization", "enterprise", "installation", "sender"})
"""What a body may have around the object that its event is about."""
_DELETED: Mapping[str, frozenset[str]] = {
    "meta.deleted": frozenset({"hook", "hook_id"}),
    "issues.deleted": frozenset({"issue"}),
    "issue_comment.deleted": frozenset({"comment", "issue"}),
    "release.deleted": frozenset({"release"}),
    "repository.deleted": frozenset(),
    "star.deleted": frozenset({"starred_at"}),
    "label.deleted": frozenset({"label"}),
    "milestone.deleted": frozenset({"milestone"}),
}
"""What the body of a delete has besides: no two of them are the same."""
_OBJECTS = (_AROUND - {"action"}).union(*_DELETED.values(), {"pull_request", "workflow_run", "check_run", "zen"})


def is_githubs(request: Request, body: JsonObject) -> bool:
    """Tell whether a request names an event of GitHub's and its body, which is signed, looks like one."""
    return HEADER in request.headers and not _OBJECTS.isdisjoint(body)


def topic(request: Request, body: JsonObject) -> str:
    """Return event and action, as ``issues.opened``; empty where the header is missing."""
    event = fields.to_bytes(request.headers.get(HEADER, "")).decode(errors="replace")
    action = body.get("action")
    return f"{event}.{action}" if event and isinstance(action, str) and action else event


def event_of(event_type: str) -> tuple[str, str]:
    """Return the event and the action that a type in normal form stands for: ``issues`` and ``opened``."""
    noun, _, action = event_type.partition(".")
    found = next((one for one in catalogue("github").values() if one.type == event_type), None)
    found = found or next((one for one in catalogue("github").values() if one.entity_type == noun), None)
    return (noun if found is None else found.topic.partition(".")[0]), action


def besides(row: Topic) -> frozenset[str]:
    """Return what the body of a delete must have besides what every body has; nothing for any other event."""
    return _DELETED.get(row.topic, frozenset())


def check(row: Topic, body: JsonObject) -> None:
    """Hold an event's name against the body, where it deletes.

    Raises:
        FieldInvalid: this body isn't that of such a delete.
    """
    if row.operation is not Operation.DELETE or row.id.is_event:
        return
    if body.get("action") != "deleted" or body.keys() - _AROUND != besides(row):
        raise FieldInvalid(f"{row.type} isn't signed, and its body would be another (option trust_type_header)")


def row(name: str, _body: JsonObject) -> Topic:
    """Return what an event means.

    Raises:
        FieldInvalid: its name can't be one.
    """
    return _row(name)


@lru_cache(1024)
def _row(name: str) -> Topic:
    known = catalogue("github")
    if name in known:
        return known[name]
    event, _, action = name.partition(".")
    if event in known:
        # Another action is an update of the same object; its name stays the event's: issue.labeled.
        about = known[event]
        return replace(about, type=fields.topic_label(f"{about.entity_type}.{action}", "the event's name"))
    event_type = fields.topic_label(name if action else f"{name}.received", "the event's name")
    return Topic(
        topic=name,
        type=event_type,
        entity_type=fields.noun(event_type),
        id=Locator.read("event"),
        version=(),
        counts=False,
        operation=Operation.UPDATE,
        fact=False,
        completeness=Completeness.THIN,
        data_pointer="",
    )


def headers(outgoing: Outgoing) -> dict[str, str]:
    """Return the headers with event and delivery."""
    told = {HEADER: event_of(outgoing.type)[0], "x-github-delivery": outgoing.external_id}
    return {name: fields.to_header(value) for name, value in told.items()}


def finish(event: Incoming) -> Incoming:
    """Let what was unstarred be starred again: its id is its repository's and its user's."""
    return replace(event, reuses_ids=True) if event.entity_type == "star" else event


VENDOR = Vendor(topic, row, check=check, headers=headers, finish=finish)
