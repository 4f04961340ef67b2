"""A task message: byte for byte what py-amqp makes of the same one."""

import uuid
from types import SimpleNamespace
from typing import Any

import orjson
import pytest
from amqp import Message
from amqp.method_framing import frame_writer
from amqp.serialization import dumps

from app.messaging.messages import PER_MESSAGE, Messages, group_into_messages, queue_name
from app.messaging.pointer import Dispatch, Pointer
from app.models import Lane

CHANNEL = 3


def pointers(lane: Lane, count: int, priority: int = 4) -> list[Dispatch]:
    return [Dispatch(Pointer(uuid.uuid4(), number), lane, priority) for number in range(count)]


def by_py_amqp(dispatches: list[Dispatch], task_id: str, headers: dict[str, Any], frame_max: int) -> bytes:
    written: list[bytes] = []
    transport = SimpleNamespace(write=lambda data: written.append(bytes(data)))
    pairs = [[str(one.pointer.event_id), one.pointer.generation] for one in dispatches]
    content = Message(
        orjson.dumps([[pairs], {}, {}]),
        content_type="application/json",
        content_encoding="utf-8",
        application_headers=headers,
        delivery_mode=2,
        priority=dispatches[0].priority,
        correlation_id=task_id,
        reply_to="",
    )
    args = dumps("Bssbb", (0, "", queue_name(dispatches[0].lane), True, False))
    connection = SimpleNamespace(frame_max=frame_max, bytes_sent=0)
    frame_writer(connection, transport)(1, CHANNEL, (60, 40), args, content)
    return b"".join(written)


@pytest.mark.parametrize("frame_max", [131_072, 4096])
@pytest.mark.parametrize("lane", Lane)
def test_a_message_is_what_py_amqp_would_send(lane: Lane, frame_max: int) -> None:
    messages = Messages(channel=CHANNEL, frame_max=frame_max)
    for count in (1, PER_MESSAGE[lane], 1):
        sent = pointers(lane, count)
        task_id, frames = messages.make(sent, shown=False)
        headers = {"lang": "py", "task": "tasks.process.apply_events", "id": task_id, "root_id": task_id}
        assert frames == by_py_amqp(sent, task_id, headers | {"ignore_result": True}, frame_max)


def test_ids_are_uuids_and_no_two_makers_share_one() -> None:
    makers = [Messages(channel=CHANNEL, frame_max=4096) for _ in range(2)]
    ids = [maker.make(pointers(Lane.HIGH, 1), shown=False)[0] for maker in makers for _ in range(300)]
    assert len({uuid.UUID(made) for made in ids}) == 600


def test_a_shown_message_says_its_arguments() -> None:
    sent = pointers(Lane.MEDIUM, 2)
    _, frames = Messages(channel=CHANNEL, frame_max=4096).make(sent, shown=True)
    assert b"tasks.process.apply_events.shown" in frames
    assert f"(medium: [['{sent[0].pointer.event_id}', 0], ".encode() in frames


def test_pointers_go_together_by_lane_and_urgency() -> None:
    mixed = pointers(Lane.HIGH, 21) + pointers(Lane.LOW, 1) + pointers(Lane.HIGH, 1, priority=9)
    found = [(group[0].lane, group[0].priority, len(group)) for group in group_into_messages(mixed)]
    assert found == [(Lane.HIGH, 9, 1), (Lane.HIGH, 4, 20), (Lane.HIGH, 4, 1), (Lane.LOW, 4, 1)]
