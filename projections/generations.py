"""Generations of the read models: tables beside the active ones, of the same shape, behind the same policies.

How far a generation has come stands in the comment of its first table, so that it lives and dies with it: ``filling``
and ``built`` are on their way to readers, ``shown`` was seen by them. Everything here needs the owner.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import psycopg
from psycopg import sql

from projections import checkpoints
from projections.base import Rebuildable
from projections.connections import Connection
from projections.registry import READ_MODELS, rebuildable

State = Literal["active", "filling", "built", "retired"]
Mark = Literal["filling", "built", "shown"]
_ON_ITS_WAY = frozenset({"filling", "built"})

_TABLES = """
SELECT c.relname, coalesce(obj_description(c.oid, 'pg_class'), ''), pg_total_relation_size(c.oid),
       greatest(c.reltuples, 0)::bigint
FROM pg_class c WHERE c.relnamespace = 'read_data'::regnamespace AND c.relkind = 'r' ORDER BY c.relname
"""
_INDEXES = """
SELECT i.relname, pg_get_indexdef(x.indexrelid), x.indisunique, coalesce(con.contype::text, '')
FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid
LEFT JOIN pg_constraint con ON con.conindid = x.indexrelid AND con.contype IN ('p', 'u')
WHERE x.indrelid = to_regclass(%s) ORDER BY con.contype NULLS LAST, i.relname
"""
_POLICIES = """
SELECT polname, polpermissive, polcmd::text, ARRAY(SELECT rolname FROM pg_roles WHERE oid = ANY (polroles)),
       pg_get_expr(polqual, polrelid), pg_get_expr(polwithcheck, polrelid)
FROM pg_policy WHERE polrelid = to_regclass(%s)
"""
_GRANTS = """
SELECT acl.privilege_type, r.rolname FROM pg_class c, aclexplode(c.relacl) acl JOIN pg_roles r ON r.oid = acl.grantee
WHERE c.oid = to_regclass(%s) AND acl.grantee <> c.relowner
"""
_COMMANDS = {"*": "ALL", "r": "SELECT", "a": "INSERT", "w": "UPDATE", "d": "DELETE"}
_NAMED = re.compile(r"_g(\d+)$")


@dataclass(frozen=True, slots=True)
class Generation:
    """One generation of a read model; ``rows`` is PostgreSQL's estimate, over all of its tables."""

    projection: str
    number: int
    state: State
    rows: int
    bytes: int


def listed(connection: Connection) -> list[Generation]:
    """Every generation that has tables, by projection and number."""
    serving = checkpoints.active(connection)
    tables = {name: row for name, *row in connection.execute(_TABLES).fetchall()}
    found = []
    for projection in READ_MODELS:
        numbers = sorted(int(m[1]) for name in tables if (m := _NAMED.search(name)) and name[: m.start()] == projection)
        for number in numbers:
            names = [table.removeprefix("read_data.") for table in rebuildable(projection, number).tables]
            rows = [tables[name] for name in names if name in tables]
            comment = rows[0][0]
            state: State = comment if comment in _ON_ITS_WAY else "retired"
            if serving[projection] == number:
                state = "active"
            found.append(Generation(projection, number, state, sum(r[2] for r in rows), sum(r[1] for r in rows)))
    return found


def create(connection: Connection, live: Rebuildable, new: Rebuildable) -> None:
    """Make the tables of a new generation: empty, protected like the live ones, without the indexes that can wait."""
    with connection.transaction():
        for source, table in zip(live.tables, new.tables, strict=True):
            connection.execute(
                sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL EXCLUDING INDEXES EXCLUDING COMMENTS)").format(
                    _name(table), _name(source)
                )
            )
            _protect(connection, source, table)
            _index(connection, source, table, new.early)
        mark(connection, new, "filling")


def finish(connection: Connection, live: Rebuildable, new: Rebuildable) -> None:
    """Make the indexes that are still missing and the statistics; safe to run twice."""
    connection.execute("SET maintenance_work_mem = '256MB'")
    for source, table in zip(live.tables, new.tables, strict=True):
        try:
            _index(connection, source, table)
        except psycopg.errors.UniqueViolation:
            with connection.transaction():  # owners see no rows of a table that forces its policies on them
                connection.execute(sql.SQL("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY").format(_name(table)))
                new.unify(connection)
                connection.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(_name(table)))
            _index(connection, source, table)
        connection.execute(sql.SQL("ANALYZE {}").format(_name(table)))
    mark(connection, new, "built")


