"""R10: whatever way the API's role takes, it sees and changes the rows of its session's tenant alone."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from projections.connections import AsyncPool, Connection, TooPowerfulRole, connect, pool, refuse_powerful_role
from projections.queries.incidents import IncidentFilter, get_incident, list_incidents
from projections.queries.tenant import tenant_session
from projections.registry import projections
from streams.domain.envelope import derive_id
from streams.runtime.settings import DatabaseSettings
from tests.projections.histories import History, full

pytestmark = pytest.mark.stack

VIEWS = (
    "incidents", "incident_alerts", "timeline_entries", "alerts", "tickets", "ticket_conflicts", "attachments", "links",
)  # fmt: skip
TENANTS = ("acme", "globex")


@pytest.fixture(autouse=True)
def both_tenants(projector: Connection) -> None:
    """The same history for two tenants, under ids of their own."""
    for projection in projections():
        if projection.topic == "incident-events":
            projection.prepare(projector)
            for tenant in TENANTS:
                projector.commit()
                projection.apply(projector, full(History(tenant)))
    projector.commit()


@pytest.fixture
def api(database: DatabaseSettings) -> Iterator[Connection]:
    """A session of the API's role in a transaction, without a tenant yet."""
    with connect(database, "api", name="test") as connection:
        yield connection


def tenants_seen(connection: Connection, table: str) -> set[str]:
    query = sql.SQL("SELECT DISTINCT tenant_id FROM {}").format(sql.Identifier(*table.split(".")))
    return {tenant for (tenant,) in connection.execute(query)}


def enter(connection: Connection, tenant: str) -> None:
    connection.execute("SELECT set_config('incidents.tenant', %s, true)", (tenant,))


@pytest.mark.parametrize("table", [f"read.{v}" for v in VIEWS] + [f"read_data.{v}_g1" for v in VIEWS])
def test_a_session_sees_its_tenant_and_a_forgotten_setting_sees_nothing(
    api: Connection, owner: Connection, table: str
) -> None:
    assert tenants_seen(owner, table) == set(TENANTS)  # the rows are there
    assert tenants_seen(api, table) == set()
    enter(api, "acme")
    assert tenants_seen(api, table) == {"acme"}
    api.commit()  # the setting was the transaction's
    assert tenants_seen(api, table) == set()


@pytest.mark.parametrize("view", VIEWS)
def test_copy_out_is_held_back_and_copy_in_refused(api: Connection, view: str) -> None:
    enter(api, "acme")
    out = sql.SQL("COPY (SELECT tenant_id FROM {}) TO STDOUT").format(sql.Identifier("read", view))
    with api.cursor().copy(out) as copy:
        assert {row[0] for row in copy.rows()} == {"acme"}
    into = sql.SQL("COPY {} FROM STDIN").format(sql.Identifier("read_data", f"{view}_g1"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege), api.cursor().copy(into):
        pass


@pytest.mark.parametrize("statement", ["DELETE FROM {}", "UPDATE {} SET tenant_id = 'acme'", "TRUNCATE {}"])
def test_the_api_cannot_change_read_models(api: Connection, statement: str) -> None:
    enter(api, "acme")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.execute(sql.SQL(statement).format(sql.Identifier("read_data", "incidents_g1")))


@pytest.mark.parametrize(
    "statement",
    [
        "SET ROLE incidents_projector",
        "ALTER ROLE incidents_api BYPASSRLS",
        "ALTER TABLE read_data.incidents_g1 DISABLE ROW LEVEL SECURITY",
        "DROP POLICY tenant ON read_data.incidents_g1",
        "CREATE FUNCTION read.leak() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    ],
)
def test_a_login_of_the_api_cannot_step_out_of_its_role(
    owner: Connection, database: DatabaseSettings, statement: str
) -> None:
    login = "api_" + derive_id(statement, owner.info.dbname)[:8]
    created = sql.SQL("CREATE ROLE {} LOGIN PASSWORD {} IN ROLE incidents_api")
    owner.execute(created.format(sql.Identifier(login), login))
    try:
        url = psycopg.conninfo.make_conninfo(database.url.get_secret_value(), user=login, password=login)
        own = database.model_copy(update={"api_url": SecretStr(url)})
        with connect(own, "api", name="test") as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement.encode())
    finally:
        owner.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(login)))


def test_row_security_off_is_an_error_and_not_a_leak(api: Connection) -> None:
    api.execute("SET row_security = off")
    enter(api, "acme")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        api.execute("SELECT * FROM read.incidents")


async def test_another_tenants_id_is_not_found(api_pool: AsyncPool) -> None:
    async with tenant_session(api_pool, "acme") as connection:
        found = await list_incidents(connection, IncidentFilter(include_merged=True))
        assert [row.tenant_id for row in found] == ["acme", "acme"]
        assert await get_incident(connection, "a") is not None
    async with tenant_session(api_pool, "initech") as connection:
        assert await get_incident(connection, "a") is None
        assert await get_incident(connection, "INC-1") is None


