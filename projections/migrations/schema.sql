-- table ops.api_tokens, row security
token_id text NOT NULL
tenant_id text NOT NULL
name text NOT NULL
role text NOT NULL
token_hash bytea NOT NULL
created_at timestamp with time zone NOT NULL
expires_at timestamp with time zone
revoked_at timestamp with time zone
rotated_from text NOT NULL DEFAULT ''::text

-- table ops.integration_secrets, row security
secret_id text NOT NULL
integration_id text NOT NULL
tenant_id text NOT NULL
ciphertext bytea NOT NULL
created_at timestamp with time zone NOT NULL
expires_at timestamp with time zone

-- table ops.integrations, row security
integration_id text NOT NULL
tenant_id text NOT NULL
connector text NOT NULL
name text NOT NULL
config jsonb NOT NULL DEFAULT '{}'::jsonb
created_at timestamp with time zone NOT NULL
disabled_at timestamp with time zone

-- table ops.outbox_events, row security
intent_id text NOT NULL
tenant_id text NOT NULL
incident_id text NOT NULL
connector text NOT NULL
integration_id text NOT NULL
action text NOT NULL
external_id text NOT NULL
idempotency_key text NOT NULL
payload jsonb NOT NULL
event_id text NOT NULL
created_at timestamp with time zone NOT NULL
not_after timestamp with time zone
state text NOT NULL DEFAULT 'pending'::text
attempts integer NOT NULL DEFAULT 0
next_attempt_at timestamp with time zone NOT NULL
leased_by text
leased_until timestamp with time zone
last_error text NOT NULL DEFAULT ''::text
finished_at timestamp with time zone
topic_partition integer NOT NULL
topic_offset bigint NOT NULL

-- table ops.poll_cursors, row security
integration_id text NOT NULL
tenant_id text NOT NULL
updated_at bigint NOT NULL
external_id text NOT NULL
began bigint NOT NULL

-- table ops.polls, row security
integration_id text NOT NULL
tenant_id text NOT NULL
next_poll_at timestamp with time zone NOT NULL
polled_at timestamp with time zone
failures integer NOT NULL DEFAULT 0
last_error text NOT NULL DEFAULT ''::text
leased_by text
leased_until timestamp with time zone

-- table ops.projection_active
projection text NOT NULL
generation integer NOT NULL

-- table ops.projection_checkpoints
projection text NOT NULL
generation integer NOT NULL
topic text NOT NULL
partition integer NOT NULL
next_offset bigint NOT NULL
epoch bigint NOT NULL

-- table ops.simulations, row security
simulation_id text NOT NULL
tenant_id text NOT NULL
kind text NOT NULL
state text NOT NULL
request jsonb NOT NULL
done bigint NOT NULL DEFAULT 0
total bigint NOT NULL DEFAULT 0
problem text NOT NULL DEFAULT ''::text
report text NOT NULL DEFAULT ''::text
page text NOT NULL DEFAULT ''::text
actor text NOT NULL
created_at timestamp with time zone NOT NULL
updated_at timestamp with time zone NOT NULL
leased_by text
leased_until timestamp with time zone

-- table ops.tenants, row security
tenant_id text NOT NULL
created_at timestamp with time zone NOT NULL

-- table ops.timers, row security
timer_id text NOT NULL
tenant_id text NOT NULL
incident_id text NOT NULL
timer text NOT NULL
due timestamp with time zone NOT NULL
cause_id text NOT NULL
sequence bigint NOT NULL
state text NOT NULL DEFAULT 'pending'::text

-- table read_data.alerts_g1, row security forced
tenant_id text NOT NULL
source text NOT NULL
signal_id text NOT NULL
disposition text NOT NULL
signal_status text NOT NULL
incident_id text NOT NULL
alert_key text NOT NULL
fingerprint text NOT NULL
title text NOT NULL
severity text NOT NULL
service text NOT NULL
host text NOT NULL
error_type text NOT NULL
rule text NOT NULL
kind text NOT NULL
connector text NOT NULL
integration_id text NOT NULL
external_id text NOT NULL
correlation_rule text NOT NULL
correlation_version bigint NOT NULL
correlation_key text NOT NULL
links jsonb NOT NULL
labels jsonb NOT NULL
reason text NOT NULL
event_at timestamp with time zone NOT NULL
recorded_at timestamp with time zone NOT NULL
event_id text NOT NULL
topic_partition integer NOT NULL
topic_offset bigint NOT NULL

