"""Owns sending: the day's messages over keep-alive connections, signed as they leave, tried again as senders do."""

import http.client
import itertools
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from standardwebhooks import Webhook

from bench.demo.message import Flaw, Message
from bench.harness.target import Answer, Door, Sender, Target, new_secret

THREADS = 6
_TRIES = 10
_LATER = frozenset({429, 503})


@dataclass(frozen=True, slots=True)
class Sent:
    """One message and what became of it at the door."""

    message: Message
    answer: Answer | None
    """None: no answer came, however often it was tried."""
    tries: int
    headers: Mapping[str, str]
    """Of the last try, names in lower case."""


class Sending:
    """The senders' threads; ``sent`` grows while they run."""

    def __init__(
        self,
        target: Target,
        senders: Mapping[str, Sender],
        messages: Sequence[Message],
        rate: float,
        *,
        tries: int = _TRIES,
    ) -> None:
        self.sent: list[Sent] = []
        self.refused: Counter[str] = Counter()
        """Tries that were told to come later, or got no answer, by what they were told."""
        self._tries = tries
        self._target = target
        self._senders = senders
        self._messages = messages
        self.rate = rate
        self._next = itertools.count()
        self._began = time.monotonic()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, name=f"sender-{n}", daemon=True) for n in range(THREADS)]

    def start(self) -> None:
        """Start sending, ``rate`` messages a second."""
        self._began = time.monotonic()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send nothing more, and wait for what is under way."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def is_done(self) -> bool:
        """Tell whether everything is sent."""
        return not any(thread.is_alive() for thread in self._threads)

    def took_s(self) -> float:
        """Return how long it has been sending."""
        return time.monotonic() - self._began

    def _run(self) -> None:
        with self._target.door() as door:
            while (index := next(self._next)) < len(self._messages):
                wait = self._began + index / self.rate - time.monotonic()
                if self._stopped.wait(max(wait, 0)):
                    return
                self.sent.append(self._send(door, self._messages[index]))

    def _send(self, door: Door, message: Message) -> Sent:
        sender = self._senders[message.role]
        path = f"/webhooks/{'nobody' if message.flaw is Flaw.LOST else sender.name}"
        sent = Sent(message, None, 0, {})
        while sent.tries < self._tries:
            headers = _headers(sender, message)
            sent = replace(
                sent, tries=sent.tries + 1, headers={name.lower(): value for name, value in headers.items()}
            )
            try:
                answer = door.send("POST", path, message.body, headers)
            except (OSError, http.client.HTTPException) as error:
                self.refused[type(error).__name__] += 1
                self._stopped.wait(0.2)
                continue
            sent = replace(sent, answer=answer)
            if answer.status not in _LATER:
                break
            self.refused[f"{answer.status} {answer.title}"] += 1
            self._stopped.wait(min(float(answer.headers.get("retry-after", "1")), 2.0))
        return sent


def _headers(sender: Sender, message: Message) -> dict[str, str]:
    now = time.time()
    headers = {"Content-Type": "application/json"}
    if message.flaw is Flaw.UNSIGNED:
        return headers
    if message.flaw is Flaw.FORGED:
        sender = replace(sender, secret=new_secret(sender.kind))
    if message.flaw is Flaw.REPLAYED:
        now -= 3_600
    if sender.kind == "standard" and message.flaw is None and message.external_id[-1] in "02468ace":
        # Every other one is signed by the specification's own package, so that not only we agree with ourselves.
        at = datetime.fromtimestamp(int(now), UTC)  # a fraction could be rounded up to the next second
        signature = Webhook(sender.secret).sign(message.external_id, at, message.body.decode())
        stamped = {"webhook-id": message.external_id, "webhook-timestamp": str(int(now))}
        return {**headers, **stamped, "webhook-signature": signature}
    return headers | sender.sign(message.external_id, message.type, message.body, now)
