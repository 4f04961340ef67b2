"""Owns what ``tiercel doctor`` checks of precautions: settings that fit, files that are closed, keys, permissions.

Like ``app.cli.checks``: a check never raises, never shows a secret, and says what to do.
"""

import ipaddress
import stat
from collections.abc import Iterator

from sqlalchemy import Engine, func, or_, select, text

from app.cli.state import Check, SystemState
from app.db.engine import transaction
from app.errors import TiercelError
from app.models import ApiKey, Base, Scope
from config.settings import Settings, tiercel_home

_SHORT_PEPPER = 16
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_NEEDED = ("SELECT", "INSERT", "UPDATE", "DELETE")
_APPEND_ONLY = {"audit", "priority_change"}
_SOON_S = 7 * 24 * 3600


def settings(found: Settings) -> Iterator[Check]:
    """Say which settings go badly together, or are fine for a try and not for a shop."""
    odd = list(_odd(found))
    for detail, advice in odd:
        yield Check("settings", SystemState.WARNING, detail, advice)
    if not odd:
        yield Check("settings", SystemState.OK, "they can be read, and go together")


def _odd(found: Settings) -> Iterator[tuple[str, str]]:
    if not _is_loopback(found.bind) and not found.trusted_proxies:
        advice = "name your proxies in TRUSTED_PROXIES, or bind to loopback behind one on this machine"
        yield "BIND is open and TRUSTED_PROXIES is empty: behind a proxy all senders share its address", advice
    if found.log_level.upper() == "DEBUG":
        yield "LOG_LEVEL is DEBUG: logs are long, and libraries say more than they should", "set it to INFO"
    if 0 < len(found.key_pepper.get_secret_value()) < _SHORT_PEPPER:
        yield "TIERCEL_KEY_PEPPER is short", "take 32 random bytes; every key of the API has to be made anew then"
    if not found.flower_password.get_secret_value():
        yield "FLOWER_PASSWORD is empty: Flower doesn't start", "set it, or leave Flower out"
    if found.retry_cap_s < found.retry_base_s:
        yield "RETRY_CAP_S is below RETRY_BASE_S: every retry waits the cap", "raise RETRY_CAP_S"


def files() -> Check:
    """Say whether the file with the first start's secrets is closed to others."""
    path = tiercel_home() / "env"
    try:
        found = path.stat()
    except FileNotFoundError:
        return Check("files", SystemState.OK, "no file of this set-up holds secrets: they come from the environment")
    except OSError as error:
        return Check("files", SystemState.WRONG, f"{path}: {error.strerror}", "run this as the user who runs Tiercel")
    if found.st_mode & _OTHERS:
        return Check(
            "files", SystemState.WRONG, f"others can read {path}", f"chmod 600 {path}, then rotate what is in it"
        )
    return Check("files", SystemState.OK, f"only its owner can read {path}")


def permissions(engine: Engine) -> Check:
    """Say whether this role of the database may do what Tiercel does."""
    ask = text("SELECT has_table_privilege(CAST(:table AS text), CAST(:right AS text))")
    missing = []
    try:
        with transaction(engine) as session:
            for table in Base.metadata.sorted_tables:
                wanted = _NEEDED[:2] if table.name in _APPEND_ONLY else _NEEDED
                name = f'"{table.name}"'
                missing += [
                    f"{right} on {table.name}"
                    for right in wanted
                    if not session.execute(ask, {"table": name, "right": right}).scalar_one()
                ]
    except TiercelError as error:
        return Check(
            "permissions", SystemState.WRONG, f"{type(error).__name__}: {error}"[:300], "run `tiercel db upgrade`"
        )
    if missing:
        advice = "GRANT it to this role, or run `tiercel db upgrade` and Tiercel as the same one"
        return Check("permissions", SystemState.WRONG, f"this role lacks {', '.join(missing)}", advice)
    return Check("permissions", SystemState.OK, "this role may read and write every table")


def keys(engine: Engine) -> Check:
    """Say whether somebody has a key for the API, and whose ends soon."""
    alive = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now())
    soon = ApiKey.expires_at < func.now() + text(f"interval '{_SOON_S} s'")
    try:
        with transaction(engine) as session:
            found = session.scalars(select(ApiKey).filter_by(revoked_at=None).where(alive)).all()
            ending = session.scalars(
                select(ApiKey.name).filter_by(revoked_at=None).where(alive, soon).order_by(ApiKey.name)
            ).all()
    except TiercelError as error:
        return Check("keys", SystemState.WRONG, f"{type(error).__name__}: {error}"[:300], "run `tiercel db upgrade`")
    if ending:
        advice = "make another with `tiercel keys create`, and change its user"
        return Check("keys", SystemState.WARNING, f"these end within a week: {', '.join(ending)}", advice)
    admins = sum(key.scope is Scope.ADMIN for key in found)
    return Check("keys", SystemState.OK, f"{len(found)} open the API, {admins} of them as admin")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