async def test_a_session_leaves_no_tenant_behind(api_pool: AsyncPool) -> None:
    with pytest.raises(ZeroDivisionError):
        async with tenant_session(api_pool, "acme"):
            raise ZeroDivisionError
    async with api_pool.connection() as connection:
        cursor = await connection.execute("SELECT coalesce(current_setting('incidents.tenant', true), '')")
        assert await cursor.fetchone() == ("",)


@pytest.mark.parametrize("tenant", ["", "a\0b", "\ud800"])
async def test_a_session_needs_a_tenant(api_pool: AsyncPool, tenant: str) -> None:
    with pytest.raises(ValueError, match="needs a tenant"):
        async with tenant_session(api_pool, tenant):
            pass


@pytest.mark.parametrize("tenant", ["x'; DROP TABLE ops.tenants; --", "' OR true --", "\\'; --"])
async def test_a_hostile_tenant_is_only_a_name(api_pool: AsyncPool, tenant: str) -> None:
    async with tenant_session(api_pool, tenant) as connection:
        assert await list_incidents(connection, IncidentFilter()) == []
        cursor = await connection.execute("SELECT current_setting('incidents.tenant')")
        assert await cursor.fetchone() == (tenant,)


async def test_a_reading_session_cannot_write(api_pool: AsyncPool) -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        async with tenant_session(api_pool, "acme") as connection:
            await connection.execute("INSERT INTO ops.tenants VALUES ('acme', now())")


async def test_credentials_of_another_tenant_cannot_be_written(api_pool: AsyncPool) -> None:
    async with tenant_session(api_pool, "acme", write=True) as connection:
        await connection.execute("INSERT INTO ops.tenants VALUES ('acme', now())")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with tenant_session(api_pool, "acme", write=True) as connection:
            await connection.execute("INSERT INTO ops.tenants VALUES ('globex', now())")


async def test_the_api_refuses_a_powerful_role(database: DatabaseSettings, api_pool: AsyncPool) -> None:
    async with api_pool.connection() as connection:
        await refuse_powerful_role(connection)
    async with pool(database, "projector", name="test") as other, other.connection() as connection:
        with pytest.raises(TooPowerfulRole, match="incidents_projector has BYPASSRLS"):
            await refuse_powerful_role(connection)
    async with pool(database, "owner", name="test") as other, other.connection() as connection:
        with pytest.raises(TooPowerfulRole, match="is superuser"):
            await refuse_powerful_role(connection)


def test_look_ups_before_the_tenant_is_known(api: Connection, owner: Connection) -> None:
    owner.execute("INSERT INTO ops.api_tokens VALUES ('t1', 'globex', 'ci', 'viewer', '\\x01', now())")
    owner.execute("INSERT INTO ops.integrations VALUES ('i1', 'globex', 'pagerduty', 'PD', '{}', now())")
    owner.execute(
        "INSERT INTO ops.integration_secrets VALUES ('s1', 'i1', 'globex', '\\x0a', now(), NULL),"
        " ('s2', 'i1', 'globex', '\\x0b', now() + '1 s', NULL),"
        " ('s3', 'i1', 'globex', '\\x0c', now(), now() - '1 s'::interval)"
    )
    assert api.execute("SELECT tenant_id FROM ops.token_by_hash('\\x01')").fetchall() == [("globex",)]
    assert api.execute("SELECT tenant_id FROM ops.token_by_hash('\\x02')").fetchall() == []
    found = api.execute("SELECT tenant_id, ciphertexts FROM ops.integration_by_id('i1')").fetchall()
    assert found == [("globex", [b"\x0b", b"\x0a"])]
    assert api.execute("SELECT count(*) FROM ops.api_tokens").fetchone() == (0,)


def test_look_ups_are_for_the_api_alone(projector: Connection) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        projector.execute("SELECT * FROM ops.token_by_hash('\\x01')")


def test_changed_credentials_are_announced(database: DatabaseSettings, owner: Connection) -> None:
    with connect(database, "api", name="test", autocommit=True) as listener:
        listener.execute("LISTEN incidents_credentials")
        owner.execute("INSERT INTO ops.api_tokens VALUES ('t1', 'acme', 'ci', 'viewer', '\\x01', now())")
        owner.execute("UPDATE ops.api_tokens SET revoked_at = now()")
        owner.execute("INSERT INTO ops.integrations VALUES ('i1', 'acme', 'pagerduty', 'PD', '{}', now())")
        owner.execute("INSERT INTO ops.integration_secrets VALUES ('s1', 'i1', 'acme', '\\x0a', now(), NULL)")
        heard = [notice.payload for notice in listener.notifies(timeout=5, stop_after=4)]
    token, integration = '{"kind" : "token", "id" : "t1"}', '{"kind" : "integration", "id" : "i1"}'
    assert heard == [token, token, integration, integration]
