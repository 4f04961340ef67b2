"""The kind ``hmac``: any sender that puts an HMAC over the raw body into a header.

The options say where things are. Untouched, they verify GitHub's ``X-Hub-Signature-256`` and read a body that is
shaped like a Standard Webhooks one; what an option names must then be there. Vendors that are known by name
(``vendor``) are read by their catalogue.
"""

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qs

from app.errors import ConfigInvalid, FieldInvalid, SignatureInvalid, SignatureMissing
from app.events.incoming import Incoming, JsonObject
from app.sources.kinds import bodies, fields, github_events, hmac_digest, ndjson, stripe_events, woocommerce_topics
from app.sources.kinds import hmac_reading as reading
from app.sources.kinds.hmac_config import HmacConfig
from app.sources.kinds.hmac_vendor import Vendor
from app.sources.kinds.kind import Delivery, Greeting, Hello, Kind, Outgoing, Request

MIN_SECRET_CHARS = 8
SECRET_PARAMETER = "secret"  # noqa: S105  # no secret
VENDORS: Mapping[str, Vendor] = {
    "stripe": stripe_events.VENDOR,
    "woocommerce": woocommerce_topics.VENDOR,
    "github": github_events.VENDOR,
}
_MOST_SIGNATURES = 10


def _signature(signed: bytes, secret: str, config: HmacConfig) -> bytes:
    return hmac_digest.written(
        hmac_digest.key(secret, config.secret_encoding), signed, config.algorithm, config.encoding
    )


def _stamped(value: bytes) -> tuple[bytes, list[bytes]]:
    pairs = [pair.strip(b" ").partition(b"=") for pair in value.split(b",")]
    stamps = [given for name, _, given in pairs if name == b"t"]
    if len(stamps) != 1:
        raise SignatureInvalid("the signature header must have one timestamp, t=")
    return stamps[0], [given for name, _, given in pairs if name == b"v1"][:_MOST_SIGNATURES]


def verify(request: Request, secrets: Sequence[str], config: HmacConfig) -> None:
    """Check the HMAC over the raw body, and over its timestamp where there is one.

    Raises:
        SignatureInvalid: or a child of it; nothing else.
    """
    usable = fields.usable([secret for secret in secrets if hmac_digest.key(secret, config.secret_encoding)])
    if config.auth != "hmac":
        fields.require_match(_told(request, config), [secret.encode("utf-8", "surrogatepass") for secret in usable])
        return
    value = fields.header(request, config.header)
    stamp, signed = b"", request.body
    if config.signed_timestamp:
        stamp, stated = _stamped(value)
        signed = stamp + b"." + request.body
        given = [one for each in stated for one in hmac_digest.given(each, "", config.encoding)]
    else:
        given = hmac_digest.given(value, config.prefix, config.encoding)
    fields.require_match(given, [_signature(signed, secret, config) for secret in usable])
    if config.signed_timestamp:
        fields.require_recent(stamp, request.received_at, config.tolerance_s)


def _told(request: Request, config: HmacConfig) -> list[bytes]:
    """Return the secret that a request brings itself.

    Raises:
        SignatureMissing: it brings none.
    """
    if config.auth == "url":
        found = parse_qs(request.query.decode("latin-1"), errors="surrogateescape").get(SECRET_PARAMETER, [])
        if not found:
            raise SignatureMissing(f"the URL's parameter {SECRET_PARAMETER} is missing")
        return [value.encode("utf-8", "surrogateescape") for value in found[:_MOST_SIGNATURES]]
    value, prefix = fields.header(request, config.header), config.prefix.encode("utf-8", "surrogatepass")
    return [value.removeprefix(prefix).strip()] if value.startswith(prefix) else []


def _vendor(request: Request, body: JsonObject, config: HmacConfig) -> tuple[Vendor | None, str]:
    """Return whose topic a delivery brings, and the topic; None where nobody's catalogue is asked."""
    name = config.vendor
    if name is None and config.may_be_github and github_events.is_githubs(request, body):
        name = "github"
    vendor = None if name is None else VENDORS[name]
    topic = "" if vendor is None else vendor.topic(request, body)
    return (vendor, topic) if topic else (None, "")


