"""What the service says of runs, in its own messages: the SDK's classes cannot hold the status of a paused run, and raise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from temporalio.api.common.v1 import WorkflowExecution
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    DescribeWorkflowExecutionResponse,
    ListWorkflowExecutionsRequest,
)

if TYPE_CHECKING:
    from temporalio.client import Client

_PAGE = 1000


async def described(client: Client, workflow_id: str, run_id: str = "") -> DescribeWorkflowExecutionResponse:
    """One run; the newest of the id when no run id is given."""
    return await client.workflow_service.describe_workflow_execution(
        DescribeWorkflowExecutionRequest(
            namespace=client.namespace,
            execution=WorkflowExecution(workflow_id=workflow_id, run_id=run_id),
        )
    )


async def executions(
    client: Client, query: str = "", limit: int | None = None
) -> AsyncIterator[WorkflowExecutionInfo]:
    """The runs that a list filter matches, page by page; `limit` at most."""
    request = ListWorkflowExecutionsRequest(namespace=client.namespace, query=query)
    left = limit
    while left is None or left > 0:
        request.page_size = min(left or _PAGE, _PAGE)
        page = await client.workflow_service.list_workflow_executions(request)
        for info in page.executions[:left]:
            yield info
        left = None if left is None else left - len(page.executions)
        if not page.next_page_token:
            return
        request.next_page_token = page.next_page_token