-- table read_data.attachments_g1, row security forced
tenant_id text NOT NULL
attachment_id text NOT NULL
incident_id text NOT NULL
file_name text NOT NULL
media_type text NOT NULL
size bigint NOT NULL
sha256 text NOT NULL
actor text NOT NULL
how text NOT NULL
via text NOT NULL
ticket_id text NOT NULL
external_id text NOT NULL
problem text NOT NULL
added_at timestamp with time zone NOT NULL
state text NOT NULL
removed_by text NOT NULL
removed_at timestamp with time zone
tenantsequence bigint NOT NULL
event_id text NOT NULL
topic_partition integer NOT NULL
topic_offset bigint NOT NULL

-- table read_data.incident_alerts_g1, row security forced
tenant_id text NOT NULL
incident_id text NOT NULL
alert_key text NOT NULL
firing boolean NOT NULL
occurrences bigint NOT NULL
first_seen timestamp with time zone NOT NULL
last_seen timestamp with time zone NOT NULL
title text NOT NULL
fingerprint text NOT NULL
connector text NOT NULL
integration_id text NOT NULL
external_id text NOT NULL

-- table read_data.incidents_g1, row security forced
tenant_id text NOT NULL
incident_id text NOT NULL
number bigint NOT NULL
title text NOT NULL
status text NOT NULL
severity text NOT NULL
service text NOT NULL
description text NOT NULL
assignee text NOT NULL
acknowledged_by text NOT NULL
acknowledged_at timestamp with time zone
created_at timestamp with time zone NOT NULL
updated_at timestamp with time zone NOT NULL
resolved_at timestamp with time zone
closed_at timestamp with time zone
archived_at timestamp with time zone
revision bigint NOT NULL
sequence bigint NOT NULL
alert_count bigint NOT NULL
repeat_count bigint NOT NULL
firing_count bigint NOT NULL
first_signal_at timestamp with time zone
last_signal_at timestamp with time zone
merged_into text NOT NULL
related_to text NOT NULL
relation text NOT NULL
rule text NOT NULL
correlation_key text NOT NULL
event_id text NOT NULL
topic_partition integer NOT NULL
topic_offset bigint NOT NULL
family jsonb NOT NULL DEFAULT '[]'::jsonb

-- table read_data.links_g1, row security forced
tenant_id text NOT NULL
link_id text NOT NULL
incident_id text NOT NULL
url text NOT NULL
title text NOT NULL
actor text NOT NULL
added_at timestamp with time zone NOT NULL
state text NOT NULL
removed_by text NOT NULL
removed_at timestamp with time zone
tenantsequence bigint NOT NULL
event_id text NOT NULL
topic_partition integer NOT NULL
topic_offset bigint NOT NULL

-- table read_data.ticket_conflicts_g1, row security forced
tenant_id text NOT NULL
conflict_id text NOT NULL
ticket_id text NOT NULL
connector text NOT NULL
integration_id text NOT NULL
field text NOT NULL
external_field text NOT NULL
kind text NOT NULL
owner text NOT NULL
policy text NOT NULL
mapping_version bigint NOT NULL
result text NOT NULL
ours text NOT NULL
theirs text NOT NULL
base_ours text NOT NULL
base_theirs text NOT NULL
base_known boolean NOT NULL
updated_by text NOT NULL
explanation text NOT NULL
since timestamp with time zone NOT NULL
ended_at timestamp with time zone
ended text NOT NULL
value text NOT NULL
ended_by text NOT NULL

-- table read_data.tickets_g1, row security forced
tenant_id text NOT NULL
ticket_id text NOT NULL
incident_id text NOT NULL
connector text NOT NULL
integration_id text NOT NULL
external_id text NOT NULL
external_key text NOT NULL
url text NOT NULL
state text NOT NULL
in_step boolean NOT NULL
mapping_version bigint NOT NULL
version bigint NOT NULL
under_way text NOT NULL
last_action text NOT NULL
last_result text NOT NULL
last_failure text NOT NULL
last_at timestamp with time zone
checked_at timestamp with time zone
since timestamp with time zone NOT NULL
open_conflicts bigint NOT NULL
waiting_conflicts bigint NOT NULL
drifted_fields bigint NOT NULL
fields jsonb NOT NULL
tenantsequence bigint NOT NULL
event_id text NOT NULL
topic_partition integer NOT NULL
topic_offset bigint NOT NULL

