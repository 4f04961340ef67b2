"""The door under its limits: who is refused, what he is told, and that nothing of it is kept."""

import math
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from redis import Redis
from sqlalchemy import event
from werkzeug.test import TestResponse

from app.db.engine import transaction
from app.inbox import ages, read
from app.models import Lane, Scope
from app.security import api_keys
from app.sources import configured
from app.sources.configured import Limit
from app.sources.kinds import KINDS
from app.web.factory import create_app
from app.web.webhooks.limits.refusals import QuotaExceeded, RateLimited
from config.settings import Settings
from tests.support.factories import Inbox, incoming, whsec
from tests.support.freezing import frozen
from tests.support.standard_posts import body, problem, signed
from tests.support.waiting import wait_until

Make = Callable[..., Flask]


@pytest.fixture
def make(settings: Settings, inbox: Inbox) -> Iterator[Make]:
    """Make receivers with other settings; each is a process of its own to the limits."""
    redis = Redis.from_url(settings.redis_url)
    redis.flushdb()
    made: list[Flask] = []

    def one(**changes: Any) -> Flask:
        made.append(create_app(settings.model_copy(update=changes)))
        return made[-1]

    yield one
    for flask_app in made:
        flask_app.extensions["receiver"].close()
    redis.flushdb()
    redis.close()


def budget(inbox: Inbox, per_s: float, burst: int) -> None:
    with transaction(inbox.engine) as session:
        configured.limit(session, "shop", Limit(per_s, burst))


def send(client: FlaskClient, inbox: Inbox, number: object, event_type: str = "price.updated") -> TestResponse:
    text = body(n=str(number)).replace("price.updated", event_type)
    return client.post("/webhooks/shop", data=text.encode(), headers=signed(inbox.secret, text, f"msg_{number}"))


def forge(client: FlaskClient, number: object, name: str = "shop", **headers: str) -> TestResponse:
    text = body(n=str(number))
    sent = {**signed(whsec(), text), **{name.replace("_", "-"): value for name, value in headers.items()}}
    return client.post(f"/webhooks/{name}", data=text.encode(), headers=sent)


@contextmanager
def slow_inserts(inbox: Inbox, seconds: float) -> Iterator[None]:
    """Let the database take so long over every statement that stores events."""
    code = f"BEGIN PERFORM pg_sleep({seconds}); RETURN NULL; END"
    inbox.sql(f"CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS '{code}'")
    inbox.sql("CREATE TRIGGER slow AFTER INSERT ON event FOR EACH STATEMENT EXECUTE FUNCTION slow()")
    try:
        yield
    finally:
        inbox.sql("DROP FUNCTION slow CASCADE")


def stored(inbox: Inbox) -> int:
    return int(inbox.sql("SELECT count(*) FROM event_key")[0][0])


def test_a_source_beyond_its_budget_is_429_and_leaves_nothing(make: Make, inbox: Inbox) -> None:
    budget(inbox, 0.5, 3)
    client = make().test_client()
    answers = [send(client, inbox, number) for number in range(6)]
    assert [answer.status_code for answer in answers] == [202] * 3 + [429] * 3
    refused = answers[-1]
    assert problem(refused) == "quota-exceeded"
    assert refused.headers["RateLimit-Policy"] == '"source";q=3;w=6'
    assert 1 <= int(refused.headers["Retry-After"]) <= 2
    assert refused.headers["RateLimit"] == f'"source";r=0;t={refused.headers["Retry-After"]}'
    assert stored(inbox) == 3


def test_a_sender_that_waits_as_told_gets_in(make: Make, inbox: Inbox) -> None:
    budget(inbox, 1.0, 1)
    client = make().test_client()
    assert send(client, inbox, 1).status_code == 202
    refused = send(client, inbox, 2)
    assert refused.status_code == 429
    time.sleep(int(refused.headers["Retry-After"]))  # what a sender does
    assert send(client, inbox, 2).status_code == 202


