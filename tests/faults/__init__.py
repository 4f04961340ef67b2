"""The fault suite: the real processes under load, one fault at a time, and every event and row accounted for."""
