"""A trigger beside the tables under test: it notes each checkpoint that moves back, which sampling would miss."""

from __future__ import annotations

import psycopg

from projections.connections import parameters
from streams.runtime.settings import DatabaseSettings

_INSTALL = """
CREATE SCHEMA IF NOT EXISTS torture;
CREATE TABLE torture.moves_back (
  projection text NOT NULL, generation int NOT NULL, topic text NOT NULL, partition int NOT NULL,
  before bigint NOT NULL, after bigint NOT NULL, epoch bigint NOT NULL);
CREATE FUNCTION torture.note_move_back() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO torture.moves_back
  VALUES (new.projection, new.generation, new.topic, new.partition, old.next_offset, new.next_offset, new.epoch);
  RETURN NULL;
END $$;
CREATE TRIGGER note_move_back AFTER UPDATE ON ops.projection_checkpoints
  FOR EACH ROW WHEN (new.next_offset < old.next_offset) EXECUTE FUNCTION torture.note_move_back();
"""
_FOUND = """
SELECT format('%s (generation %s) of %s[%s] went from %s back to %s, epoch %s',
              projection, generation, topic, partition, before, after, epoch)
FROM torture.moves_back
"""


def install(database: DatabaseSettings) -> None:
    """Begin to note; the database is one that was made for this run."""
    with psycopg.connect(**parameters(database, "owner", "torture")) as connection:
        connection.execute(_INSTALL)


def found(connection: psycopg.Connection[tuple[str, ...]]) -> list[str]:
    """Every committed move back, in words."""
    return [text for (text,) in connection.execute(_FOUND)]