def test_two_processes_share_a_budget_and_a_new_one_counts_in_both(make: Make, inbox: Inbox) -> None:
    budget(inbox, 0.02, 10)
    clients = [make().test_client() for _ in range(2)]
    statuses = [send(clients[number % 2], inbox, number).status_code for number in range(20)]
    assert statuses.count(202) == 10
    with transaction(inbox.engine) as session:
        configured.limit(session, "shop", None)
    for number, client in enumerate(clients):
        wait_until(partial(lambda c, n: send(c, inbox, f"again-{n}").status_code in {200, 202}, client, number))


def test_a_smaller_budget_ends_the_leases_of_the_one_before(make: Make, inbox: Inbox) -> None:
    client = make().test_client()
    assert send(client, inbox, "of the default's lease").status_code == 202
    budget(inbox, 0.02, 2)
    forge(client, 0)  # its 401 reads the sources anew
    assert [send(client, inbox, number).status_code for number in range(4)] == [202, 202, 429, 429]
    budget(inbox, 0.02, 50)
    forge(client, 0)
    # A bucket that grew isn't full at once.
    assert send(client, inbox, "more").status_code == 429


def test_one_source_takes_nothing_from_another(make: Make, inbox: Inbox) -> None:
    budget(inbox, 0.02, 1)
    with transaction(inbox.engine) as session:
        configured.add(session, inbox.vault, "other", "standard", inbox.secret, {})
    client = make().test_client()
    assert [send(client, inbox, number).status_code for number in range(3)] == [202, 429, 429]
    text = body()
    answer = client.post("/webhooks/other", data=text.encode(), headers=signed(inbox.secret, text))
    assert answer.status_code == 202


def test_a_flood_of_low_leaves_room_for_high(make: Make, inbox: Inbox) -> None:
    budget(inbox, 0.02, 10)
    client = make().test_client()
    lows = [send(client, inbox, f"l{number}", "log.written").status_code for number in range(12)]
    assert lows == [202] * 8 + [429] * 4
    assert [send(client, inbox, f"h{number}").status_code for number in range(3)] == [202, 202, 429]


def test_low_is_refused_before_medium_before_high_as_what_waits_grows_old(make: Make, inbox: Inbox) -> None:
    budget(inbox, 10, 1000)
    flask_app = make(pressure_age_high_s=1000.0)
    client, receiver = flask_app.test_client(), flask_app.extensions["receiver"]
    types = {Lane.LOW: "log.written", Lane.MEDIUM: "segment.updated", Lane.HIGH: "price.updated"}

    def refused_at(age_s: float) -> dict[str, list[str]]:
        inbox.sql(
            "UPDATE lane SET dispatcher_seen_at = clock_timestamp(), workers = 1, "
            "oldest_due_at = CASE WHEN lane = 0 THEN now() - make_interval(secs => :age) END",
            age=age_s,
        )
        receiver.endpoints.refresh()
        receiver.limits.tick(60.0)
        answers = {
            lane: [send(client, inbox, f"{age_s}-{lane}-{number}", of) for number in range(4)]
            for lane, of in types.items()
        }
        return {
            lane.name: [problem(answer) for answer in found if answer.status_code == 429]
            for lane, found in answers.items()
        }

    reduced = "temporary-reduced-capacity"
    assert refused_at(0) == {"LOW": [], "MEDIUM": [], "HIGH": []}
    assert refused_at(2005) == {"LOW": [reduced] * 3, "MEDIUM": [], "HIGH": []}
    assert refused_at(3005) == {"LOW": [reduced] * 4, "MEDIUM": [reduced] * 3, "HIGH": []}
    assert refused_at(9000) == {"LOW": [reduced] * 4, "MEDIUM": [reduced] * 4, "HIGH": []}
    refused = send(client, inbox, "told", "log.written")
    assert re.fullmatch(r'"source";q=800;w=80, "low";q=1;w=60', refused.headers["RateLimit-Policy"])
    assert refused.headers["RateLimit"].startswith('"low";r=0;t=')
    assert int(refused.headers["Retry-After"]) <= 60
    inbox.sql("UPDATE lane SET oldest_due_at = NULL")
    receiver.endpoints.refresh()
    receiver.limits.tick(60.0)
    assert send(client, inbox, "again", "log.written").status_code == 202


