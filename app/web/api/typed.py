"""Owns the API's lists of typed rows: campaigns, promotions, prices, segments, content, currencies and leads."""

from collections.abc import Callable
from typing import Any

from flask import Blueprint, Response
from pydantic import create_model

from app.db.engine import transaction
from app.models import Lead
from app.reporting import typed_rows
from app.reporting.typed_rows import LISTINGS, Listing
from app.web.api import auth, params
from app.web.api.params import Moment, Query, Text
from app.web.openapi import schemas
from app.web.openapi.described import described
from app.web.webhooks.receiver import receiver

blueprint = Blueprint("typed", __name__, url_prefix="/v1")
blueprint.before_request(auth.check_key)


def _query(name: str, listing: Listing) -> type[Query]:
    fields: dict[str, Any] = dict.fromkeys(("source", "entity_id", *listing.filters), (Text | None, None))
    if listing.model is Lead:
        fields |= {"since": (Moment | None, None), "until": (Moment | None, None)}
    made: type[Query] = create_model(f"{name.capitalize()}Query", __base__=Query, **fields)
    return made


def _view(name: str, listing: Listing) -> Callable[[], Response]:
    asks = _query(name, listing)
    leads = listing.model is Lead

    @described("typed rows", {200: schemas.page(schemas.typed(name, listing))}, query=asks, problems={400})
    def view() -> Response:
        wanted: Any = params.query(asks)
        after = params.position(wanted.cursor, *((str,) if leads else (int, str, str, str)))
        if leads and after is not None:
            after = [params.event_position(after[0])]
        equal = {field: getattr(wanted, field) for field in ("entity_id", *listing.filters)}
        times = {"since": wanted.since, "until": wanted.until} if leads else {}
        with transaction(receiver().resources.engine) as session:
            found = typed_rows.rows(
                session,
                listing,
                source=wanted.source,
                source_ids=auth.sources(),
                equal={field: value for field, value in equal.items() if value is not None},
                **times,
                after=after,
                limit=wanted.limit + 1,
            )
        items = [typed_rows.shown(listing, row, source) for row, source in found[: wanted.limit]]
        more = len(found) > wanted.limit
        last = typed_rows.position_of(found[wanted.limit - 1][0]) if more else None
        return params.answer({"items": items, "next": None if last is None else params.cursor(*last)})

    order = "the newest first" if leads else "in the order of their entities"
    view.__doc__ = f"List {name}, {order}; filters and a cursor as query parameters."
    return view


for _name, _listing in LISTINGS.items():
    blueprint.add_url_rule(f"/{_name}", f"list_{_name}", _view(_name, _listing), methods=["GET"])
