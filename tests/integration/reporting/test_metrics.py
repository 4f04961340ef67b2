"""What Prometheus reads: who may, that it is well-formed and complete, and that no stranger makes series."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import requests
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.test import TestResponse

from app.db.engine import make_engine, transaction
from app.dispatcher.loop import Dispatcher
from app.models import Lane, Scope
from app.observability import process_metrics
from app.reporting.prometheus import FAMILIES, Exposition
from app.resources import Resources
from app.security import api_keys
from app.web.factory import create_app
from config.settings import Settings
from tasks.process import process
from tests.support import cli_run
from tests.support.factories import Inbox, incoming
from tests.support.queues import Queues
from tests.support.waiting import free_port, wait_until

Samples = dict[tuple[str, ...], float]


@pytest.fixture
def _counting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This process counts, in a folder of its own."""
    monkeypatch.setattr(os, "environ", os.environ | {"TIERCEL_HOME": str(tmp_path)})
    process_metrics.begin("web", main=os.getpid(), slot=0)
    yield
    process_metrics.end()


@pytest.fixture
def flask_app(settings: Settings, inbox: Inbox, _counting: None) -> Iterator[Flask]:  # noqa: ARG001  # the source is there
    made = create_app(settings)
    yield made
    made.extensions["receiver"].close()


def samples(text: str) -> Samples:
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def shown(engine_of: Inbox) -> Samples:
    return samples(Exposition(engine_of.engine).text().decode())


def ask(client: FlaskClient, address: str, **headers: str) -> TestResponse:
    return client.get("/metrics", environ_base={"REMOTE_ADDR": address}, headers=headers)


def test_this_machine_may_look_and_others_need_a_key(client: FlaskClient, inbox: Inbox) -> None:
    with transaction(inbox.engine) as session:
        key = api_keys.create(session, inbox.vault, "prometheus", Scope.READ)
    assert ask(client, "127.0.0.1").status_code == 200
    assert ask(client, "::1").status_code == 200
    assert ask(client, "10.0.0.7").status_code == 401
    assert ask(client, "no address").status_code == 401
    assert ask(client, "10.0.0.7", Authorization="Bearer wrong").status_code == 401
    assert ask(client, "10.0.0.7", Authorization=f"Bearer {key}").status_code == 200


@pytest.mark.parametrize("header", ["X-Forwarded-For", "Forwarded", "X-Real-IP", "Via"])
def test_who_comes_through_a_proxy_on_this_machine_needs_a_key(client: FlaskClient, header: str) -> None:
    assert ask(client, "127.0.0.1", **{header: "10.0.0.7"}).status_code == 401


def test_every_family_is_there_and_in_prometheus_own_form(client: FlaskClient) -> None:
    answer = ask(client, "127.0.0.1")
    assert answer.content_type == "text/plain; version=0.0.4; charset=utf-8"
    found = {family.name for family in text_string_to_metric_families(answer.text)}
    assert {family.name.removesuffix("_total") for family in FAMILIES} <= found


@pytest.mark.usefixtures("_counting")
def test_without_a_database_the_processes_own_numbers_are_left() -> None:
    process_metrics.ATTEMPTS.add("retry")
    nowhere = make_engine(f"postgresql+psycopg2://127.0.0.1:{free_port()}/nothing")
    found = samples(Exposition(nowhere).text().decode())
    assert found["tiercel_database_up",] == 0
    assert found["tiercel_attempts_total", "web", "retry"] == 1
    assert ("tiercel_lane_waiting_events", "high") not in found


def test_scrapes_that_come_together_ask_the_database_once(inbox: Inbox) -> None:
    exposition = Exposition(inbox.engine)
    before = samples(exposition.text().decode())
    inbox.accept(incoming())
    assert samples(exposition.text().decode()) == before
    assert shown(inbox) != before


def test_what_became_of_events_is_shown_as_the_table_has_it(
    inbox: Inbox, resources: Resources, queues: Queues
) -> None:  # noqa: ARG001  # declares the queues
    pointers = [inbox.pointer(incoming(version=version)) for version in (1000, 900, 1100)]
    for pointer in pointers:
        process(resources, [pointer])
    inbox.accept(incoming(entity_id="waits"))
    dispatcher = Dispatcher(resources)
    dispatcher.step()
    found = shown(inbox)
    assert found["tiercel_events_ended_total", "high", "applied", "shop"] == 1
    assert found["tiercel_events_ended_total", "high", "superseded", "shop"] == 2
    assert found["tiercel_event_latency_seconds_count", "high", "price"] == 1
    assert found["tiercel_event_latency_seconds_bucket", "high", "+Inf", "price"] == 1
    assert found["tiercel_lane_waiting_events", "high"] == 1
    assert found["tiercel_lane_out_pointers", "high"] == 1
    assert found["tiercel_lane_oldest_due_age_seconds", "low"] == 0
    assert found["tiercel_database_connections",] >= 1
    assert found["tiercel_dispatcher_seen_timestamp_seconds",] > 1_700_000_000