def test_what_was_leased_before_the_pressure_is_not_spent_under_it(make: Make, inbox: Inbox) -> None:
    budget(inbox, 1000, 1000)
    flask_app = make(pressure_age_low_s=1.0)
    client, receiver = flask_app.test_client(), flask_app.extensions["receiver"]
    assert send(client, inbox, "leases 100", "log.written").status_code == 202
    inbox.sql("UPDATE lane SET dispatcher_seen_at = clock_timestamp(), oldest_due_at = now() - interval '1 hour'")
    receiver.endpoints.refresh()
    receiver.limits.tick(60.0)
    statuses = [send(client, inbox, number, "log.written").status_code for number in range(20)]
    assert 429 in statuses


def test_one_commit_that_hung_is_no_pressure_and_several_are(make: Make, inbox: Inbox) -> None:
    budget(inbox, 10, 1000)
    flask_app = make()
    client, limits = flask_app.test_client(), flask_app.extensions["receiver"].limits

    def refused() -> bool:
        limits.tick(60.0)
        return 429 in [send(client, inbox, f"{time.monotonic()}", "log.written").status_code for _ in range(3)]

    limits.committed(60.0)
    assert not refused()
    for _ in range(20):
        limits.committed(60.0)
    assert refused()


def test_a_slow_database_is_pressure_that_ends_by_itself(make: Make, inbox: Inbox) -> None:
    budget(inbox, 10, 1000)
    flask_app = make(pressure_commit_s=0.05)
    client, limits = flask_app.test_client(), flask_app.extensions["receiver"].limits

    def refused() -> bool:
        answers = [send(client, inbox, f"{time.monotonic()}", "log.written") for _ in range(2)]
        limits.tick(60.0)
        return any(answer.status_code == 429 for answer in answers)

    with slow_inserts(inbox, 0.2):
        wait_until(refused)
    wait_until(lambda: not refused())


def test_a_batch_is_let_in_as_a_whole_or_not_at_all(make: Make, inbox: Inbox) -> None:
    budget(inbox, 0.02, 10)
    receiver = make().extensions["receiver"]
    shop = receiver.endpoints.fresh("shop")
    receiver.limits.admit_all(shop, {Lane.HIGH: 4})
    with pytest.raises(QuotaExceeded):
        receiver.limits.admit_all(shop, {Lane.HIGH: 3, Lane.LOW: 6})
    receiver.limits.admit_all(shop, {Lane.HIGH: 6})
    with pytest.raises(QuotaExceeded):
        receiver.limits.admit(shop, Lane.HIGH)
    receiver.limits.tick(1.0)
    with transaction(inbox.engine) as session:
        assert [(lane.shed, lane.shed_total) for lane in read.lanes(session)] == [(4, 4), (0, 0), (6, 6)]


def test_what_is_refused_is_counted_across_processes(make: Make, inbox: Inbox) -> None:
    budget(inbox, 0.02, 2)
    flask_apps = [make() for _ in range(2)]
    refused = sum(
        send(flask_app.test_client(), inbox, f"{process}-{number}").status_code == 429
        for number in range(10)
        for process, flask_app in enumerate(flask_apps)
    )
    assert refused == 18
    with transaction(inbox.engine) as session:
        key = api_keys.create(session, inbox.vault, "test", Scope.READ)

    def shed() -> list[tuple[int, int]]:
        headers = {"Authorization": f"Bearer {key}"}
        found: Any = flask_apps[0].test_client().get("/v1/lanes", headers=headers).json
        return [(lane["shed"], lane["shed_total"]) for lane in found["items"]]

    wait_until(lambda: shed() == [(18, 18), (0, 0), (0, 0)])
    inbox.sql("UPDATE shed SET at = at - interval '3 minutes' WHERE at > 'epoch'")
    assert shed()[0] == (0, 18)
    assert send(flask_apps[0].test_client(), inbox, "more").status_code == 429
    wait_until(lambda: shed()[0] == (1, 19))
    assert inbox.sql("SELECT count(*) FROM shed WHERE at > 'epoch'") == [(1,)]


