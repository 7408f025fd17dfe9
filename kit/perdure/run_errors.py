"""What goes wrong with a run, as the RunErrors that users see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from perdure.errors import RunError

if TYPE_CHECKING:
    from perdure.run_handle import Run


class WaitTimeout(RunError, TimeoutError):
    """A run did not end within the time that the caller wanted to wait. It goes on."""


async def in_words(work: Any, about: Run | None = None) -> Any:
    """Awaits; what the SDK and the engine raise becomes a RunError that says what to do."""
    from temporalio.client import (
        RPCError,
        RPCStatusCode,
        WorkflowFailureError,
        WorkflowQueryFailedError,
        WorkflowUpdateFailedError,
    )

    from perdure.engine.errors import ServiceError
    from perdure.history.failures import why

    name = about.id if about is not None else ""
    try:
        return await work
    except WorkflowFailureError as error:
        records = await about.session.project.read_run(about.id, about.run_id) if about is not None else None
        text = why(error, records)
        ended = (
            f"{name} was {text}" if text.startswith(("cancelled", "terminated")) else f"{name} failed: {text}"
        )
        raise RunError(ended, f"perdure.run({name!r}) shows the timeline, .history() the events.") from error
    except WorkflowQueryFailedError as error:
        raise RunError(f"{name} did not answer the query: {error}") from error
    except WorkflowUpdateFailedError as error:
        raise RunError(f"{name} refused the update: {error.cause}") from error
    except ServiceError as error:
        raise _refused(error.message, error.code.name == "NOT_FOUND", name) from error
    except RPCError as error:
        raise _refused(error.message, error.status == RPCStatusCode.NOT_FOUND, name) from error


def _refused(message: str, missing: bool, name: str) -> RunError:
    if name and "already completed" in message:
        return RunError(f"{name} has ended already.", f"perdure.run({name!r}) shows how.")
    return RunError(message, "perdure.runs() lists all runs." if missing else "")