def open_(request: Request, _secrets: Sequence[str], config: HmacConfig) -> Delivery:
    """Parse a body.

    Raises:
        BodyMalformed: the body isn't a JSON object.
        FieldInvalid: the key can't be read.
    """
    body, notes = bodies.read_object(request)
    vendor, topic = _vendor(request, body, config)
    told = config.model_fields_set
    if vendor is None or told & reading.KEYED:
        key, content_key = reading.key(request, body, config)
    else:
        key, content_key = vendor.key(request, body, config)
    try:
        if vendor is None or told & reading.TYPED:
            topic = reading.topic(request, body, config)
            signed = config.type_header is None or config.type is not None
            event_type = reading.event_type(request, body, config)
        else:
            signed = vendor.signs_topics
            event_type = vendor.row(topic, body).type
    except FieldInvalid:
        event_type = ""
    return Delivery(
        body,
        topic,
        event_type,
        key,
        content_key=content_key,
        version=None if vendor is None else vendor.version(body),
        notes=notes,
        topic_signed=signed or config.trust_type_header,
    )


def interpret(delivery: Delivery, request: Request, config: HmacConfig, source: str) -> list[Incoming]:
    """Bring a body to normal form: by its vendor's catalogue, and by the options.

    Raises:
        FieldInvalid: a field is missing or malformed.
    """
    vendor, topic = _vendor(request, delivery.body, config)
    if vendor is None:
        return [reading.by_options(delivery, request, config, source)]
    row = vendor.row(topic, delivery.body)
    if not config.trust_type_header:
        vendor.check(row, delivery.body)
    told = reading.as_told(row, delivery, request, config, signed=vendor.signs_topics)
    return [vendor.finish(event) for event in reading.by_catalogue(told, delivery, config, source)]


def split(request: Request, config: HmacConfig) -> list[Request] | None:
    """Take NDJSON and JSON arrays apart.

    Raises:
        BodyTooLarge: there are too many events.
    """
    return ndjson.split(request, config.key_header)


def sign(outgoing: Outgoing, secret: str, config: HmacConfig) -> dict[str, str]:
    """Return the signature's header, those of key and type where the options name them, and what the vendor adds."""
    headers = {} if config.key_header is None else {config.key_header: fields.to_header(outgoing.external_id)}
    if config.type_header is not None:
        headers[config.type_header] = fields.to_header(outgoing.type)
    if config.vendor is not None:
        headers |= VENDORS[config.vendor].headers(outgoing)
    if config.auth != "hmac":
        return headers if config.auth == "url" else headers | {config.header: fields.to_header(config.prefix + secret)}
    if config.signed_timestamp:
        stamp = str(int(outgoing.sent_at))
        signature = _signature(f"{stamp}.".encode() + outgoing.body, secret, config)
        return headers | {config.header: f"t={stamp},v1={signature.decode()}"}
    return headers | {
        config.header: fields.to_header(config.prefix) + _signature(outgoing.body, secret, config).decode()
    }


def query(secret: str, config: HmacConfig) -> dict[str, str]:
    """Return the URL's parameters: the secret, where it stands there."""
    return {SECRET_PARAMETER: secret} if config.auth == "url" else {}


def check_secret(secret: str) -> None:
    """Check that a secret is long enough; it is used as its UTF-8 bytes.

    Raises:
        ConfigInvalid: it has fewer than 8 characters.
    """
    if len(secret.strip()) < MIN_SECRET_CHARS:
        raise ConfigInvalid(f"the secret must have at least {MIN_SECRET_CHARS} characters")


def greet(hello: Hello, config: HmacConfig) -> Greeting | None:
    """Answer WooCommerce's ping, and the request by which senders who put the secret into the URL try it."""
    if config.auth == "url" and (hello.method == "GET" or (hello.method == "POST" and not hello.body)):
        return Greeting({})
    return woocommerce_topics.greet(hello) if config.vendor == "woocommerce" else None


KIND = Kind(
    *("hmac", verify, open_, interpret, sign, check_secret, HmacConfig),
    headers=frozenset({"x-github-event", "x-github-delivery", "x-wc-webhook-*"}),
    header_options=("type_header", "key_header"),
    split=split,
    greet=greet,
    query=query,
    refusals=(
        "It depends on the sender. Stripe tries again for 3 days and may disable the endpoint. WooCommerce repeats "
        "nothing and disables a webhook after more than 5 failures in a row. GitHub repeats nothing by itself."
    ),
)
