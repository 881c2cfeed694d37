"""Paths and encoded queries of the Table API (https://www.servicenow.com/docs, "Table API").

An instance ignores a part of a query that it does not understand and then returns whatever is left, so what comes back
is checked again by the caller.
"""

from __future__ import annotations

from typing import Final
from urllib.parse import quote, urlencode

from connectors.kit.markers import TICKET_MARK
from connectors.kit.tickets import Cursor
from connectors.servicenow.config import ServiceNowConfig
from connectors.servicenow.records import PLATFORM, raw_time

INCIDENT: Final = "/api/now/table/incident"
JOURNAL: Final = "/api/now/table/sys_journal_field"
DELETED: Final = "/api/now/table/sys_audit_delete"
ATTACHMENT: Final = "/api/now/attachment"


def record(config: ServiceNowConfig, external_id: str = "") -> str:
    """The path of a record (of the table, to make one), with the columns and the form that answers must have."""
    path = f"{INCIDENT}/{quote(external_id, safe='')}" if external_id else INCIDENT
    return f"{path}?{urlencode(_shape(config))}"


def journals(external_id: str) -> str:
    """The path that shows a record's journals as one text each."""
    shape = {"sysparm_display_value": "true", "sysparm_fields": "work_notes,comments"}
    return f"{INCIDENT}/{quote(external_id, safe='')}?{urlencode(shape)}"


def with_marker(config: ServiceNowConfig, marker: str) -> str:
    """The records that carry a marker, oldest first."""
    query = f"correlation_id={_value(marker)}^ORDERBYsys_created_on^ORDERBYsys_id"
    return f"{INCIDENT}?{urlencode({**_shape(config), 'sysparm_query': query, 'sysparm_limit': '10'})}"


def with_number(config: ServiceNowConfig, number: str) -> str:
    """The record that people call so."""
    query = {"sysparm_query": f"number={_value(number)}", "sysparm_limit": "1"}
    return f"{INCIDENT}?{urlencode({**_shape(config), **query})}"


def changed(config: ServiceNowConfig, cursor: Cursor, limit: int) -> str:
    """Records with a marker that changed after the cursor: a keyset by time of change and id."""
    marked, at = f"correlation_idSTARTSWITH{TICKET_MARK}", raw_time(cursor.updated_at)
    after = f"{marked}^sys_updated_on>={at}"
    if cursor.external_id:
        same_second = f"{marked}^sys_updated_on={at}^sys_id>{_value(cursor.external_id)}"
        after = f"{marked}^sys_updated_on>{at}^NQ{same_second}"
    query = f"{after}^ORDERBYsys_updated_on^ORDERBYsys_id"
    return f"{INCIDENT}?{urlencode({**_shape(config), 'sysparm_query': query, 'sysparm_limit': str(limit)})}"


def new_notes(external_ids: list[str], since: int, limit: int) -> str:
    """Journal entries of these records written since (milliseconds)."""
    ids = ",".join(_value(one) for one in external_ids)
    query = f"name=incident^element_idIN{ids}^sys_created_on>={raw_time(since)}^ORDERBYsys_created_on^ORDERBYsys_id"
    return f"{JOURNAL}?{urlencode({'sysparm_query': query, 'sysparm_limit': str(limit)})}"


def deleted(since: int, limit: int) -> str:
    """Traces of incidents that were deleted since (milliseconds)."""
    query = f"tablename=incident^sys_created_on>={raw_time(since)}^ORDERBYsys_created_on"
    shape = {"sysparm_query": query, "sysparm_limit": str(limit), "sysparm_fields": "documentkey,tablename"}
    return f"{DELETED}?{urlencode(shape)}"


def files_of(external_id: str, limit: int) -> str:
    """The attachments of a record, oldest first."""
    query = f"table_name=incident^table_sys_id={_value(external_id)}^ORDERBYsys_created_on^ORDERBYsys_id"
    return f"{ATTACHMENT}?{urlencode({'sysparm_query': query, 'sysparm_limit': str(limit)})}"


def new_files(since: int, limit: int) -> str:
    """Attachments of incidents that were made since (milliseconds): making one does not change its record."""
    query = f"table_name=incident^sys_created_on>={raw_time(since)}^ORDERBYsys_created_on^ORDERBYsys_id"
    return f"{ATTACHMENT}?{urlencode({'sysparm_query': query, 'sysparm_limit': str(limit)})}"


def marked_among(external_ids: list[str]) -> str:
    """Those of these records that carry a marker of ours; their ids alone."""
    ids = ",".join(_value(one) for one in external_ids)
    query = {"sysparm_query": f"correlation_idSTARTSWITH{TICKET_MARK}^sys_idIN{ids}", "sysparm_fields": "sys_id"}
    return f"{INCIDENT}?{urlencode({**query, 'sysparm_limit': str(len(external_ids))})}"


def new_file(external_id: str, file_name: str) -> str:
    """Where a file is sent to."""
    about = {"table_name": "incident", "table_sys_id": external_id, "file_name": file_name}
    return f"{ATTACHMENT}/file?{urlencode(about)}"


def content_of(file_id: str) -> str:
    """Where the bytes of a file are."""
    return f"{ATTACHMENT}/{quote(file_id, safe='')}/file"


def _shape(config: ServiceNowConfig) -> dict[str, str]:
    return {
        "sysparm_display_value": "false",
        "sysparm_exclude_reference_link": "true",
        "sysparm_fields": ",".join(dict.fromkeys((*PLATFORM, *config.fields))),
    }


def _value(text: str) -> str:
    """A value inside a query: a caret begins the next condition unless it is doubled."""
    return text.replace("^", "^^")