def test_what_cannot_be_written_down_is_kept_for_the_next_time(make: Make, inbox: Inbox) -> None:
    budget(inbox, 0.02, 1)
    flask_app = make()
    client, limits = flask_app.test_client(), flask_app.extensions["receiver"].limits
    assert [send(client, inbox, number).status_code for number in range(3)] == [202, 429, 429]
    inbox.sql("ALTER TABLE shed RENAME TO elsewhere")
    limits.tick(1.0)
    inbox.sql("ALTER TABLE elsewhere RENAME TO shed")
    wait_until(lambda: inbox.sql("SELECT count FROM shed WHERE at = 'epoch'") == [(2,)])


@pytest.mark.parametrize("state", ["frozen", "away"])
def test_without_redis_the_door_stays_open_within_a_local_limit(make: Make, inbox: Inbox, state: str) -> None:
    budget(inbox, 0.02, 10)
    if state == "away":
        client = make(redis_url="redis://127.0.0.1:1/0", web_processes=2).test_client()
        statuses = [send(client, inbox, number).status_code for number in range(8)]
    else:
        client = make(web_processes=2).test_client()
        with frozen("redis"):
            statuses = [send(client, inbox, number).status_code for number in range(8)]
    assert statuses == [202] * 5 + [429] * 3


def test_a_kind_whose_sender_gives_up_at_429_is_told_503(make: Make, inbox: Inbox) -> None:
    shop = make().extensions["receiver"].endpoints.fresh("shop")
    final = replace(shop, kind=replace(KINDS["standard"], retries_429=False), limit=Limit(0.02, 1))
    flask_app = make()
    limits = flask_app.extensions["receiver"].limits
    limits.admit(final, Lane.HIGH)

    @flask_app.get("/refused")
    def _refused() -> str:
        limits.admit(final, Lane.HIGH)
        return "in"

    answer = flask_app.test_client().get("/refused")
    assert (answer.status_code, problem(answer)) == (503, "quota-exceeded")
    assert 1 <= int(answer.headers["Retry-After"]) <= 50
    assert answer.headers["RateLimit"].startswith('"source";r=0;t=')


def test_an_address_that_fails_too_often_is_429_and_what_is_rightly_signed_still_gets_in(
    make: Make, inbox: Inbox
) -> None:
    client = make(address_failures_per_s=0.02, address_failures_burst=4).test_client()
    wait_until(lambda: send(client, inbox, "first").status_code in {200, 202})
    answers = [forge(client, number, "shop" if number % 2 else "nobody") for number in range(8)]
    statuses = [answer.status_code for answer in answers]
    assert sorted(statuses[:3]) == [401, 404, 404] or sorted(statuses[:3]) == [401, 401, 404]
    assert statuses[-4:] == [429] * 4
    assert problem(answers[-1]) == "abnormal-usage-detected"
    assert answers[-1].headers["RateLimit-Policy"] == '"address";q=4;w=200'
    assert int(answers[-1].headers["Retry-After"]) <= 50
    big = client.post("/webhooks/shop", data=b"{}", headers={"content-type": "text/plain"})
    assert big.status_code == 429
    assert send(client, inbox, "good").status_code == 202
    assert forge(client, "x", "nobody", x_forwarded_for="198.51.100.7").status_code == 429
    other = client.post("/webhooks/nobody", environ_overrides={"REMOTE_ADDR": "203.0.113.1"})
    assert other.status_code == 404


def test_only_a_trusted_proxys_word_makes_another_address(make: Make, inbox: Inbox) -> None:
    client = make(trusted_proxies="127.0.0.1", address_failures_per_s=0.02, address_failures_burst=1).test_client()
    assert forge(client, 1, "nobody", x_forwarded_for="198.51.100.1").status_code == 404
    assert forge(client, 2, "nobody", x_forwarded_for="198.51.100.1").status_code == 429
    for number in range(20):
        escape = f"203.0.113.{number}, 198.51.100.1"
        assert forge(client, number, "nobody", x_forwarded_for=escape).status_code == 429
    assert forge(client, 3, "nobody", x_forwarded_for="198.51.100.2").status_code == 404


