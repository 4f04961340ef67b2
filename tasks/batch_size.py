"""Owns how much a worker takes along: no more than it has time for. Pure."""

_ALONG_S, _LATELY, _MOST_S = 0.2, 8, 1.0
"""What a process may take along is work for 0.2 s, by the mean over some eight messages, in which none counts for more
than a second an event: a message that waited for the database says nothing of the next."""


class Pace:
    """How long this process takes for an event, lately: what that says of taking more along."""

    def __init__(self) -> None:
        self._event_s = 0.0

    def room(self, at_most: int) -> int:
        """Return how many events there is time for: whoever waits for these can't wait for many slow ones."""
        return min(at_most, int(_ALONG_S / self._event_s)) if self._event_s else at_most

    def took(self, seconds: float, events: int) -> None:
        """Note what a message took."""
        if events:
            self._event_s += (min(seconds / events, _MOST_S) - self._event_s) / _LATELY
