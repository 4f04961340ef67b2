"""What every bench stands on: private systems, senders, load, figures."""