-- table read_data.timeline_entries_g1, row security forced
tenant_id text NOT NULL
incident_id text NOT NULL
sequence bigint NOT NULL
tenantsequence bigint NOT NULL
type text NOT NULL
recorded_at timestamp with time zone NOT NULL
actor text NOT NULL
data jsonb NOT NULL
causation_id text NOT NULL
correlation_id text NOT NULL
prev_hash text NOT NULL
hash text NOT NULL
data_digest text NOT NULL
data_salt text NOT NULL
intake_span text NOT NULL
decider text NOT NULL
event_id text NOT NULL
topic_partition integer NOT NULL
topic_offset bigint NOT NULL

-- view read.alerts {security_invoker=true}
 SELECT tenant_id,
    source,
    signal_id,
    disposition,
    signal_status,
    incident_id,
    alert_key,
    fingerprint,
    title,
    severity,
    service,
    host,
    error_type,
    rule,
    kind,
    connector,
    integration_id,
    external_id,
    correlation_rule,
    correlation_version,
    correlation_key,
    links,
    labels,
    reason,
    event_at,
    recorded_at,
    event_id,
    topic_partition,
    topic_offset
   FROM read_data.alerts_g1;

-- view read.attachments {security_invoker=true}
 SELECT tenant_id,
    attachment_id,
    incident_id,
    file_name,
    media_type,
    size,
    sha256,
    actor,
    how,
    via,
    ticket_id,
    external_id,
    problem,
    added_at,
    state,
    removed_by,
    removed_at,
    tenantsequence,
    event_id,
    topic_partition,
    topic_offset
   FROM read_data.attachments_g1;

-- view read.incident_alerts {security_invoker=true}
 SELECT tenant_id,
    incident_id,
    alert_key,
    firing,
    occurrences,
    first_seen,
    last_seen,
    title,
    fingerprint,
    connector,
    integration_id,
    external_id
   FROM read_data.incident_alerts_g1;

-- view read.incidents {security_invoker=true}
 SELECT tenant_id,
    incident_id,
    number,
    title,
    status,
    severity,
    service,
    description,
    assignee,
    acknowledged_by,
    acknowledged_at,
    created_at,
    updated_at,
    resolved_at,
    closed_at,
    archived_at,
    revision,
    sequence,
    alert_count,
    repeat_count,
    firing_count,
    first_signal_at,
    last_signal_at,
    merged_into,
    related_to,
    relation,
    rule,
    correlation_key,
    event_id,
    topic_partition,
    topic_offset,
    family
   FROM read_data.incidents_g1;

-- view read.links {security_invoker=true}
 SELECT tenant_id,
    link_id,
    incident_id,
    url,
    title,
    actor,
    added_at,
    state,
    removed_by,
    removed_at,
    tenantsequence,
    event_id,
    topic_partition,
    topic_offset
   FROM read_data.links_g1;

-- view read.ticket_conflicts {security_invoker=true}
 SELECT tenant_id,
    conflict_id,
    ticket_id,
    connector,
    integration_id,
    field,
    external_field,
    kind,
    owner,
    policy,
    mapping_version,
    result,
    ours,
    theirs,
    base_ours,
    base_theirs,
    base_known,
    updated_by,
    explanation,
    since,
    ended_at,
    ended,
    value,
    ended_by
   FROM read_data.ticket_conflicts_g1;

-- view read.tickets {security_invoker=true}
 SELECT tenant_id,
    ticket_id,
    incident_id,
    connector,
    integration_id,
    external_id,
    external_key,
    url,
    state,
    in_step,
    mapping_version,
    version,
    under_way,
    last_action,
    last_result,
    last_failure,
    last_at,
    checked_at,
    since,
    open_conflicts,
    waiting_conflicts,
    drifted_fields,
    fields,
    tenantsequence,
    event_id,
    topic_partition,
    topic_offset
   FROM read_data.tickets_g1;

-- view read.timeline_entries {security_invoker=true}
 SELECT tenant_id,
    incident_id,
    sequence,
    tenantsequence,
    type,
    recorded_at,
    actor,
    data,
    causation_id,
    correlation_id,
    prev_hash,
    hash,
    data_digest,
    data_salt,
    intake_span,
    decider,
    event_id,
    topic_partition,
    topic_offset
   FROM read_data.timeline_entries_g1;

