"""The source option ``mapping``: rules by which an operator teaches a source topics without a release.

Rules are tried in order before the kind's catalogue; the first whose ``type`` (and ``where``) matches decides.
"""

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StrictBool,
    StrictInt,
    StrictStr,
    field_serializer,
    model_validator,
)

from app.errors import FieldInvalid
from app.events import version_reading as versions
from app.events.canonical_json import resolve, with_only
from app.events.incoming import Completeness, Incoming, JsonObject, JsonValue, Operation, Version
from app.sources.kinds import fields
from app.sources.kinds.fields import Label, Pointer

if TYPE_CHECKING:
    from app.sources.kinds.kind import Delivery

MOST_RULES = 200
MOST_EACH = 500
"""Entities that one body may describe."""
_IGNORE = "ignore"


def _pointers(value: object) -> object:
    """Take one pointer for a list of one."""
    return (value,) if isinstance(value, str) else value


class Rule(BaseModel):
    """What deliveries of some topics mean. Pointers (RFC 6901) lead into the body, or into an element of ``each``."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    type: Annotated[str, Field(min_length=1, max_length=200)]
    """A glob over the sender's topic, or over the event type that it stands for: ``survey.*``."""
    where: Mapping[Pointer, StrictStr | StrictInt | StrictBool] = Field(default_factory=dict)
    """Fields of the body that must have these values, too; a text is a glob."""
    ignore: bool = False
    """Acknowledge such deliveries and store nothing of them."""
    event_type: Label | None = None
    """The event's type, such as ``lead.captured``. Unset: the topic in normal form."""
    entity_type: Annotated[
        Label | Pointer | None, Field(validation_alias=AliasChoices("entity_type", "entity_pointer"))
    ] = None
    """A name, or a pointer to it. Unset: the first word of the event's type."""
    id: Annotated[
        tuple[Pointer, ...], BeforeValidator(_pointers), Field(validation_alias=AliasChoices("id", "id_pointer"))
    ] = ()
    """Where the entity's id is; several are joined with ``/``. Unset: each event is an entity of its own."""
    version: Annotated[Pointer | None, Field(validation_alias=AliasChoices("version", "version_pointer"))] = None
    """Unset, or nothing there: the time that the delivery gives, else its arrival."""
    clock: Literal["time", "counter"] = "time"
    """What the version is."""
    operation: Annotated[
        Literal["create", "update", "delete"] | Pointer | None,
        Field(validation_alias=AliasChoices("operation", "operation_pointer")),
    ] = None
    """Unset: by the last word of the event's type."""
    as_: Annotated[
        Literal["state", "fact"] | None, Field(validation_alias=AliasChoices("as", "as_"), serialization_alias="as")
    ] = None
    """Unset: what the entity type's handler says; a fact where there is no ``id``."""
    completeness: Literal["complete", "partial", "difference", "thin"] = "complete"
    data: Annotated[Pointer | Literal[""] | None, Field(validation_alias=AliasChoices("data", "data_pointer"))] = None
    """The sender's object. Unset: the element of ``each``, else ``/data`` where that is an object, else the body."""
    each: Pointer | None = None
    """An array, of which each element is an event that keeps the body without the other elements."""

    @field_serializer("id")
    def _as_written(self, pointers: tuple[str, ...]) -> str | tuple[str, ...]:
        return pointers[0] if len(pointers) == 1 else pointers

    @model_validator(mode="after")
    def _ignored_says_no_more(self) -> "Rule":
        if self.ignore and self.model_fields_set - {"type", "where", "ignore"}:
            raise ValueError("a rule with ignore takes only type and where")
        return self

    def matches(self, delivery: "Delivery") -> bool:
        """Tell whether this rule is for a delivery."""
        names = (delivery.topic, delivery.type)
        if self.type not in names and not any(fnmatchcase(name, self.type) for name in names):
            return False
        return all(_holds(resolve(delivery.body, pointer), wanted) for pointer, wanted in self.where.items())


def _holds(value: JsonValue, wanted: str | int | bool) -> bool:
    if isinstance(wanted, str):
        return isinstance(value, str) and (value == wanted or fnmatchcase(value, wanted))
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _as_list(value: object) -> object:
    """Take ``{"GLOB": {…} or "ignore"}`` for a list of rules, in the order written."""
    if not isinstance(value, Mapping):
        return value
    return [_named_by(glob, rule) for glob, rule in value.items()]


def _named_by(glob: object, rule: object) -> object:
    if rule == _IGNORE:
        return {"type": glob, "ignore": True}
    if not isinstance(rule, Mapping) or "type" in rule:
        raise ValueError(f'the rule for {glob} must be "{_IGNORE}", or an object without a type of its own')
    return {"type": glob, **rule}


