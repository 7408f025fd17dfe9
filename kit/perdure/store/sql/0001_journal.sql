-- Conventions of the tables below. Each holds one kind of perdure.engine.records and is only ever appended to; no keys, so
-- that a commit stays one write. `seq` is the record's place among all records of the file, over all tables.
-- `..._ns` is a time in nanoseconds since 1970-01-01 UTC, kept exact (the views show TIMESTAMPs, which have microseconds).
-- BLOBs are protobuf messages of temporalio.api, and are what is read back; the columns beside them are for people and filters.
-- `payloads_at` says where in the row's BLOB the data of each payload lies, as [offset, length, offset, length, ...]; the offset is
-- -1 where a payload is not JSON. journal.payloads() turns it into JSON, without a second copy of the data in the file.

-- name: create_journal
-- The schema `journal` holds the tables that perdure appends to. People read the views in `main` (0002_views.sql).
CREATE SCHEMA journal;

-- name: create_meta
-- One row for each migration that was applied to this file: the greatest schema_version is the file's.
CREATE TABLE journal.meta (
    schema_version INTEGER NOT NULL,
    perdure_version VARCHAR NOT NULL,
    duckdb_version VARCHAR NOT NULL,
    applied_time_ns BIGINT NOT NULL
);

-- name: create_execution_starts
-- Runs (ExecutionStarted).
CREATE TABLE journal.execution_starts (
    seq BIGINT, namespace VARCHAR, workflow_id VARCHAR, run_id VARCHAR, first_run_id VARCHAR, workflow_type VARCHAR, task_queue VARCHAR,
    start_time_ns BIGINT, execution_time_ns BIGINT, request_id VARCHAR, version VARCHAR, parent_workflow_id VARCHAR, parent_run_id VARCHAR,
    memo BLOB, search_attributes BLOB, memo_json VARCHAR, search_attributes_json VARCHAR,
    root_workflow_id VARCHAR, root_run_id VARCHAR, division VARCHAR
);

-- name: create_execution_changes
-- New values of what lists show of an open run (ExecutionChanged).
CREATE TABLE journal.execution_changes (
    seq BIGINT, run_id VARCHAR, time_ns BIGINT, version VARCHAR,
    memo BLOB, search_attributes BLOB, memo_json VARCHAR, search_attributes_json VARCHAR, status INTEGER
);

-- name: create_execution_closes
-- Ends of runs (ExecutionClosed); `status` is the number of a temporal.api.enums.v1.WorkflowExecutionStatus.
CREATE TABLE journal.execution_closes (
    seq BIGINT, run_id VARCHAR, status INTEGER, close_time_ns BIGINT, history_length BIGINT, history_size_bytes BIGINT, new_run_id VARCHAR,
    state_transitions BIGINT
);

-- name: create_execution_resets
-- Runs that were reset, and the runs that went on from a point of their history (ExecutionReset).
CREATE TABLE journal.execution_resets (seq BIGINT, run_id VARCHAR, time_ns BIGINT, new_run_id VARCHAR);

-- name: create_versions_noted
-- What no event says of how runs are tied to worker versions (VersionsNoted); the last of a run counts.
CREATE TABLE journal.versions_noted (seq BIGINT, run_id VARCHAR, time_ns BIGINT, note VARCHAR);

-- name: create_events
-- History events (EventAppended). `name`: activity or workflow type, signal, marker or update name. `subject_id`: id of the activity,
-- timer, other workflow or update. `cause_event_id`: the event that this one answers (scheduled, initiated, or a timer's start).
-- `delay_ns`: how long a timer waits.
CREATE TABLE journal.events (
    seq BIGINT, run_id VARCHAR, event_id BIGINT, event_time_ns BIGINT, event_type VARCHAR, name VARCHAR, subject_id VARCHAR,
    cause_event_id BIGINT, delay_ns BIGINT, failure VARCHAR, payloads_at INTEGER[], buffer_seq BIGINT, event BLOB
);

-- name: create_buffered_events
-- Events that wait for a workflow task to end (EventBuffered); one is in `events` under its buffer_seq once it has an event id.
CREATE TABLE journal.buffered_events (seq BIGINT, run_id VARCHAR, buffer_seq BIGINT, event BLOB);

-- name: create_attempt_starts
-- Attempts of activities that a worker took (AttemptStarted).
CREATE TABLE journal.attempt_starts (
    seq BIGINT, run_id VARCHAR, scheduled_event_id BIGINT, attempt BIGINT,
    scheduled_time_ns BIGINT, started_time_ns BIGINT, identity VARCHAR, process VARCHAR, sdk_name VARCHAR, sdk_version VARCHAR
);

-- name: create_attempt_ends
-- Ends of attempts (AttemptEnded).
CREATE TABLE journal.attempt_ends (
    seq BIGINT, run_id VARCHAR, scheduled_event_id BIGINT, attempt BIGINT,
    ended_time_ns BIGINT, outcome VARCHAR, next_attempt_time_ns BIGINT, failure_text VARCHAR, failure BLOB
);

-- name: create_activity_changes
-- What operators did to pending activities (ActivityChanged); `info` is a temporal.api.workflow.v1.PendingActivityInfo, and `paused` is its
-- field of that name.
CREATE TABLE journal.activity_changes (
    seq BIGINT, run_id VARCHAR, scheduled_event_id BIGINT, time_ns BIGINT, action VARCHAR, identity VARCHAR, reason VARCHAR,
    request_id VARCHAR, deferred VARCHAR, paused BOOLEAN, info BLOB
);

-- name: create_kept
-- Documents that are not runs (Kept): the last of (kind, namespace, id) counts, a NULL body means that it is gone.
CREATE TABLE journal.kept (seq BIGINT, kind VARCHAR, namespace VARCHAR, id VARCHAR, time_ns BIGINT, body BLOB);

-- name: create_heartbeats
-- Heartbeats of attempts (Heartbeat), with the details that the next attempt is given.
CREATE TABLE journal.heartbeats (
    seq BIGINT, run_id VARCHAR, scheduled_event_id BIGINT, attempt BIGINT, time_ns BIGINT, payloads_at INTEGER[], details BLOB,
    total BIGINT
);

-- name: create_definitions
-- Versions of workflows and activities, with their complete source (Definition).
CREATE TABLE journal.definitions (
    seq BIGINT, kind VARCHAR, name VARCHAR, version VARCHAR, module VARCHAR, attribute VARCHAR,
    source VARCHAR, origin VARCHAR, options VARCHAR, defined_time_ns BIGINT
);

-- name: create_outputs
-- Text that activities printed or logged (Output).
CREATE TABLE journal.outputs (
    seq BIGINT, run_id VARCHAR, scheduled_event_id BIGINT, attempt BIGINT, time_ns BIGINT, stream VARCHAR, text VARCHAR
);