-- constraint api_tokens_pkey on ops.api_tokens: PRIMARY KEY (token_id)

-- constraint api_tokens_role_check on ops.api_tokens: CHECK ((role = ANY (ARRAY['viewer'::text, 'responder'::text, 'admin'::text])))

-- constraint api_tokens_tenant_id_check on ops.api_tokens: CHECK ((tenant_id <> ''::text))

-- constraint api_tokens_token_hash_key on ops.api_tokens: UNIQUE (token_hash)

-- constraint integration_secrets_pkey on ops.integration_secrets: PRIMARY KEY (secret_id)

-- constraint integration_secrets_tenant_id_check on ops.integration_secrets: CHECK ((tenant_id <> ''::text))

-- constraint integration_secrets_tenant_id_integration_id_fkey on ops.integration_secrets: FOREIGN KEY (tenant_id, integration_id) REFERENCES ops.integrations(tenant_id, integration_id)

-- constraint integrations_pkey on ops.integrations: PRIMARY KEY (integration_id)

-- constraint integrations_tenant_id_check on ops.integrations: CHECK ((tenant_id <> ''::text))

-- constraint integrations_tenant_id_integration_id_key on ops.integrations: UNIQUE (tenant_id, integration_id)

-- constraint outbox_events_pkey on ops.outbox_events: PRIMARY KEY (intent_id)

-- constraint outbox_events_state_check on ops.outbox_events: CHECK ((state = ANY (ARRAY['pending'::text, 'delivered'::text, 'failed'::text, 'expired'::text])))

-- constraint outbox_events_tenant_id_check on ops.outbox_events: CHECK ((tenant_id <> ''::text))

-- constraint poll_cursors_pkey on ops.poll_cursors: PRIMARY KEY (integration_id)

-- constraint poll_cursors_tenant_id_check on ops.poll_cursors: CHECK ((tenant_id <> ''::text))

-- constraint poll_cursors_tenant_id_integration_id_fkey on ops.poll_cursors: FOREIGN KEY (tenant_id, integration_id) REFERENCES ops.integrations(tenant_id, integration_id)

-- constraint polls_pkey on ops.polls: PRIMARY KEY (integration_id)

-- constraint polls_tenant_id_check on ops.polls: CHECK ((tenant_id <> ''::text))

-- constraint polls_tenant_id_integration_id_fkey on ops.polls: FOREIGN KEY (tenant_id, integration_id) REFERENCES ops.integrations(tenant_id, integration_id)

-- constraint projection_active_pkey on ops.projection_active: PRIMARY KEY (projection)

-- constraint projection_checkpoints_next_offset_check on ops.projection_checkpoints: CHECK ((next_offset >= 0))

-- constraint projection_checkpoints_pkey on ops.projection_checkpoints: PRIMARY KEY (projection, generation, topic, partition)

-- constraint simulations_kind_check on ops.simulations: CHECK ((kind = ANY (ARRAY['what_if'::text, 'shadow'::text])))

-- constraint simulations_pkey on ops.simulations: PRIMARY KEY (simulation_id)

-- constraint simulations_state_check on ops.simulations: CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))

-- constraint simulations_tenant_id_check on ops.simulations: CHECK ((tenant_id <> ''::text))

-- constraint tenants_pkey on ops.tenants: PRIMARY KEY (tenant_id)

-- constraint tenants_tenant_id_check on ops.tenants: CHECK ((tenant_id <> ''::text))

-- constraint timers_pkey on ops.timers: PRIMARY KEY (timer_id)

-- constraint timers_state_check on ops.timers: CHECK ((state = ANY (ARRAY['pending'::text, 'fired'::text, 'superseded'::text])))

-- constraint timers_tenant_id_check on ops.timers: CHECK ((tenant_id <> ''::text))

-- constraint timers_timer_check on ops.timers: CHECK ((timer = ANY (ARRAY['close'::text, 'archive'::text, 'settle'::text])))

-- constraint alerts_g1_disposition_check on read_data.alerts_g1: CHECK ((disposition = ANY (ARRAY['attached'::text, 'repeated'::text, 'kept_raw'::text, 'refused'::text, 'dead_lettered'::text])))

-- constraint alerts_g1_pkey on read_data.alerts_g1: PRIMARY KEY (tenant_id, source, signal_id)

-- constraint alerts_g1_signal_status_check on read_data.alerts_g1: CHECK ((signal_status = ANY (ARRAY['firing'::text, 'resolved'::text, ''::text])))