def test_all_addresses_together_fail_only_so_often(make: Make, inbox: Inbox) -> None:
    flask_app = make(failures_per_s=1.0)
    limits = flask_app.extensions["receiver"].limits
    let_in = 0
    with pytest.raises(RateLimited) as refused:
        for number in range(1000):
            limits.charge_failure({"REMOTE_ADDR": f"198.51.{number // 250}.{number % 250}"})
            let_in += 1
    assert 20 <= let_in <= 22
    assert refused.value.violated == "all-failures"


def test_the_flood_of_one_address_counts_for_no_other(make: Make, inbox: Inbox) -> None:
    limits = make(failures_per_s=1.0, address_failures_burst=5).extensions["receiver"].limits
    refused = 0
    for _ in range(100):
        try:
            limits.charge_failure({"REMOTE_ADDR": "198.51.100.1"})
        except RateLimited:
            refused += 1
    assert refused >= 80
    limits.charge_failure({"REMOTE_ADDR": "203.0.113.1"})


def test_a_flood_that_cannot_be_verified_costs_the_database_nothing(make: Make, inbox: Inbox) -> None:
    flask_app = make(address_failures_per_s=0.02, address_failures_burst=2)
    client, engine = flask_app.test_client(), flask_app.extensions["receiver"].resources.engine
    assert send(client, inbox, 1).status_code == 202
    queries: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        queries.append(statement)

    key = {"Authorization": "Bearer tk_wrong"}
    began = time.monotonic()
    event.listen(engine, "before_cursor_execute", count)
    statuses = {forge(client, number).status_code for number in range(200)}
    statuses |= {forge(client, number, "nobody").status_code for number in range(200)}
    at_the_desk = [client.get("/v1/lanes", headers=key).status_code for _ in range(200)]
    event.remove(engine, "before_cursor_execute", count)
    assert statuses == {401, 429}
    assert set(at_the_desk) <= {401, 429}
    assert at_the_desk.count(401) <= 1
    # The sources are read every second whatever happens, and anew for the few that weren't refused; a key is looked up
    # ten times a second at the most.
    seconds = math.ceil(time.monotonic() - began)
    assert len([one for one in queries if "api_key" not in one]) <= 10 + 2 * seconds
    assert len([one for one in queries if "api_key" in one]) <= 2 + 10 * seconds


def test_the_dispatcher_writes_down_since_when_each_lane_waits(inbox: Inbox) -> None:
    inbox.accept(incoming(entity_id="a"), incoming("log.written", "b"), incoming("log.written", "c"))
    inbox.sql("UPDATE event SET due_at = now() - interval '50 s', dispatched_at = NULL WHERE entity_id = 'b'")
    inbox.sql("UPDATE event SET due_at = now() - interval '9 s', priority = 9, dispatched_at = NULL "
              "WHERE entity_id = 'c'")  # fmt: skip
    inbox.sql("UPDATE event SET due_at = now() - interval '20 s', dispatched_at = now() WHERE entity_id = 'a'")
    with transaction(inbox.engine) as session:
        ages.record(session)
    inbox.sql("UPDATE lane SET dispatcher_seen_at = clock_timestamp(), workers = 1")
    with transaction(inbox.engine) as session:
        seen = read.liveness(session)
    found = [pulse.oldest_due_age_s for _, pulse in sorted(seen.items())]
    assert found[1] is None
    assert found[0] is not None
    assert found[2] is not None
    assert (round(found[0], -1), round(found[2], -1)) == (20, 50)
    inbox.sql("UPDATE lane SET dispatcher_seen_at = clock_timestamp() - interval '1 minute'")
    with transaction(inbox.engine) as session:
        assert {pulse.oldest_due_age_s for pulse in read.liveness(session).values()} == {None}
