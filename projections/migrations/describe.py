"""The schema as text, from PostgreSQL's catalogs: the same on every server version, unlike ``pg_dump``'s."""

from __future__ import annotations

from projections.connections import Connection

_RELATIONS = "c.relnamespace::regnamespace::text IN ('read', 'read_data', 'ops') AND c.relname NOT LIKE 'alembic_%'"

_QUERIES = (
    """
SELECT format('-- table %s%s%s', c.oid::regclass, CASE WHEN c.relrowsecurity THEN ', row security' ELSE '' END,
              CASE WHEN c.relforcerowsecurity THEN ' forced' ELSE '' END) || string_agg(
         format(E'\\n%s %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END,
                coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')), '' ORDER BY a.attnum)
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relkind = 'r' AND {relations}
GROUP BY c.oid, c.relrowsecurity, c.relforcerowsecurity ORDER BY c.oid::regclass::text
""",
    """
SELECT format('-- view %s %s%s', c.oid::regclass, c.reloptions, E'\\n') || pg_get_viewdef(c.oid)
FROM pg_class c WHERE c.relkind = 'v' AND {relations} ORDER BY c.oid::regclass::text
""",
    """
SELECT format('-- constraint %s on %s: %s', k.conname, c.oid::regclass, pg_get_constraintdef(k.oid))
FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid WHERE k.contype <> 'n' AND {relations}
ORDER BY c.oid::regclass::text, k.conname
""",
    """
SELECT pg_get_indexdef(i.indexrelid) || ';' FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
WHERE {relations} ORDER BY i.indexrelid::regclass::text
""",
    """
SELECT format('-- policy %s on %s.%s to %s: using %s check %s', policyname, schemaname, tablename, roles, qual,
              with_check)
FROM pg_policies WHERE schemaname IN ('read', 'read_data', 'ops') ORDER BY schemaname, tablename, policyname
""",
    """
SELECT format('-- %s to %s', pg_get_functiondef(p.oid), coalesce(array_to_string(ARRAY(
         SELECT g.grantee::regrole::text FROM aclexplode(p.proacl) g
         WHERE g.grantee <> p.proowner AND g.grantee <> 0 ORDER BY 1), ', '), 'everybody'))
FROM pg_proc p WHERE p.pronamespace::regnamespace::text IN ('read', 'read_data', 'ops') ORDER BY p.proname
""",
    """
SELECT pg_get_triggerdef(t.oid) || ';' FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT t.tgisinternal AND {relations} ORDER BY c.oid::regclass::text, t.tgname
""",
    """
SELECT format('-- %s on %s to %s', string_agg(g.privilege_type, ', ' ORDER BY g.privilege_type), c.oid::regclass,
              g.grantee::regrole)
FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) g
WHERE g.grantee <> c.relowner AND {relations}
GROUP BY c.oid, g.grantee ORDER BY c.oid::regclass::text, g.grantee::regrole::text
""",
)


def describe(connection: Connection) -> str:
    """Tables, views, constraints, indexes, policies, functions, triggers and grants, in a fixed order."""
    connection.execute("SET search_path = pg_catalog")
    parts = [
        row[0] for query in _QUERIES for row in connection.execute(query.replace("{relations}", _RELATIONS).encode())
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"