-- constraint alerts_g1_tenant_id_check on read_data.alerts_g1: CHECK ((tenant_id <> ''::text))

-- constraint attachments_g1_how_check on read_data.attachments_g1: CHECK ((how = ANY (ARRAY['uploaded'::text, 'ticket'::text])))

-- constraint attachments_g1_pkey on read_data.attachments_g1: PRIMARY KEY (tenant_id, attachment_id)

-- constraint attachments_g1_state_check on read_data.attachments_g1: CHECK ((state = ANY (ARRAY['held'::text, 'left'::text, 'removed'::text])))

-- constraint attachments_g1_tenant_id_check on read_data.attachments_g1: CHECK ((tenant_id <> ''::text))

-- constraint incident_alerts_g1_pkey on read_data.incident_alerts_g1: PRIMARY KEY (tenant_id, incident_id, alert_key)

-- constraint incident_alerts_g1_tenant_id_check on read_data.incident_alerts_g1: CHECK ((tenant_id <> ''::text))

-- constraint incidents_g1_pkey on read_data.incidents_g1: PRIMARY KEY (tenant_id, incident_id)

-- constraint incidents_g1_tenant_id_check on read_data.incidents_g1: CHECK ((tenant_id <> ''::text))

-- constraint incidents_g1_tenant_id_number_key on read_data.incidents_g1: UNIQUE (tenant_id, number)

-- constraint links_g1_pkey on read_data.links_g1: PRIMARY KEY (tenant_id, link_id)

-- constraint links_g1_state_check on read_data.links_g1: CHECK ((state = ANY (ARRAY['there'::text, 'removed'::text])))

-- constraint links_g1_tenant_id_check on read_data.links_g1: CHECK ((tenant_id <> ''::text))

-- constraint ticket_conflicts_g1_ended_check on read_data.ticket_conflicts_g1: CHECK ((ended = ANY (ARRAY[''::text, 'ours'::text, 'theirs'::text, 'value'::text, 'agreement'::text, 'unlinked'::text])))

-- constraint ticket_conflicts_g1_pkey on read_data.ticket_conflicts_g1: PRIMARY KEY (tenant_id, conflict_id)

-- constraint ticket_conflicts_g1_result_check on read_data.ticket_conflicts_g1: CHECK ((result = ANY (ARRAY['ours'::text, 'theirs'::text, 'kept'::text, 'waiting'::text])))

-- constraint ticket_conflicts_g1_tenant_id_check on read_data.ticket_conflicts_g1: CHECK ((tenant_id <> ''::text))

-- constraint tickets_g1_pkey on read_data.tickets_g1: PRIMARY KEY (tenant_id, ticket_id)

-- constraint tickets_g1_state_check on read_data.tickets_g1: CHECK ((state = ANY (ARRAY['creating'::text, 'linking'::text, 'linked'::text, 'failed'::text, 'gone'::text, 'unlinked'::text, 'archived'::text])))

-- constraint tickets_g1_tenant_id_check on read_data.tickets_g1: CHECK ((tenant_id <> ''::text))

-- constraint timeline_entries_g1_pkey on read_data.timeline_entries_g1: PRIMARY KEY (tenant_id, tenantsequence)

-- constraint timeline_entries_g1_tenant_id_check on read_data.timeline_entries_g1: CHECK ((tenant_id <> ''::text))

-- constraint timeline_entries_g1_tenant_id_incident_id_sequence_key on read_data.timeline_entries_g1: UNIQUE (tenant_id, incident_id, sequence)

CREATE UNIQUE INDEX api_tokens_pkey ON ops.api_tokens USING btree (token_id);

CREATE INDEX api_tokens_tenant ON ops.api_tokens USING btree (tenant_id);

CREATE UNIQUE INDEX api_tokens_token_hash_key ON ops.api_tokens USING btree (token_hash);

CREATE INDEX integration_secrets_integration ON ops.integration_secrets USING btree (tenant_id, integration_id);

CREATE UNIQUE INDEX integration_secrets_pkey ON ops.integration_secrets USING btree (secret_id);

CREATE UNIQUE INDEX integrations_pkey ON ops.integrations USING btree (integration_id);

CREATE INDEX integrations_tenant ON ops.integrations USING btree (tenant_id);