def test_what_the_dispatcher_did_is_shown_by_lane_and_step(inbox: Inbox, resources: Resources, queues: Queues) -> None:
    queues.purge()
    inbox.accept(incoming())
    inbox.sql("UPDATE event SET dispatched_at = NULL")
    dispatcher = Dispatcher(resources)
    dispatcher.step()
    dispatcher._pulse_at = 0
    dispatcher.step()
    assert shown(inbox)["tiercel_dispatcher_steps_total", "high", "published"] == 1
    assert queues.depth(Lane.HIGH) == 1


def test_the_door_counts_what_it_refuses_under_names_of_ours_only(client: FlaskClient, inbox: Inbox) -> None:
    for n in range(3):
        client.post(f"/webhooks/nobody-{n}", json={})
    client.post("/webhooks/shop", json={})
    client.post("/webhooks/shop", data=b"<xml/>", headers={"content-encoding": "gzip"})
    client.get("/nowhere")
    client.open("/webhooks/shop", method="BREW")
    found = shown(inbox)
    assert found["tiercel_requests_refused_total", "web", "source-unknown", "other"] == 3
    assert found["tiercel_requests_refused_total", "web", "signature-missing", "shop"] == 1
    assert found["tiercel_requests_refused_total", "web", "content-type-unsupported", "shop"] == 1
    assert found["tiercel_http_requests_total", "web", "POST", "/webhooks/<name>", "401"] == 1
    assert found["tiercel_http_requests_total", "web", "GET", "other", "404"] == 1
    assert not [key for key in found if "BREW" in key or "nobody-1" in key]
    assert found["tiercel_http_request_seconds_count", "web", "/webhooks/<name>"] >= 5


def test_the_command_shows_the_same_and_serves_it(settings: Settings, inbox: Inbox) -> None:
    inbox.accept(incoming())
    assert samples(cli_run.ok("metrics"))["tiercel_lane_waiting_events", "high"] == 1
    port = free_port()
    with cli_run.running("metrics", "--serve", str(port)) as process:

        def scraped() -> bool:
            assert process.poll() is None
            try:
                answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=5)
            except requests.ConnectionError:
                return False
            return samples(answer.text)["tiercel_lane_waiting_events", "high"] == 1

        wait_until(scraped)
        taken = cli_run.run("metrics", "--serve", str(port))
        assert taken.exit_code == 1
        assert f"port {port} of {settings.bind} can't be used" in taken.output


@pytest.mark.usefixtures("_counting")
def test_switched_off_no_answer_is_counted_and_ends_are_counted_later(
    settings: Settings,
    inbox: Inbox,
    resources: Resources,
    queues: Queues,  # noqa: ARG001  # empty
) -> None:
    off = settings.model_copy(update={"metrics": False})
    flask_app = create_app(off)
    assert flask_app.test_client().get("/livez").status_code == 200
    flask_app.extensions["receiver"].close()
    applied = ("tiercel_events_ended_total", "high", "applied", "shop")
    Dispatcher(resources).step()
    process(resources, [inbox.pointer(incoming())])
    Dispatcher(replace(resources, settings=off)).step()
    seen = shown(inbox)
    assert applied not in seen
    assert not [sample for sample in seen if sample[0] == "tiercel_http_requests_total"]
    # When it is on again
    Dispatcher(resources).step()
    assert shown(inbox)[applied] == 1


def test_an_event_whose_pointer_is_published_again_grows_no_younger(
    inbox: Inbox,
    resources: Resources,
    queues: Queues,  # noqa: ARG001  # empty
) -> None:
    inbox.accept(incoming())
    inbox.sql("UPDATE event SET due_at = now() - interval '1 h', dispatched_at = now() - interval '1 min'")
    dispatcher = Dispatcher(resources)
    dispatcher.step()
    ((dispatches,),) = inbox.sql("SELECT dispatches FROM event")
    assert dispatches == 1
    dispatcher._pulse_at = 0
    dispatcher.step()
    assert shown(inbox)["tiercel_lane_oldest_due_age_seconds", "high"] >= 3600
