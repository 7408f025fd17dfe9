-- name: file_state
-- What kind of file this is: whether it has our meta table, and how many tables and views of any kind.
SELECT
    count(*) FILTER (WHERE schema_name = 'journal' AND table_name = 'meta') AS metas,
    count(*) AS tables
FROM duckdb_tables();

-- name: journal_tables
-- The tables that perdure appends to, as far as the file has them.
SELECT table_name FROM duckdb_tables() WHERE schema_name = 'journal';

-- name: schema_version
-- The file's schema version, and the perdure that wrote it.
SELECT schema_version, perdure_version FROM journal.meta ORDER BY schema_version DESC LIMIT 1;

-- name: expected_size
-- How many bytes the file must at least have: three headers of 4 KiB, then the blocks in use.
SELECT 12288 + block_size * used_blocks FROM pragma_database_size();

-- name: add_meta
-- Notes that a migration was applied.
INSERT INTO journal.meta VALUES (?, ?, ?, ?);

-- name: last_seq
-- The greatest `seq` in the file.
SELECT coalesce(max(seq), 0) FROM (
    SELECT max(seq) AS seq FROM journal.execution_starts
    UNION ALL SELECT max(seq) FROM journal.execution_changes
    UNION ALL SELECT max(seq) FROM journal.execution_closes
    UNION ALL SELECT max(seq) FROM journal.events
    UNION ALL SELECT max(seq) FROM journal.buffered_events
    UNION ALL SELECT max(seq) FROM journal.attempt_starts
    UNION ALL SELECT max(seq) FROM journal.attempt_ends
    UNION ALL SELECT max(seq) FROM journal.heartbeats
    UNION ALL SELECT max(seq) FROM journal.definitions
    UNION ALL SELECT max(seq) FROM journal.outputs
    UNION ALL SELECT max(seq) FROM journal.execution_resets
    UNION ALL SELECT max(seq) FROM journal.versions_noted
    UNION ALL SELECT max(seq) FROM journal.activity_changes
    UNION ALL SELECT max(seq) FROM journal.kept
);

-- name: open_run_ids
-- Runs without an end, oldest first.
SELECT run_id FROM journal.execution_starts
WHERE run_id NOT IN (SELECT run_id FROM journal.execution_closes)
ORDER BY seq;

-- name: starts_of
-- The ExecutionStarted records of the given runs.
SELECT
    namespace, workflow_id, run_id, first_run_id, workflow_type, task_queue, start_time_ns, execution_time_ns,
    request_id, version, parent_workflow_id, parent_run_id, memo, search_attributes, root_workflow_id, root_run_id, division
FROM journal.execution_starts WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[])) ORDER BY seq;

-- name: changes_of
-- The last ExecutionChanged record of each of the given runs.
SELECT run_id, time_ns, version, memo, search_attributes, status
FROM journal.execution_changes WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[]))
QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY seq DESC) = 1;

-- name: closes_of
-- The ExecutionClosed records of the given runs.
SELECT run_id, status, close_time_ns, history_length, history_size_bytes, new_run_id, state_transitions
FROM journal.execution_closes WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[])) ORDER BY seq;

-- name: resets_of
-- The last ExecutionReset record of each of the given runs.
SELECT run_id, time_ns, new_run_id
FROM journal.execution_resets WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[]))
QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY seq DESC) = 1;

-- name: versions_of
-- The last VersionsNoted record of each of the given runs.
SELECT run_id, time_ns, note
FROM journal.versions_noted WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[]))
QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY seq DESC) = 1;

-- name: activity_changes_of
-- The ActivityChanged records of the given runs.
SELECT run_id, scheduled_event_id, time_ns, info, action, identity, reason, request_id, deferred, seq
FROM journal.activity_changes WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[])) ORDER BY seq;

-- name: all_kept
-- The newest version of each document that is not a run and is not gone.
SELECT * EXCLUDE (seq) FROM (
    SELECT kind, namespace, id, time_ns, body, seq FROM journal.kept
    QUALIFY row_number() OVER (PARTITION BY kind, namespace, id ORDER BY seq DESC) = 1
) WHERE body IS NOT NULL ORDER BY seq;

-- name: superseded_kept
-- How many documents have a newer version.
SELECT count(*) - count(DISTINCT (kind, namespace, id)) FROM journal.kept;

-- name: drop_superseded_kept
-- Takes documents away that have a newer version.
DELETE FROM journal.kept AS k USING (
    SELECT kind, namespace, id, max(seq) AS seq FROM journal.kept GROUP BY ALL
) AS newest
WHERE (k.kind, k.namespace, k.id) = (newest.kind, newest.namespace, newest.id) AND k.seq < newest.seq;

-- name: events_of
-- The history events of the given runs, in order.
SELECT run_id, event FROM journal.events WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[])) ORDER BY seq;

-- name: buffered_of
-- The buffered events of the given runs that are not in their histories yet. An engine that was restarted counts buffer_seq from
-- what still lies in the buffer, so an event in the history is meant only if it came later.
SELECT b.run_id, b.buffer_seq, b.event
FROM journal.buffered_events AS b
ANTI JOIN (
    SELECT run_id, buffer_seq, seq FROM journal.events WHERE buffer_seq IS NOT NULL
) AS e ON e.run_id = b.run_id AND e.buffer_seq = b.buffer_seq AND e.seq > b.seq
WHERE b.run_id IN (SELECT unnest($run_ids::VARCHAR[]))
ORDER BY b.seq;

-- name: attempt_starts_of
-- The AttemptStarted records of the given runs.
SELECT run_id, scheduled_event_id, attempt, scheduled_time_ns, started_time_ns, identity, process, sdk_name, sdk_version, seq
FROM journal.attempt_starts WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[])) ORDER BY seq;

-- name: attempt_ends_of
-- The AttemptEnded records of the given runs.
SELECT run_id, scheduled_event_id, attempt, ended_time_ns, outcome, failure, next_attempt_time_ns, seq
FROM journal.attempt_ends WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[])) ORDER BY seq;

-- name: heartbeats_of
-- The last heartbeat of each activity of the given runs.
SELECT run_id, scheduled_event_id, attempt, time_ns, details, total, seq
FROM journal.heartbeats WHERE run_id IN (SELECT unnest($run_ids::VARCHAR[]))
QUALIFY row_number() OVER (PARTITION BY run_id, scheduled_event_id ORDER BY seq DESC) = 1
ORDER BY seq;

-- name: workflow_ids
-- Namespace, division and workflow id of every run.
SELECT DISTINCT namespace, division, workflow_id FROM journal.execution_starts;

-- name: all_definitions
-- Every definition version; the one kept last comes last, as the current one: a cell may go back to an older text.
SELECT kind, name, version, module, attribute, source, origin, options, defined_time_ns
FROM journal.definitions
QUALIFY row_number() OVER (PARTITION BY kind, name, version ORDER BY seq DESC) = 1
ORDER BY seq;

-- name: list_runs
-- Summaries of runs; a WHERE clause, an order and a limit are put after it.
SELECT
    namespace, workflow_id, run_id, first_run_id, workflow_type, task_queue, status, start_time_ns, execution_time_ns, close_time_ns,
    history_length, history_size_bytes, version, parent_workflow_id, parent_run_id, memo, search_attributes,
    root_workflow_id, root_run_id, division, state_transitions
FROM journal.runs;

-- name: count_runs
-- How many runs there are; a WHERE clause is put after it.
SELECT count(*) FROM journal.runs;
