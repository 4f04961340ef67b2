"""Owns the kind ``bigcommerce``: Standard Webhooks whose key is the bytes of the API account's client secret.

The bodies are thin: they say what changed, not how. Source: developer.bigcommerce.com, "Webhooks".
"""

from collections.abc import Sequence

from app import versions
from app.errors import ConfigInvalid, FieldInvalid
from app.incoming import Incoming
from app.jsontext import parse_object, resolve
from app.sources import fields, names
from app.sources import standard_signature as scheme
from app.sources.kind import Config, Kind, Outgoing, Request

MIN_SECRET_CHARS = 8


def verify(request: Request, secrets: Sequence[str], _config: Config) -> None:
    """Check the signature.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    usable = fields.usable(secrets)
    scheme.verify(request, scheme.Keys(tuple(secret.encode("utf-8", "surrogatepass") for secret in usable)))


def _noun_and_verb(scope: str) -> tuple[str, str]:
    """Return ``cart_line_item`` and ``updated`` of ``store/cart/lineItem/updated``; a channel's number is left out."""
    steps = [names.snake(step) for step in scope.split("/") if not step.isdigit()]
    if len(steps) < len(("store", "noun", "verb")) or steps[0] != "store":
        raise FieldInvalid("/scope isn't store/noun/verb")
    return "_".join(steps[1:-1]), steps[-1]


def normalise(request: Request, _secrets: Sequence[str], _config: Config, source: str) -> Incoming:
    """Bring a notification to normal form; its only version is the second in which it was made.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: a field is missing or malformed.
    """
    external_id = fields.header_text(request, "webhook-id")
    body = parse_object(request.body)
    noun, verb = _noun_and_verb(fields.text(body.get("scope"), "/scope"))
    event_type = fields.label(f"{noun}.{verb}", "/scope")
    created_at = body.get("created_at")
    return Incoming(
        source=source,
        external_id=external_id,
        type=event_type,
        entity_type=noun,
        entity_id=fields.identifier(resolve(body, "/data/id"), "/data/id"),
        operation=fields.operation(event_type),
        version=None if created_at is None else versions.instant(created_at, "/created_at"),
        payload=body,
        data_pointer="/data",
    )


def sign(outgoing: Outgoing, secret: str, _config: Config) -> dict[str, str]:
    """Return the three headers of a notification."""
    return scheme.sign(outgoing, secret.encode("utf-8", "surrogatepass"))


def check_secret(secret: str) -> None:
    """Check that a client secret is long enough; it is used as its UTF-8 bytes.

    Raises:
        ConfigInvalid: it has fewer than 8 characters.
    """
    if len(secret.strip()) < MIN_SECRET_CHARS:
        raise ConfigInvalid(f"the secret must have at least {MIN_SECRET_CHARS} characters")


# Anything but a 200 at once counts as a failure there, and a domain that fails often is blocked.
KIND = Kind("bigcommerce", verify, normalise, sign, check_secret, accepted_status=200)