Rules = Annotated[tuple[Rule, ...], BeforeValidator(_as_list), Field(max_length=MOST_RULES)]


def rule_for(rules: Sequence[Rule], delivery: "Delivery") -> Rule | None:
    """Return the first rule that matches a delivery, or None."""
    return next((rule for rule in rules if rule.matches(delivery)), None)


def incoming(rule: Rule, delivery: "Delivery", source: str) -> list[Incoming]:
    """Return a delivery's events as a rule says.

    Raises:
        FieldInvalid: what a rule points to isn't there, or isn't what it has to be.
    """
    return list(_incoming(rule, delivery, source))


def _incoming(rule: Rule, delivery: "Delivery", source: str) -> Iterator[Incoming]:
    event_type = rule.event_type or delivery.type or fields.topic_label(delivery.topic, "the topic")
    for pointer, element, body, place in _elements(rule, delivery.body):
        entity_type = _entity_type(rule, element, pointer, event_type)
        parts = [fields.identifier(resolve(element, one), pointer + one) for one in rule.id]
        entity_id = fields.entity_id("/".join(parts), pointer + "+".join(rule.id)) if parts else delivery.own_id
        operation = _operation(rule, element, pointer, event_type)
        if rule.operation is None and operation is Operation.DELETE and not delivery.topic_signed:
            raise FieldInvalid(f"the type isn't signed: the rule for {rule.type} needs an operation to delete")
        data_pointer = _data_pointer(rule, body, place)
        if operation is not Operation.DELETE and not isinstance(resolve(body, data_pointer), dict):
            raise FieldInvalid(f"{data_pointer or 'the body'} isn't an object (the rule for {rule.type})")
        yield Incoming(
            source=source,
            external_id=delivery.key,
            type=event_type,
            entity_type=entity_type,
            entity_id=entity_id,
            operation=operation,
            version=_version(rule, element, pointer) or delivery.version,
            payload=body,
            sequence=delivery.sequence,
            data_pointer=data_pointer,
            content_key=delivery.content_key,
            delivery_fields=delivery.delivery_fields,
            fact=None if rule.as_ is None and parts else rule.as_ != "state",
            state=bool(parts) if rule.as_ is None else rule.as_ == "state",
            completeness=Completeness[rule.completeness.upper()],
            notes=delivery.notes,
        )


def _elements(rule: Rule, body: JsonObject) -> list[tuple[str, JsonValue, JsonObject, str]]:
    """Return each element that is an event: where it is, itself, the body without the others, where it is in that."""
    if rule.each is None:
        return [("", body, body, "")]
    found = resolve(body, rule.each)
    if not isinstance(found, list) or not found:
        raise FieldInvalid(f"{rule.each} isn't an array with something in it (the rule for {rule.type})")
    if len(found) > MOST_EACH:
        raise FieldInvalid(f"{rule.each} has more than {MOST_EACH} elements")
    return [
        (f"{rule.each}/{number}", element, with_only(body, rule.each, number), f"{rule.each}/0")
        for number, element in enumerate(found)
    ]


def _entity_type(rule: Rule, element: JsonValue, pointer: str, event_type: str) -> str:
    told = rule.entity_type
    if told is None:
        return fields.noun(event_type)
    if told.startswith("/"):
        told = fields.topic_label(resolve(element, told), pointer + told)
    return told.lower()


def _operation(rule: Rule, element: JsonValue, pointer: str, event_type: str) -> Operation:
    told = rule.operation
    if told is None:
        return fields.operation(event_type)
    if not told.startswith("/"):
        return fields.operation(told)
    return fields.told_operation(resolve(element, told), pointer + told)


def _version(rule: Rule, element: JsonValue, pointer: str) -> Version | None:
    if rule.version is None:
        return None
    value = resolve(element, rule.version)
    if value in (None, ""):
        if rule.clock == "counter":
            # No time can stand in for it: any time is greater than any count.
            raise FieldInvalid(f"{pointer}{rule.version} is missing (the rule for {rule.type})")
        return None
    return (versions.instant if rule.clock == "time" else versions.counter)(value, f"{pointer}{rule.version}")


def _data_pointer(rule: Rule, body: JsonObject, pointer: str) -> str:
    if rule.data is not None:
        return pointer + rule.data
    if rule.each is None and isinstance(body.get("data"), dict):
        return "/data"
    return pointer


def shown(rule: Rule) -> dict[str, Any]:
    """Return a rule as it was written."""
    return rule.model_dump(mode="json", by_alias=True, exclude_unset=True)
