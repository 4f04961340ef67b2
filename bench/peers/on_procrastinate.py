"""Owns peer (d): the same work under procrastinate, whose queue is PostgreSQL."""

import procrastinate
from sqlalchemy.engine import make_url

from bench.peers import shop
from config.settings import settings

QUEUE = f"{shop.SCHEMA}.procrastinate"

_url = make_url(settings().database_url).set(drivername="postgresql")
connector = procrastinate.PsycopgConnector(
    conninfo=_url.render_as_string(hide_password=False), kwargs={"options": f"-c search_path={shop.SCHEMA}"}
)
app = procrastinate.App(connector=connector)


def _apply(body: dict[str, object]) -> None:
    shop.apply(body)


apply_event = app.task(name="apply_event", queue=QUEUE)(_apply)
