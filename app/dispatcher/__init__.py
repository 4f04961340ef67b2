"""The dispatcher: which waiting events are published when, by lane and source."""
