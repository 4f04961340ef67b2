"""Owns the error tree: Rejected (the sender's fault), Transient (retry), Permanent (dead).

Two tables act on it and nothing else does: ``app.web.errors`` (error -> HTTP status) and ``tasks.retry_policy``
(error, attempt -> retry or dead). An exception's docstring is its default message.
"""


class TiercelError(Exception):
    """Something in Tiercel could not be done."""

    def __init__(self, detail: str | None = None) -> None:
        super().__init__(detail or (type(self).__doc__ or "").partition("\n")[0])


class Rejected(TiercelError):
    """The request can't be accepted as it is."""


class SourceUnknown(Rejected):
    """No source of this name."""


class SourceLeft(Rejected):
    """The sender of this source has left, so it takes nothing any more."""


class BodyTooLarge(Rejected):
    """The body is larger than this receiver takes."""


class ContentTypeUnsupported(Rejected):
    """The content type must be application/json or end in +json."""


class SignatureInvalid(Rejected):
    """The signature doesn't match."""


class SignatureMissing(SignatureInvalid):
    """The request carries no signature."""


class TimestampOutsideTolerance(SignatureInvalid):
    """The signed timestamp is too old or too far ahead."""


class RecipientWrong(SignatureInvalid):
    """The signature is good, but the event is meant for another source."""


class SecretMissing(SignatureInvalid):
    """The source has no secret, so nothing can be verified."""


class BodyMalformed(Rejected):
    """The body isn't valid JSON."""


class FieldInvalid(Rejected):
    """A field that the event needs is missing or has the wrong type."""


class ConfigInvalid(Rejected):
    """The source's configuration can't be used."""


class Transient(TiercelError):
    """It may work when tried again."""

    def __init__(self, detail: str | None = None, *, retry_after_s: float | None = None) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s
        """What the other side asked for, as in Retry-After (RFC 9110, 10.2.3); None where it asked for nothing."""


class Unavailable(Transient):
    """A service that this needs doesn't answer."""


class SourceDisabled(Transient):
    """This source is disabled."""


class SourceNotReady(Transient):
    """This source can't take events now, but may soon."""


class Busy(Transient):
    """Another worker has this entity."""


class ClaimLost(Transient):
    """Another worker has this event now."""


class Permanent(TiercelError):
    """Trying again can't help."""
