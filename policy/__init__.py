"""The decision point that every exit asks (R10)."""
