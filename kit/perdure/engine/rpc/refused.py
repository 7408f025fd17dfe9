"""RPCs of Temporal's API that perdure's engine does not carry out, each with the sentence that its UNIMPLEMENTED answer says.

Whoever calls one learns why, and what to use instead. Every RPC of the API stands either here or among the handlers.
"""

from __future__ import annotations

from typing import Final

_NEXUS = "perdure's engine has no Nexus operations yet; call the other workflow as a child, or use a Temporal cluster"
_BUILD_IDS = (
    "versioning by build id sets and rules is what Temporal replaced by worker deployments; "
    "use SetWorkerDeploymentCurrentVersion and its kin"
)
_DEPLOYMENTS = (
    "this is the pre-release form of Temporal's worker deployments; use DescribeWorkerDeployment and its kin"
)
_RULES = "workflow rules are a feature of Temporal's cloud; pause, reset or change activities with a batch operation"
_CLUSTERS = "one perdure file is one cluster; it has no remote ones"
_WORKERS = "perdure does not steer workers from afar; change the worker's options where it runs"
_COMPUTE = "perdure does not start workers on a cloud's compute; start them where you wish"

REFUSED: Final = {
    **dict.fromkeys(
        (
            "StartNexusOperationExecution",
            "DescribeNexusOperationExecution",
            "PollNexusOperationExecution",
            "ListNexusOperationExecutions",
            "CountNexusOperationExecutions",
            "RequestCancelNexusOperationExecution",
            "TerminateNexusOperationExecution",
            "DeleteNexusOperationExecution",
            "RespondNexusTaskCompleted",
            "RespondNexusTaskFailed",
            "CreateNexusEndpoint",
            "GetNexusEndpoint",
            "UpdateNexusEndpoint",
            "DeleteNexusEndpoint",
            "ListNexusEndpoints",
        ),
        _NEXUS,
    ),
    **dict.fromkeys(
        (
            "UpdateWorkerBuildIdCompatibility",
            "GetWorkerBuildIdCompatibility",
            "GetWorkerTaskReachability",
            "UpdateWorkerVersioningRules",
            "GetWorkerVersioningRules",
        ),
        _BUILD_IDS,
    ),
    **dict.fromkeys(
        (
            "DescribeDeployment",
            "ListDeployments",
            "GetDeploymentReachability",
            "GetCurrentDeployment",
            "SetCurrentDeployment",
        ),
        _DEPLOYMENTS,
    ),
    **dict.fromkeys(
        (
            "CreateWorkflowRule",
            "DescribeWorkflowRule",
            "DeleteWorkflowRule",
            "ListWorkflowRules",
            "TriggerWorkflowRule",
        ),
        _RULES,
    ),
    **dict.fromkeys(("AddOrUpdateRemoteCluster", "RemoveRemoteCluster"), _CLUSTERS),
    **dict.fromkeys(("FetchWorkerConfig", "UpdateWorkerConfig"), _WORKERS),
    **dict.fromkeys(
        (
            "UpdateWorkerDeploymentVersionComputeConfig",
            "ValidateWorkerDeploymentVersionComputeConfig",
        ),
        _COMPUTE,
    ),
}
