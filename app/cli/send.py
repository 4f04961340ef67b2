"""Owns ``tiercel send``: signs and sends events as a source's real sender would."""

import time
import uuid
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import click
import requests

from app.cli import bodies, given, show
from app.cli.bodies import Example
from app.cli.connect import read_settings, session
from app.errors import ConfigInvalid, SecretMissing, SourceUnknown, Unavailable
from app.events.incoming import JsonValue
from app.security.vault import Vault
from app.sources import configured
from app.sources.kinds import KINDS, Kind
from app.sources.kinds.kind import Config, Outgoing
from config.settings import Settings

_TIMEOUTS_S = (3.05, 15.0)
"""To connect, and between two bytes of the answer: as long as the most patient sender waits."""
_MOST_SHOWN = 2_000


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sends."""

    kind: Kind
    secret: str
    config: Config


@dataclass(frozen=True, slots=True)
class Sent:
    """What is sent; None is what the kind's example has."""

    type: str | None
    data: JsonValue
    body: bytes | None
    content_type: str | None
    key: str | None


@click.command(
    "send", epilog="""Example: tiercel send shop --type price.updated --data '{"id":"1","amount":"9.90"}'"""
)
@click.argument("name")
@click.option("--type", "type_", metavar="TYPE", help="The event's type; default: the kind's example.")
@click.option(
    "--data", "data_given", metavar="JSON|@FILE|-", help="The sender's object, put into the kind's envelope."
)
@click.option("--body", "body_given", metavar="JSON|@FILE|-", help="The whole body, sent to the byte.")
@click.option("--content-type", metavar="TYPE", help="With --body: its media type, such as application/x-ndjson.")
@click.option("--url", metavar="URL", help="The receiver.  [default: http://127.0.0.1:$PORT]")
@click.option("--id", "key", metavar="KEY", help="The idempotency key; default: a new one each.")
@click.option("--count", type=click.IntRange(1, 100_000), default=1, show_default=True, help="How many.")
@click.option("--kind", type=click.Choice(sorted(KINDS)), help="The kind, with --secret: needs no database.")
@click.option("--secret", "secret_given", metavar="TEXT|-", help="The secret; default: the source's own.")
@click.option("--config", metavar="FILE|-", help="With --kind: the kind's options as JSON.")
def command(  # noqa: PLR0913  # an option each
    *,
    name: str,
    type_: str | None,
    data_given: str | None,
    body_given: str | None,
    content_type: str | None,
    url: str | None,
    key: str | None,
    count: int,
    kind: str | None,
    secret_given: str | None,
    config: str | None,
) -> None:
    """Sign and send events as a source's real sender would.

    Without --data or --body a small example of its kind is sent. Prints a line for each: HTTP status, X-Event-Status
    where there is one, and the answer. Exit code 0 if every answer was 2xx. No proxy is used.
    """
    given.one_standard_input(data_given, body_given, secret_given, config)
    if data_given is not None and body_given is not None:
        raise click.UsageError("--data and --body exclude each other")
    if content_type is not None and body_given is None:
        raise click.UsageError("--content-type needs --body")
    if kind is not None and secret_given is None:
        raise click.UsageError("--kind needs --secret")
    if config is not None and kind is None:
        raise click.UsageError("--config needs --kind")
    data = None if data_given is None else given.json(given.raw(data_given, "--data"), "--data")
    body = None if body_given is None else given.raw(body_given, "--body")
    secret = None if secret_given is None else given.secret(secret_given)
    settings = read_settings()
    target = target_of(url or f"http://127.0.0.1:{settings.port}", name)
    if kind is not None and secret is not None:
        sender = Sender(KINDS[kind], secret, configured.check_config(KINDS[kind], given.config(config)))
    else:
        sender = known(settings, name, secret)
    _send(sender, addressed(sender, target), Sent(type_, data, body, content_type, key), count)


def target_of(url: str, name: str) -> str:
    """Return a source's endpoint at a receiver. Exits where the URL isn't one."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter(f"{url!r} isn't a http:// or https:// URL", param_hint="--url")
    return f"{url.rstrip('/')}/webhooks/{quote(name, safe='')}"


def addressed(sender: Sender, target: str) -> str:
    """Return a source's endpoint with what this sender's URL brings."""
    query = urlencode(sender.kind.query(sender.secret, sender.config), errors="surrogatepass")
    return f"{target}?{query}" if query else target


def known(settings: Settings, name: str, secret: str | None) -> Sender:
    """Return a source as its sender, with its own secret unless one is given.

    Raises:
        SourceUnknown, SecretMissing, ConfigInvalid: there is none, or nothing can be signed as it.
    """
    with session(settings) as opened:
        found = next((source for source in configured.listed(opened) if source.name == name), None)
        if found is None:
            raise SourceUnknown(f"no source {name!r}; there is --kind and --secret for one that isn't here")
        if found.kind not in KINDS:
            raise ConfigInvalid(f"this release knows no kind {found.kind!r}")
        if secret is None:
            if not found.secrets:
                raise SecretMissing(f"the source {name!r} has no secret")
            secret = Vault(settings).open(found.secrets[0]["sealed"])
        return Sender(KINDS[found.kind], secret, configured.check_config(KINDS[found.kind], found.config))


def _send(sender: Sender, target: str, sent: Sent, count: int) -> None:
    type_ = sent.type or bodies.default_type(sender.kind.name, sender.config)
    refused = 0
    with requests.Session() as http:
        # Nothing of the environment: a proxy has no business on loopback, and ~/.netrc would replace Authorization.
        http.trust_env = False
        for number in range(1, count + 1):
            own_key, now = sent.key or f"msg_{uuid.uuid4().hex}", time.time()
            made = sent.body
            if made is None:
                wanted = Example(own_key, type_, sent.data, number, now, sender.secret, sender.config)
                made = bodies.body(sender.kind.name, wanted)
            headers = sender.kind.sign(Outgoing(own_key, type_, made, now), sender.secret, sender.config)
            headers = {"content-type": "application/json", **headers}
            if sent.content_type is not None:
                headers["content-type"] = sent.content_type
            answer = post(http, target, made, headers)
            click.echo(_line(answer))
            refused += not 200 <= answer.status_code < 300  # noqa: PLR2004  # RFC 9110, section 15.3
    if refused:
        raise click.exceptions.Exit(1)


def post(http: requests.Session, target: str, body: bytes, headers: dict[str, str]) -> requests.Response:
    """Send one body and return the answer, whatever it is.

    Raises:
        Unavailable, ConfigInvalid: there is no answer, or the headers can't be sent.
    """
    # Bytes, since the values stand for their Latin-1 bytes; a redirect must not carry the secret on.
    shown = target.partition("?")[0]  # what comes after may be a secret
    wire: Any = {name: value.encode("latin-1") for name, value in headers.items()}
    try:
        return http.post(target, data=body, headers=wire, timeout=_TIMEOUTS_S, allow_redirects=False)
    except requests.exceptions.InvalidHeader as error:
        raise ConfigInvalid("the key or the secret can't travel in a header") from error
    except requests.Timeout as error:
        raise Unavailable(f"{shown} doesn't answer in time") from error
    except requests.RequestException as error:
        raise Unavailable(f"{shown} can't be reached: is the receiver running (make up), and on this port?") from error


def _line(answer: requests.Response) -> str:
    kept = answer.headers.get("x-event-status")
    shown = answer.content[:_MOST_SHOWN].decode("utf-8", "replace")
    return show.clean(" ".join(part for part in (str(answer.status_code), kept, " ".join(shown.split())) if part))
