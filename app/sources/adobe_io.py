"""Owns the kind ``adobe-io``: Adobe Commerce and Magento through Adobe I/O Events.

Adobe's keys sign for every customer of Adobe's, so who an event is for (``recipientclientid``) is checked as strictly
as its signature. Keys come in with the request, fetched by ``app.web.keyring`` from one fixed host. Source:
developer.adobe.com/events, "Signature verification"; names: ``app/sources/adobe_events.py``.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

import orjson
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from pydantic import StringConstraints

from app.errors import ConfigInvalid, FieldInvalid, RecipientWrong, SignatureInvalid, SignatureMissing
from app.incoming import Incoming, JsonObject
from app.jsontext import parse_object, resolve
from app.sources import adobe_events, fields
from app.sources.kind import Config, Greeting, Hello, Kind, Outgoing, Request

MIN_SECRET_CHARS = 8
_PATH = re.compile(r"/prod/keys/pub-key-[A-Za-z0-9_-]{1,64}\.pem", re.ASCII)
_CHALLENGE = re.compile(r"[!-~]{1,200}")
_PAIRS = tuple((f"x-adobe-digital-signature-{n}", f"x-adobe-public-key{n}-path") for n in (1, 2))
_HMAC = "x-adobe-signature"


class AdobeConfig(Config):
    """Who the events are for."""

    client_id: Annotated[str, StringConstraints(min_length=1, max_length=200)] | None = None
    """The client id of the project's credentials: without it no digital signature can be this source's."""
    currency: fields.CurrencyCode | None = None
    """What the shop's prices are in: a product doesn't say."""


def key_paths(request: Request) -> tuple[str, ...]:
    """Return the paths of the keys that a request is signed with: those of Adobe's own form, and no others."""
    named = [request.headers.get(path, "") for signature, path in _PAIRS if request.headers.get(signature)]
    return tuple(dict.fromkeys(path for path in named if _PATH.fullmatch(path)))


@lru_cache(64)
def read_key(pem: bytes) -> RSAPublicKey | None:
    """Return an RSA public key of a PEM text, or None where it holds none."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) else None


def _is_adobes(request: Request) -> bool:
    for header, path in _PAIRS:
        key = read_key(request.public_keys.get(request.headers.get(path, ""), b""))
        if key is None:
            continue
        try:
            signature = base64.b64decode(fields.to_bytes(request.headers.get(header, "")), validate=True)
            key.verify(signature, request.body, PKCS1v15(), SHA256())
        except (binascii.Error, ValueError, InvalidSignature):
            continue
        return True
    return False


def _recipient(body: bytes) -> str | None:
    try:
        found = orjson.loads(body)
    except ValueError:
        return None
    named = found.get("recipientclientid") if isinstance(found, dict) else None
    return named if isinstance(named, str) else None


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode("utf-8", "surrogatepass"), other.encode("utf-8", "surrogatepass"))


def _signature(body: bytes, secret: str) -> bytes:
    return base64.b64encode(hmac.digest(secret.encode("utf-8", "surrogatepass"), body, hashlib.sha256))


def verify(request: Request, secrets: Sequence[str], config: AdobeConfig) -> None:
    """Check that one of Adobe's two digital signatures holds, or the older HMAC, and that we are the recipient.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    usable = fields.usable(secrets)
    is_digital = any(request.headers.get(header) for header, _ in _PAIRS)
    if not is_digital and not request.headers.get(_HMAC):
        raise SignatureMissing(f"the headers {_PAIRS[0][0]} and {_HMAC} are missing")
    if is_digital and config.client_id is None and not request.headers.get(_HMAC):
        raise SignatureInvalid("the option client_id isn't set, so no digital signature can be this source's")
    if config.client_id is not None and is_digital and _is_adobes(request):
        if not _same(_recipient(request.body) or "", config.client_id):
            raise RecipientWrong
        return
    given = request.headers.get(_HMAC)
    expected = [_signature(request.body, secret) for secret in usable]
    fields.require_match([fields.to_bytes(given)] if given else [], expected)
    if config.client_id is not None and not _same(_recipient(request.body) or config.client_id, config.client_id):
        raise RecipientWrong


def normalise(request: Request, _secrets: Sequence[str], _config: AdobeConfig, source: str) -> Incoming:
    """Bring an event to normal form. Which fields it has was chosen at Adobe's; the id must be among them.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: a field is missing or malformed.
    """
    body = parse_object(request.body)
    held = resolve(body, "/data/value")
    value: JsonObject = held if isinstance(held, dict) else {}
    name = "eventid" if body.get("eventid") is not None else "id"
    event = adobe_events.read(fields.label(body.get("type"), "/type"))
    entity_id, reused = adobe_events.entity_id(event, value)
    if held is not None and held is not value:
        raise FieldInvalid("/data/value must be an object")
    return Incoming(
        source=source,
        external_id=fields.identifier(body.get(name), f"/{name}"),
        type=event.type,
        entity_type=event.noun,
        entity_id=entity_id,
        operation=fields.operation(event.type),
        version=adobe_events.version(body, value),
        payload=body,
        data_pointer="/data/value",
        reuses_ids=reused,
    )


def greet(hello: Hello, _config: AdobeConfig) -> Greeting | None:
    """Answer Adobe's challenge. An address that Adobe may POST in its place (``validationUrl``) is never fetched."""
    challenge = hello.query.get("challenge", "")
    if hello.method != "GET" or not _CHALLENGE.fullmatch(challenge):
        return None
    return Greeting({"Content-Type": "text/plain; charset=utf-8"}, challenge)


def sign(outgoing: Outgoing, secret: str, _config: AdobeConfig) -> dict[str, str]:
    """Return the older HMAC's header: the digital signatures' private keys are Adobe's own."""
    return {_HMAC: _signature(outgoing.body, secret).decode()}


def check_secret(secret: str) -> None:
    """Check that a client secret is long enough; it is used as its UTF-8 bytes.

    Raises:
        ConfigInvalid: it has fewer than 8 characters.
    """
    if len(secret.strip()) < MIN_SECRET_CHARS:
        raise ConfigInvalid(f"the secret must have at least {MIN_SECRET_CHARS} characters")


KIND = Kind(
    *("adobe-io", verify, normalise, sign, check_secret, AdobeConfig),
    reused_ids=adobe_events.REUSED,
    greet=greet,
    key_paths=key_paths,
    drops_on_4xx=True,
)
