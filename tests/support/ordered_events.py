"""Events of one entity in any order."""

from app.events.incoming import Incoming
from tests.support.factories import incoming


def build(entity: int, verb: str, version: int | None, content: int) -> Incoming:
    entity_type = "order" if verb in {"paid", "refunded"} else "price"
    data = {"id": entity, "amount": str(content), "currency": "EUR"}
    return incoming(f"{entity_type}.{verb}", f"{entity}", version, data=data)
