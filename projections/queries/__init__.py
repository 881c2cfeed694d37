"""Typed reads of the read models: the only SQL of theirs that the API reaches.

Every function takes the connection of a ``tenant_session``; row-level security shows it that tenant alone.
"""
