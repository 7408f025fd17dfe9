-- name: create_macro_payloads
-- The payloads of a message as a JSON array: JSON payloads as they are, no value as null, others as {"size_bytes": n}.
CREATE MACRO journal.payloads(message, payloads_at) AS
    CASE WHEN payloads_at IS NULL THEN NULL ELSE try_cast('[' || array_to_string(list_transform(
        range(1, len(payloads_at), 2),
        lambda i: CASE
            WHEN payloads_at[i] >= 0
                THEN coalesce(try(decode(message[payloads_at[i] + 1 : payloads_at[i] + payloads_at[i + 1]])), 'null')
            WHEN payloads_at[i + 1] = 0 THEN 'null'
            ELSE '{"size_bytes": ' || payloads_at[i + 1] || '}'
        END
    ), ', ') || ']' AS JSON) END;

-- name: create_macro_timestamp
-- A time in nanoseconds since the epoch as a UTC TIMESTAMP.
CREATE MACRO journal.utc(time_ns) AS make_timestamp(time_ns // 1000);

-- name: create_macro_status
-- The name of a WorkflowExecutionStatus, as Temporal's list filter and UI spell it.
CREATE MACRO journal.status_name(status) AS
    ['Running', 'Completed', 'Failed', 'Canceled', 'Terminated', 'ContinuedAsNew', 'TimedOut', 'Paused'][status];

-- name: create_runs
-- A row for each run with its newest values and its end, unrounded: what lists are made from. Status 1 is Running.
CREATE VIEW journal.runs AS
WITH changes AS (
    SELECT * FROM journal.execution_changes QUALIFY row_number() OVER (PARTITION BY run_id ORDER BY seq DESC) = 1
)
SELECT
    s.seq, s.namespace, s.workflow_id, s.run_id, s.first_run_id, s.workflow_type, s.task_queue,
    coalesce(e.status, c.status, 1) AS status, s.start_time_ns, s.execution_time_ns, e.close_time_ns,
    coalesce(e.history_length, 0) AS history_length, coalesce(e.history_size_bytes, 0) AS history_size_bytes,
    coalesce(c.version, s.version) AS version, s.parent_workflow_id, s.parent_run_id, e.new_run_id,
    CASE WHEN c.seq IS NULL THEN s.memo ELSE c.memo END AS memo,
    CASE WHEN c.seq IS NULL THEN s.search_attributes ELSE c.search_attributes END AS search_attributes,
    CASE WHEN c.seq IS NULL THEN s.memo_json ELSE c.memo_json END AS memo_json,
    CASE WHEN c.seq IS NULL THEN s.search_attributes_json ELSE c.search_attributes_json END AS search_attributes_json,
    s.root_workflow_id, s.root_run_id, s.division, coalesce(e.state_transitions, 0) AS state_transitions
FROM journal.execution_starts AS s
LEFT JOIN changes AS c ON c.run_id = s.run_id
LEFT JOIN journal.execution_closes AS e ON e.run_id = s.run_id;

-- name: create_executions
-- One row for each run. history_length, history_size_bytes and duration_seconds are NULL while it is open.
CREATE VIEW executions AS
SELECT
    namespace, workflow_id, run_id, first_run_id, workflow_type, task_queue, journal.status_name(status) AS status,
    journal.utc(start_time_ns) AS start_time, journal.utc(execution_time_ns) AS execution_time, journal.utc(close_time_ns) AS close_time,
    (close_time_ns - start_time_ns) / 1e9 AS duration_seconds,
    nullif(history_length, 0) AS history_length, nullif(history_size_bytes, 0) AS history_size_bytes,
    nullif(version, '') AS version, nullif(parent_workflow_id, '') AS parent_workflow_id, nullif(parent_run_id, '') AS parent_run_id,
    nullif(new_run_id, '') AS new_run_id,
    memo_json::JSON AS memo, search_attributes_json::JSON AS search_attributes
FROM journal.runs WHERE division = '';

-- name: create_macro_workflow_of
-- The workflow id of a run; NULL for a standalone activity, which has a run and no workflow.
CREATE MACRO journal.workflow_of(division, id) AS CASE WHEN division = '' THEN id END;

-- name: create_events_view
-- One row for each history event. `payloads` is the event's input, result or details, a JSON array; `event` the protobuf HistoryEvent.
-- workflow_id is NULL for events of standalone activities.
CREATE VIEW events AS
SELECT
    s.namespace, journal.workflow_of(s.division, s.workflow_id) AS workflow_id, e.run_id, e.event_id, journal.utc(e.event_time_ns) AS event_time, e.event_type,
    e.name, e.subject_id, e.cause_event_id, journal.payloads(e.event, e.payloads_at) AS payloads, e.failure, e.event
FROM journal.events AS e
JOIN journal.execution_starts AS s ON s.run_id = e.run_id;

-- name: create_attempts
-- One row for each attempt of an activity. `outcome`: completed, failed, timed_out, canceled or lost; NULL while it runs (or ran, when its
-- run closed first). wait_seconds is the time from when the attempt was due to its start; retry_seconds the back-off after it.
-- workflow_id is NULL for standalone activities.
CREATE VIEW attempts AS
SELECT
    s.namespace, journal.workflow_of(s.division, s.workflow_id) AS workflow_id, a.run_id, sch.subject_id AS activity_id, sch.name AS activity_type, a.scheduled_event_id, a.attempt,
    e.outcome, journal.utc(a.scheduled_time_ns) AS scheduled_time, journal.utc(a.started_time_ns) AS started_time,
    journal.utc(e.ended_time_ns) AS ended_time, (a.started_time_ns - a.scheduled_time_ns) / 1e9 AS wait_seconds,
    (e.ended_time_ns - a.started_time_ns) / 1e9 AS duration_seconds,
    journal.utc(e.next_attempt_time_ns) AS next_attempt_time, (e.next_attempt_time_ns - e.ended_time_ns) / 1e9 AS retry_seconds,
    e.failure_text AS failure, a.identity, nullif(a.process, '') AS process
FROM journal.attempt_starts AS a
JOIN journal.execution_starts AS s ON s.run_id = a.run_id
LEFT JOIN journal.events AS sch
    ON sch.run_id = a.run_id AND sch.event_id = a.scheduled_event_id AND sch.event_type = 'ActivityTaskScheduled'
ASOF LEFT JOIN journal.attempt_ends AS e
    ON e.run_id = a.run_id AND e.scheduled_event_id = a.scheduled_event_id AND e.attempt = a.attempt AND e.seq >= a.seq;

-- name: create_activities
-- One row for each scheduled activity. status: Scheduled, Paused, Started, or how it ended; Abandoned when its run closed first.
-- A standalone activity has no workflow_id, and may also end as Terminated.
CREATE VIEW activities AS
WITH closed AS (
    SELECT * FROM journal.events
    WHERE event_type IN ('ActivityTaskCompleted', 'ActivityTaskFailed', 'ActivityTaskTimedOut', 'ActivityTaskCanceled')
), tries AS (
    SELECT
        a.run_id, a.scheduled_event_id, count(*) AS attempts, min(a.started_time_ns) AS started_time_ns,
        arg_max(a.identity, a.seq) AS identity, arg_max(a.seq, a.seq) AS last_start
    FROM journal.attempt_starts AS a GROUP BY a.run_id, a.scheduled_event_id
), ends AS (
    SELECT run_id, scheduled_event_id, max(seq) AS last_end, arg_max(failure_text, seq) AS failure
    FROM journal.attempt_ends GROUP BY run_id, scheduled_event_id
), pauses AS (
    SELECT run_id, scheduled_event_id, arg_max(paused, seq) AS paused
    FROM journal.activity_changes GROUP BY run_id, scheduled_event_id
)
SELECT
    s.namespace, journal.workflow_of(s.division, s.workflow_id) AS workflow_id, a.run_id, a.subject_id AS activity_id, a.name AS activity_type, a.event_id AS scheduled_event_id,
    CASE
        WHEN c.event_type IS NOT NULL THEN replace(c.event_type, 'ActivityTask', '')
        WHEN x.run_id IS NOT NULL AND s.division != '' THEN journal.status_name(x.status)
        WHEN x.run_id IS NOT NULL THEN 'Abandoned'
        WHEN t.last_start > coalesce(n.last_end, 0) THEN 'Started'
        WHEN p.paused THEN 'Paused'
        ELSE 'Scheduled'
    END AS status,
    coalesce(t.attempts, 0) AS attempts, journal.utc(a.event_time_ns) AS scheduled_time, journal.utc(t.started_time_ns) AS started_time,
    journal.utc(coalesce(c.event_time_ns, CASE WHEN s.division != '' THEN x.close_time_ns END)) AS close_time,
    (coalesce(c.event_time_ns, CASE WHEN s.division != '' THEN x.close_time_ns END) - a.event_time_ns) / 1e9 AS duration_seconds,
    journal.payloads(a.event, a.payloads_at) AS input,
    CASE WHEN c.event_type = 'ActivityTaskCompleted' THEN journal.payloads(c.event, c.payloads_at)->0 END AS result,
    coalesce(c.failure, n.failure) AS last_failure, t.identity
FROM journal.events AS a
JOIN journal.execution_starts AS s ON s.run_id = a.run_id
LEFT JOIN closed AS c ON c.run_id = a.run_id AND c.cause_event_id = a.event_id
LEFT JOIN tries AS t ON t.run_id = a.run_id AND t.scheduled_event_id = a.event_id
LEFT JOIN ends AS n ON n.run_id = a.run_id AND n.scheduled_event_id = a.event_id
LEFT JOIN pauses AS p ON p.run_id = a.run_id AND p.scheduled_event_id = a.event_id
LEFT JOIN journal.execution_closes AS x ON x.run_id = a.run_id
WHERE a.event_type = 'ActivityTaskScheduled';

-- name: create_timers
-- One row for each timer. status: Started, Fired, Canceled; Abandoned when its run closed first.
CREATE VIEW timers AS
SELECT
    s.namespace, s.workflow_id, t.run_id, t.subject_id AS timer_id, t.event_id AS started_event_id,
    CASE
        WHEN c.event_type IS NOT NULL THEN replace(c.event_type, 'Timer', '')
        WHEN x.run_id IS NOT NULL THEN 'Abandoned'
        ELSE 'Started'
    END AS status,
    journal.utc(t.event_time_ns) AS started_time, journal.utc(t.event_time_ns + t.delay_ns) AS due_time,
    journal.utc(c.event_time_ns) AS close_time, t.delay_ns / 1e9 AS delay_seconds
FROM journal.events AS t
JOIN journal.execution_starts AS s ON s.run_id = t.run_id
LEFT JOIN journal.events AS c
    ON c.run_id = t.run_id AND c.cause_event_id = t.event_id AND c.event_type IN ('TimerFired', 'TimerCanceled')
LEFT JOIN journal.execution_closes AS x ON x.run_id = t.run_id
WHERE t.event_type = 'TimerStarted';

-- name: create_signals
-- One row for each signal in a history; `input` is its JSON array of arguments.
CREATE VIEW signals AS
SELECT
    s.namespace, s.workflow_id, e.run_id, e.name AS signal_name, journal.utc(e.event_time_ns) AS event_time, e.event_id,
    journal.payloads(e.event, e.payloads_at) AS input
FROM journal.events AS e
JOIN journal.execution_starts AS s ON s.run_id = e.run_id
WHERE e.event_type = 'WorkflowExecutionSignaled';

-- name: create_definitions_view
-- One row for each version of a workflow or an activity.
CREATE VIEW definitions AS
SELECT
    kind, name, nullif(version, '') AS version, journal.utc(defined_time_ns) AS defined_time, origin, module, attribute, options::JSON AS options,
    source
FROM journal.definitions
QUALIFY row_number() OVER (PARTITION BY kind, name, version ORDER BY seq DESC) = 1;

-- name: create_output
-- One row for each text that an activity printed or logged.
CREATE VIEW output AS
SELECT
    s.namespace, journal.workflow_of(s.division, s.workflow_id) AS workflow_id, o.run_id, sch.subject_id AS activity_id, sch.name AS activity_type, o.attempt,
    journal.utc(o.time_ns) AS time, o.stream, o.text
FROM journal.outputs AS o
JOIN journal.execution_starts AS s ON s.run_id = o.run_id
LEFT JOIN journal.events AS sch
    ON sch.run_id = o.run_id AND sch.event_id = o.scheduled_event_id AND sch.event_type = 'ActivityTaskScheduled';
