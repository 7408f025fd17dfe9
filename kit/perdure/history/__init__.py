"""The read side: a run's history and attempts as DataFrames, and Temporal's JSON in and out."""

from perdure.history.exchange import from_json, history, to_json
from perdure.history.tables import attempts_frame, events_frame

__all__ = ["attempts_frame", "events_frame", "from_json", "history", "to_json"]
