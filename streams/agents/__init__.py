"""Faust agents: thin shells around the domain (style: decode, decide, send)."""