CREATE UNIQUE INDEX integrations_tenant_id_integration_id_key ON ops.integrations USING btree (tenant_id, integration_id);

CREATE INDEX outbox_events_incident ON ops.outbox_events USING btree (tenant_id, incident_id);

CREATE INDEX outbox_events_pending ON ops.outbox_events USING btree (next_attempt_at) WHERE (state = 'pending'::text);

CREATE UNIQUE INDEX outbox_events_pkey ON ops.outbox_events USING btree (intent_id);

CREATE UNIQUE INDEX poll_cursors_pkey ON ops.poll_cursors USING btree (integration_id);

CREATE INDEX polls_due ON ops.polls USING btree (next_poll_at);

CREATE UNIQUE INDEX polls_pkey ON ops.polls USING btree (integration_id);

CREATE UNIQUE INDEX projection_active_pkey ON ops.projection_active USING btree (projection);

CREATE UNIQUE INDEX projection_checkpoints_pkey ON ops.projection_checkpoints USING btree (projection, generation, topic, partition);

CREATE UNIQUE INDEX simulations_pkey ON ops.simulations USING btree (simulation_id);

CREATE INDEX simulations_tenant ON ops.simulations USING btree (tenant_id, kind, created_at DESC);

CREATE UNIQUE INDEX tenants_pkey ON ops.tenants USING btree (tenant_id);

CREATE INDEX timers_due ON ops.timers USING btree (due) WHERE (state = 'pending'::text);

CREATE INDEX timers_incident ON ops.timers USING btree (tenant_id, incident_id);

CREATE UNIQUE INDEX timers_pkey ON ops.timers USING btree (timer_id);

CREATE INDEX alerts_g1_fingerprint ON read_data.alerts_g1 USING btree (tenant_id, fingerprint);

CREATE INDEX alerts_g1_incident ON read_data.alerts_g1 USING btree (tenant_id, incident_id, recorded_at DESC);

CREATE UNIQUE INDEX alerts_g1_pkey ON read_data.alerts_g1 USING btree (tenant_id, source, signal_id);

CREATE INDEX alerts_g1_recorded ON read_data.alerts_g1 USING btree (tenant_id, recorded_at DESC, source DESC, signal_id DESC);

CREATE INDEX attachments_g1_incident ON read_data.attachments_g1 USING btree (tenant_id, incident_id, added_at DESC, attachment_id DESC);

CREATE UNIQUE INDEX attachments_g1_pkey ON read_data.attachments_g1 USING btree (tenant_id, attachment_id);

CREATE UNIQUE INDEX incident_alerts_g1_pkey ON read_data.incident_alerts_g1 USING btree (tenant_id, incident_id, alert_key);

CREATE INDEX incidents_g1_board ON read_data.incidents_g1 USING btree (tenant_id, status, merged_into, severity, number DESC);

CREATE UNIQUE INDEX incidents_g1_pkey ON read_data.incidents_g1 USING btree (tenant_id, incident_id);

CREATE INDEX incidents_g1_service ON read_data.incidents_g1 USING btree (tenant_id, service, number DESC);

CREATE INDEX incidents_g1_severity ON read_data.incidents_g1 USING btree (tenant_id, severity, number DESC);

CREATE INDEX incidents_g1_status ON read_data.incidents_g1 USING btree (tenant_id, status, number DESC);

CREATE UNIQUE INDEX incidents_g1_tenant_id_number_key ON read_data.incidents_g1 USING btree (tenant_id, number);

CREATE INDEX incidents_g1_updated ON read_data.incidents_g1 USING btree (tenant_id, updated_at);

CREATE INDEX links_g1_incident ON read_data.links_g1 USING btree (tenant_id, incident_id, added_at DESC, link_id DESC);

CREATE UNIQUE INDEX links_g1_pkey ON read_data.links_g1 USING btree (tenant_id, link_id);

CREATE INDEX ticket_conflicts_g1_open ON read_data.ticket_conflicts_g1 USING btree (tenant_id, since DESC, conflict_id DESC) WHERE (ended = ''::text);

CREATE UNIQUE INDEX ticket_conflicts_g1_pkey ON read_data.ticket_conflicts_g1 USING btree (tenant_id, conflict_id);

CREATE INDEX ticket_conflicts_g1_since ON read_data.ticket_conflicts_g1 USING btree (tenant_id, since DESC, conflict_id DESC);