def mark(connection: Connection, generation: Rebuildable, as_: Mark) -> None:
    """Note how far the generation has come."""
    table = _name(generation.tables[0])
    connection.execute(sql.SQL("COMMENT ON TABLE {} IS {}").format(table, sql.Literal(as_)))


def mark_shown(connection: Connection, generation: Rebuildable) -> None:
    """Note that readers have seen the generation, where it is still marked as on its way to them.

    The lock that this needs is one that a vacuum of the table holds; PostgreSQL ends an autovacuum for it, after a
    second (``deadlock_timeout``).
    """
    row = connection.execute("SELECT obj_description(to_regclass(%s), 'pg_class')", [generation.tables[0]]).fetchone()
    if row and row[0] in _ON_ITS_WAY:
        mark(connection, generation, "shown")


def show(connection: Connection, generation: Rebuildable) -> None:
    """In the open transaction: let readers see this generation."""
    for table in generation.tables:
        connection.execute(
            sql.SQL("CREATE OR REPLACE VIEW {} WITH (security_invoker = true) AS TABLE {}").format(
                sql.Identifier("read", view_name(table)), _name(table)
            )
        )
        connection.execute(
            "UPDATE ops.projection_active SET generation = %s WHERE projection = %s",
            (generation.generation, view_name(table)),
        )


def view_name(table: str) -> str:
    """The name of a table without its schema and generation."""
    return _NAMED.sub("", table.removeprefix("read_data."))


def drop(connection: Connection, generation: Rebuildable) -> None:
    """Remove a generation that readers do not see, with its positions."""
    with connection.transaction():
        for table in generation.tables:
            connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(_name(table)))
        connection.execute(
            "DELETE FROM ops.projection_checkpoints WHERE projection = %s AND generation = %s",
            (generation.name, generation.generation),
        )


def _name(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))


def _protect(connection: Connection, source: str, table: str) -> None:
    """Row-level security, policies and grants as the other table has them (R10)."""
    for switch in ("ENABLE", "FORCE"):
        connection.execute(sql.SQL("ALTER TABLE {} {} ROW LEVEL SECURITY").format(_name(table), sql.SQL(switch)))
    for name, permissive, command, roles, using, check in connection.execute(_POLICIES, [source]).fetchall():
        kind: Any = f"AS {'PERMISSIVE' if permissive else 'RESTRICTIVE'} FOR {_COMMANDS[command]} TO "
        statement = sql.SQL("CREATE POLICY {} ON {} ").format(sql.Identifier(name), _name(table)) + sql.SQL(kind)
        statement += sql.SQL(", ").join(map(sql.Identifier, roles)) if roles else sql.SQL("PUBLIC")
        for word, expression in (("USING", using), ("WITH CHECK", check)):
            if expression:
                statement += sql.SQL(f" {word} ({expression})")
        connection.execute(statement)
    for privilege, role in connection.execute(_GRANTS, [source]).fetchall():
        connection.execute(
            sql.SQL("GRANT {} ON {} TO {}").format(sql.SQL(privilege), _name(table), sql.Identifier(role))
        )


def _index(connection: Connection, source: str, table: str, only: Sequence[str] | None = None) -> None:
    """Make the indexes of ``source`` on ``table``, all that are missing or only those with these endings."""
    there = {name for name, *_ in connection.execute(_INDEXES, [table]).fetchall()}
    old, new = (_NAMED.search(one) for one in (source, table))
    assert old is not None, source
    assert new is not None, table
    view = table.removeprefix("read_data.")
    for name, definition, unique, constraint in connection.execute(_INDEXES, [source]).fetchall():
        wanted = _renamed(name, old[0], new[0])
        if wanted in there or (only is not None and wanted.removeprefix(f"{view}_") not in only):
            continue
        how: Any = definition[definition.index(" USING ") :]
        with connection.transaction():
            connection.execute(
                sql.SQL("CREATE {} INDEX {} ON {}").format(
                    sql.SQL("UNIQUE" if unique else ""), sql.Identifier(wanted), _name(table)
                )
                + sql.SQL(how)
            )
            if constraint:
                kind = sql.SQL("PRIMARY KEY" if constraint == "p" else "UNIQUE")
                connection.execute(
                    sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} {} USING INDEX {}").format(
                        _name(table), sql.Identifier(wanted), kind, sql.Identifier(wanted)
                    )
                )


def _renamed(name: str, old: str, new: str) -> str:
    """An index's name in the new generation."""
    changed = re.sub(rf"{old}(?=_|$)", new, name, count=1)
    return changed if changed != name else name + new
