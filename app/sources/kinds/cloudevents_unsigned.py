"""What a binary event under an HMAC may say: its headers aren't signed, so nothing that counts may come from them."""

from app.errors import FieldInvalid
from app.events.canonical_json import resolve
from app.events.incoming import JsonObject, Operation
from app.sources.kinds import fields
from app.sources.kinds.cloudevents_config import CloudEventsConfig
from app.sources.kinds.mapping import Rule

_DATA = "/data/"
_DELETE = "the headers aren't signed: a delete must be sent in structured form"


def check(event: JsonObject, config: CloudEventsConfig, operation: Operation) -> None:
    """Hold an event to its body.

    Raises:
        FieldInvalid: id or version is in a header, or the event deletes.
    """
    for option, pointer in (("id_pointer", config.id_pointer), ("version_pointer", config.version_pointer)):
        if pointer is None or not pointer.startswith(_DATA) or resolve(event, pointer) is None:
            raise FieldInvalid(f"the headers aren't signed: the option {option} must lead to a field in the data")
    if config.order_by == "sequence":
        raise FieldInvalid("the headers aren't signed: what orders by sequence must be sent in structured form")
    if operation is Operation.DELETE:
        raise FieldInvalid(_DELETE)


def check_rule(rule: Rule, event_type: str) -> None:
    """Hold a rule of the option ``mapping`` that an unsigned type has chosen to the same.

    Raises:
        FieldInvalid: it takes the id or the version from a header, or deletes without a signed field that says so.
    """
    if rule.ignore:
        return
    for name, pointers in (("id", rule.id), ("version", (rule.version,))):
        if not pointers or any(one is None or not f"{rule.each or ''}{one}".startswith(_DATA) for one in pointers):
            raise FieldInvalid(
                f"the headers aren't signed: {name} of the rule for {rule.type} must lead into the data"
            )
    told = rule.operation or rule.event_type or event_type
    signed = told.startswith("/") and f"{rule.each or ''}{told}".startswith(_DATA)
    if not signed and (told.startswith("/") or fields.operation(told) is Operation.DELETE):
        raise FieldInvalid(_DELETE)
