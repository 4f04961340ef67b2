"""Owns the answers kept for requests with an Idempotency-Key: a repeated request is answered, not done again.

Kept for a day, sealed, since an answer may hold a new key. A request whose process died is done anew after a minute.
"""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

from app.errors import Rejected
from app.security.vault import Vault


class IdempotencyKeyReused(Rejected):
    """This Idempotency-Key came with another request before."""


class IdempotencyKeyInUse(Rejected):
    """The request with this Idempotency-Key is still under way."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request with a key of its own."""

    key_id: int
    digest: bytes
    fingerprint: bytes

    @classmethod
    def of(cls, vault: Vault, key_id: int, idempotency_key: str, request: bytes) -> "Asked":
        """Return it by the API key that made it, its Idempotency-Key, and its bytes.

        With the pepper, so that whoever reads the table can't try what a request with a secret in it may have been.
        """
        return cls(key_id, vault.digest(idempotency_key.encode()), vault.digest(request))


@dataclass(frozen=True, slots=True)
class StoredAnswer:
    """What was answered."""

    status: int
    body: bytes

    def __repr__(self) -> str:
        return f"Answer(status={self.status})"


_FORGET = text("""
DELETE FROM desk_request WHERE (key_id, digest) IN (
    SELECT key_id, digest FROM desk_request WHERE created_at < now() - interval '1 day'
    ORDER BY created_at LIMIT 100 FOR UPDATE SKIP LOCKED)
""")
_BEGIN = text("""
INSERT INTO desk_request AS d (key_id, digest, fingerprint) VALUES (:key_id, :digest, :fingerprint)
ON CONFLICT (key_id, digest) DO UPDATE SET created_at = now()
WHERE d.status IS NULL AND d.created_at < now() - interval '60 s' AND d.fingerprint = excluded.fingerprint
RETURNING 1
""")
_FIND = text("SELECT fingerprint, status, sealed FROM desk_request WHERE key_id = :key_id AND digest = :digest")
_KEEP = text("UPDATE desk_request SET status = :status, sealed = :sealed WHERE key_id = :key_id AND digest = :digest")
_DROP = text("DELETE FROM desk_request WHERE key_id = :key_id AND digest = :digest AND status IS NULL")


def begin(session: Session, vault: Vault, asked: Asked) -> StoredAnswer | None:
    """Return what a request was answered with before; None where it is to be done now.

    Raises:
        IdempotencyKeyReused, IdempotencyKeyInUse: it is another request's, or that one is under way.
    """
    session.execute(_FORGET)
    key = {"key_id": asked.key_id, "digest": asked.digest}
    if session.execute(_BEGIN, {**key, "fingerprint": asked.fingerprint}).one_or_none() is not None:
        return None
    fingerprint, status, sealed = session.execute(_FIND, key).one()
    if bytes(fingerprint) != asked.fingerprint:
        raise IdempotencyKeyReused
    if status is None:
        raise IdempotencyKeyInUse
    return StoredAnswer(status, vault.open(sealed).encode())


def keep(session: Session, vault: Vault, asked: Asked, answer: StoredAnswer) -> None:
    """Keep an answer for the same request once more."""
    values = {"status": answer.status, "sealed": vault.seal(answer.body.decode())}
    session.execute(_KEEP, {**values, "key_id": asked.key_id, "digest": asked.digest})


def drop(session: Session, asked: Asked) -> None:
    """Forget a request that could not be done, so that it can be tried again."""
    session.execute(_DROP, {"key_id": asked.key_id, "digest": asked.digest})
