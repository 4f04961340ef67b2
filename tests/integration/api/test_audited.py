"""Every route that changes something leaves an entry in the audit log, also the routes of tomorrow."""

from typing import Any

from flask import Flask

from app.models import Scope
from app.resources import Resources
from tasks.process import process
from tests.support.admin_client import Desk
from tests.support.factories import Inbox, incoming, whsec

LOOKS = {"priority.explain"}
"""What is posted to them is only looked at."""
OWN_RECORD = {"desk_events.post_event", "receive.receive"}
"""What comes in is kept itself, with whom it came from."""


def test_every_change_at_the_desk_is_in_the_audit_log(flask_app: Flask, inbox: Inbox, resources: Resources) -> None:
    admin = Desk(flask_app, inbox, Scope.ADMIN)
    reached: set[str] = set()

    def entries() -> int:
        return int(inbox.sql("SELECT count(*) FROM audit")[0][0])

    def do(method: str, path: str, body: Any = None, **headers: str) -> Any:
        before = entries()
        answer = admin.call(method, path, body, **headers)
        assert answer.status_code < 300, answer.text
        assert entries() > before, path
        reached.add(flask_app.url_map.bind("").match(path, method)[0])
        return answer.get_json(silent=True)

    do("POST", "/v1/sources", {"name": "mag", "kind": "standard", "secret": whsec()})
    do("PATCH", "/v1/sources/mag", {"weight": 3})
    do("POST", "/v1/sources/mag/secret", {"secret": whsec()})
    do("DELETE", "/v1/sources/mag")

    key = do("POST", "/v1/keys", {"name": "ci", "scope": "read"})["id"]
    newer = do("POST", f"/v1/keys/{key}/rotate", {})["id"]
    do("DELETE", f"/v1/keys/{newer}")

    do("PUT", "/v1/priority/policy", admin.get("/v1/priority/policy")["policy"], If_Match="*")

    ended = inbox.pointer(incoming())
    process(resources, [ended])
    waiting = inbox.accept(incoming("log.written", "b"))[0].id
    do("POST", f"/v1/events/{ended.event_id}/replay")
    do("POST", f"/v1/events/{waiting}/priority", {"lane": "medium"})
    do("POST", "/v1/reprioritisations", {"filter": {"ids": [str(waiting)]}, "lane": "high"})
    replay = do("POST", "/v1/replays", {"filter": {"source": "shop"}})["id"]
    do("DELETE", f"/v1/replays/{replay}")

    for number in range(2):
        app = {"id": 954889, "myshopify_domain": f"shop{number}.myshopify.com"}
        process(resources, [inbox.pointer(incoming("app.uninstalled", f"app{number}", data=app, entity_type="app"))])
    first, second = (row[0] for row in inbox.sql("SELECT id FROM sender_request ORDER BY id"))
    do("POST", f"/v1/requests/{first}/confirm")
    do("POST", f"/v1/requests/{second}/dismiss")

    changing = {
        rule.endpoint
        for rule in flask_app.url_map.iter_rules()
        if (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}
    }
    assert changing == reached | LOOKS | OWN_RECORD
