"""Alembic migrations of the database schema, in ``versions``, and the committed description of their outcome."""
