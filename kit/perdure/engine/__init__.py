"""The embedded service.

A pure core - `state` folds history events, the decision modules turn requests, commands and due timers into new events -
and a thin asynchronous shell around it: `matching`, `runs`, `rpc`, `service`, `engine`. The core imports neither asyncio nor duckdb.
"""