CREATE INDEX ticket_conflicts_g1_ticket ON read_data.ticket_conflicts_g1 USING btree (tenant_id, ticket_id);

CREATE INDEX tickets_g1_apart ON read_data.tickets_g1 USING btree (tenant_id) WHERE ((open_conflicts > 0) OR (drifted_fields > 0) OR (state = ANY (ARRAY['failed'::text, 'gone'::text])));

CREATE INDEX tickets_g1_incident ON read_data.tickets_g1 USING btree (tenant_id, incident_id);

CREATE UNIQUE INDEX tickets_g1_pkey ON read_data.tickets_g1 USING btree (tenant_id, ticket_id);

CREATE INDEX tickets_g1_since ON read_data.tickets_g1 USING btree (tenant_id, since DESC, ticket_id DESC);

CREATE INDEX timeline_entries_g1_configured ON read_data.timeline_entries_g1 USING btree (tenant_id, tenantsequence) WHERE (type = 'com.incidents.configured.v1'::text);

CREATE UNIQUE INDEX timeline_entries_g1_pkey ON read_data.timeline_entries_g1 USING btree (tenant_id, tenantsequence);

CREATE UNIQUE INDEX timeline_entries_g1_tenant_id_incident_id_sequence_key ON read_data.timeline_entries_g1 USING btree (tenant_id, incident_id, sequence);

-- policy tenant on ops.api_tokens to {incidents_api}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on ops.integration_secrets to {incidents_api}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on ops.integrations to {incidents_api}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on ops.outbox_events to {incidents_api}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on ops.poll_cursors to {incidents_api}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on ops.polls to {incidents_api}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on ops.simulations to {incidents_api}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on ops.tenants to {incidents_api}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on ops.timers to {incidents_api}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on read_data.alerts_g1 to {public}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on read_data.attachments_g1 to {public}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on read_data.incident_alerts_g1 to {public}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on read_data.incidents_g1 to {public}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on read_data.links_g1 to {public}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on read_data.ticket_conflicts_g1 to {public}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on read_data.tickets_g1 to {public}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- policy tenant on read_data.timeline_entries_g1 to {public}: using (tenant_id = current_setting('incidents.tenant'::text, true)) check (tenant_id = current_setting('incidents.tenant'::text, true))

-- CREATE OR REPLACE FUNCTION ops.integration_by_id(id text)
 RETURNS TABLE(integration_id text, tenant_id text, connector text, name text, config jsonb, created_at timestamp with time zone, disabled_at timestamp with time zone, secret_ids text[], ciphertexts bytea[], secrets_expire_at timestamp with time zone[])
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT i.integration_id, i.tenant_id, i.connector, i.name, i.config, i.created_at, i.disabled_at,
         coalesce(s.secret_ids, '{}'), coalesce(s.ciphertexts, '{}'), coalesce(s.expire, '{}')
  FROM ops.integrations i
  CROSS JOIN LATERAL (
    SELECT array_agg(l.secret_id ORDER BY l.created_at DESC, l.secret_id) AS secret_ids,
           array_agg(l.ciphertext ORDER BY l.created_at DESC, l.secret_id) AS ciphertexts,
           array_agg(l.expires_at ORDER BY l.created_at DESC, l.secret_id) AS expire
    FROM ops.integration_secrets l
    WHERE l.tenant_id = i.tenant_id AND l.integration_id = i.integration_id
      AND (l.expires_at IS NULL OR l.expires_at > now())
  ) s
  WHERE i.integration_id = id
$function$
 to incidents_api

-- CREATE OR REPLACE FUNCTION ops.notify_credentials()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
DECLARE changed jsonb := CASE TG_OP WHEN 'DELETE' THEN to_jsonb(OLD) ELSE to_jsonb(NEW) END;
BEGIN
  PERFORM pg_notify('incidents_credentials',
    json_build_object('kind', TG_ARGV[0], 'id', changed ->> TG_ARGV[1])::text);
  RETURN NULL;
END $function$
 to

-- CREATE OR REPLACE FUNCTION ops.token_by_hash(hash bytea)
 RETURNS TABLE(token_id text, tenant_id text, name text, role text, created_at timestamp with time zone, expires_at timestamp with time zone, revoked_at timestamp with time zone, rotated_from text)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO 'pg_catalog', 'pg_temp'
AS $function$
  SELECT t.token_id, t.tenant_id, t.name, t.role, t.created_at, t.expires_at, t.revoked_at, t.rotated_from
  FROM ops.api_tokens t WHERE t.token_hash = hash
