"""Replays a run's history with a version of its workflow: whether it fits, and moving the run to it."""