$function$
 to incidents_api

CREATE TRIGGER notify AFTER INSERT OR DELETE OR UPDATE ON ops.api_tokens FOR EACH ROW EXECUTE FUNCTION ops.notify_credentials('token', 'token_id');

CREATE TRIGGER notify AFTER INSERT OR DELETE OR UPDATE ON ops.integration_secrets FOR EACH ROW EXECUTE FUNCTION ops.notify_credentials('integration', 'integration_id');

CREATE TRIGGER notify AFTER INSERT OR DELETE OR UPDATE ON ops.integrations FOR EACH ROW EXECUTE FUNCTION ops.notify_credentials('integration', 'integration_id');

-- INSERT, SELECT, UPDATE on ops.api_tokens to incidents_api

-- INSERT, SELECT, UPDATE on ops.integration_secrets to incidents_api

-- SELECT on ops.integration_secrets to incidents_projector

-- INSERT, SELECT, UPDATE on ops.integrations to incidents_api

-- SELECT on ops.integrations to incidents_projector

-- SELECT on ops.outbox_events to incidents_api

-- INSERT, SELECT, UPDATE on ops.outbox_events to incidents_projector

-- SELECT on ops.poll_cursors to incidents_api

-- INSERT, SELECT, UPDATE on ops.poll_cursors to incidents_projector

-- SELECT on ops.polls to incidents_api

-- INSERT, SELECT, UPDATE on ops.polls to incidents_projector

-- SELECT on ops.projection_active to incidents_api

-- SELECT on ops.projection_active to incidents_projector

-- SELECT on ops.projection_checkpoints to incidents_api

-- INSERT, SELECT, UPDATE on ops.projection_checkpoints to incidents_projector

-- DELETE, INSERT, SELECT, UPDATE on ops.simulations to incidents_api

-- DELETE, INSERT, SELECT, UPDATE on ops.simulations to incidents_projector

-- INSERT, SELECT, UPDATE on ops.tenants to incidents_api

-- SELECT on ops.timers to incidents_api

-- INSERT, SELECT, UPDATE on ops.timers to incidents_projector

-- SELECT on read.alerts to incidents_api

-- SELECT on read.alerts to incidents_projector

-- SELECT on read.attachments to incidents_api

-- SELECT on read.attachments to incidents_projector

-- SELECT on read.incident_alerts to incidents_api

-- SELECT on read.incident_alerts to incidents_projector

-- SELECT on read.incidents to incidents_api

-- SELECT on read.incidents to incidents_projector

-- SELECT on read.links to incidents_api

-- SELECT on read.links to incidents_projector

-- SELECT on read.ticket_conflicts to incidents_api

-- SELECT on read.ticket_conflicts to incidents_projector

-- SELECT on read.tickets to incidents_api

-- SELECT on read.tickets to incidents_projector

-- SELECT on read.timeline_entries to incidents_api

-- SELECT on read.timeline_entries to incidents_projector

-- SELECT on read_data.alerts_g1 to incidents_api

-- DELETE, INSERT, SELECT, UPDATE on read_data.alerts_g1 to incidents_projector

-- SELECT on read_data.attachments_g1 to incidents_api

-- DELETE, INSERT, SELECT, UPDATE on read_data.attachments_g1 to incidents_projector

-- SELECT on read_data.incident_alerts_g1 to incidents_api

-- DELETE, INSERT, SELECT, UPDATE on read_data.incident_alerts_g1 to incidents_projector

-- SELECT on read_data.incidents_g1 to incidents_api

-- DELETE, INSERT, SELECT, UPDATE on read_data.incidents_g1 to incidents_projector

-- SELECT on read_data.links_g1 to incidents_api

-- DELETE, INSERT, SELECT, UPDATE on read_data.links_g1 to incidents_projector

-- SELECT on read_data.ticket_conflicts_g1 to incidents_api

-- DELETE, INSERT, SELECT, UPDATE on read_data.ticket_conflicts_g1 to incidents_projector

-- SELECT on read_data.tickets_g1 to incidents_api

-- DELETE, INSERT, SELECT, UPDATE on read_data.tickets_g1 to incidents_projector

-- SELECT on read_data.timeline_entries_g1 to incidents_api

-- DELETE, INSERT, SELECT, UPDATE on read_data.timeline_entries_g1 to incidents_projector
