"""Search attributes: what may be written, how it is stored, and what a workflow task fails of."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from engine_driver import Driver, continue_as_new, in_engine, only, start_child
from temporalio.api.command.v1 import Command
from temporalio.api.common.v1 import Payload, SearchAttributes
from temporalio.api.enums.v1 import CommandType, WorkflowTaskFailedCause
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
    RemoveSearchAttributesRequest,
)
from temporalio.api.workflowservice.v1 import (
    DescribeWorkflowExecutionRequest,
    GetSearchAttributesRequest,
    ListWorkflowExecutionsRequest,
    RespondWorkflowTaskCompletedRequest,
)

from perdure.engine.errors import Code, ServiceError
from perdure.engine.limits import DEFAULT
from perdure.engine.records import Definition
from perdure.engine.search_attributes import TYPES, check, typed, without_removed

CUSTOM = {"Colour": "Keyword", "Amount": "Int", "Rate": "Double", "Paid": "Bool", "Due": "Datetime"} | {
    "Tags": "KeywordList",
    "Note": "Text",
}


def value(data: object, type: str = "") -> Payload:
    metadata = {"encoding": b"json/plain"} | ({"type": type.encode()} if type else {})
    return Payload(metadata=metadata, data=json.dumps(data).encode())


def attributes(**values: object) -> SearchAttributes:
    fields = {name: each if isinstance(each, Payload) else value(each) for name, each in values.items()}
    return SearchAttributes(indexed_fields=fields)


def upsert(**values: object) -> Command:
    command = Command(command_type=CommandType.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES)
    command.upsert_workflow_search_attributes_command_attributes.search_attributes.CopyFrom(
        attributes(**values)
    )
    return command


async def register(driver: Driver, **types: str) -> None:
    await driver.call(
        "AddSearchAttributes",
        AddSearchAttributesRequest(
            namespace="default",
            search_attributes={name: TYPES[kind] for name, kind in types.items()},  # type: ignore[misc]
        ),
    )


async def refused(driver: Driver, method: str, request: object) -> ServiceError:
    with pytest.raises(ServiceError) as refusal:
        await driver.call(method, request)  # type: ignore[arg-type]
    return refusal.value


@pytest.mark.parametrize(
    "written",
    [
        {"Colour": "red"},
        {"Colour": ["red"]},
        {"Colour": None},
        {"Colour": []},
        {"Amount": -5},
        {"Rate": 5},
        {"Rate": 0.5},
        {"Paid": True},
        {"Due": "2024-05-01T12:00:00.25+02:00"},
        {"Tags": ["a", "b"]},
        {"Tags": [None]},
        {"Note": "all is well"},
        {"BuildIds": ["x"]},
        {"TemporalScheduledById": "daily"},
    ],
)
def test_values_that_fit(written: dict[str, object]) -> None:
    check(attributes(**written), CUSTOM, DEFAULT, "default")


@pytest.mark.parametrize(
    ("written", "text"),
    [
        ({"Nope": "x"}, "Namespace default has no mapping defined for search attribute Nope"),
        ({"Colour": 1}, "invalid value for search attribute Colour of type Keyword: 1"),
        ({"Colour": ["x", "y"]}, "invalid value for search attribute Colour of type Keyword: [x y]"),
        ({"Amount": 1.5}, "invalid value for search attribute Amount of type Int: 1.5"),
        ({"Amount": True}, "invalid value for search attribute Amount of type Int: true"),
        ({"Amount": 2**70}, "invalid value for search attribute Amount of type Int: 1.18059e+21"),
        ({"Paid": "true"}, "invalid value for search attribute Paid of type Bool: true"),
        ({"Due": "2020-01-01"}, "invalid value for search attribute Due of type Datetime: 2020-01-01"),
        ({"Tags": "x"}, "invalid value for search attribute Tags of type KeywordList: x"),
        ({"Tags": [1]}, "invalid value for search attribute Tags of type KeywordList: [1]"),
        ({"WorkflowId": "x"}, "WorkflowId attribute can't be set in SearchAttributes"),
        ({"TemporalWorkerDeployment": "x"}, "TemporalWorkerDeployment attribute can't be set in"),
        ({"Colour": "x" * 3000}, "search attribute Colour value size 3002 exceeds size limit 2048"),
    ],
)
def test_what_may_not_be_written(written: dict[str, object], text: str) -> None:
    with pytest.raises(ServiceError) as refusal:
        check(attributes(**written), CUSTOM, DEFAULT, "default")
    assert refusal.value.code is Code.INVALID_ARGUMENT
    assert refusal.value.message.startswith(text)


def test_all_together_may_be_too_many_or_too_large() -> None:
    few = replace(DEFAULT, search_attributes=1, search_attributes_total=10)
    with pytest.raises(ServiceError, match="number of search attributes 2 exceeds limit 1"):
        check(attributes(Colour="x", Amount=1), CUSTOM, few, "default")
    with pytest.raises(ServiceError, match=r"total size of search attributes \d+ exceeds size limit 10"):
        check(attributes(Colour="x"), CUSTOM, few, "default")


def test_a_value_is_stored_with_its_type() -> None:
    stored = typed(attributes(Colour="x", Amount=value(1, "Double")), CUSTOM).indexed_fields
    assert stored["Colour"].metadata["type"] == b"Keyword"
    assert stored["Amount"].metadata["type"] == b"Double"  # as it was given


def test_nothing_removes() -> None:
    left = without_removed(attributes(Colour=None, Tags=[], Amount=0))
    assert set(left.indexed_fields) == {"Amount"}


@in_engine
async def test_names_are_registered_and_forgotten(driver: Driver) -> None:
    await register(driver, Colour="Keyword", Amount="Int")
    await register(driver, Colour="Int")  # it stays what it is
    ask = ListSearchAttributesRequest(namespace="default")
    found = await driver.call("ListSearchAttributes", ask)
    assert dict(found.custom_attributes) == {"Colour": TYPES["Keyword"], "Amount": TYPES["Int"]}
    assert found.system_attributes["CloseTime"] == TYPES["Datetime"]
    assert found.system_attributes["TemporalPauseInfo"] == TYPES["KeywordList"]
    keys = (await driver.call("GetSearchAttributes", GetSearchAttributesRequest())).keys
    assert keys["Colour"] == TYPES["Keyword"]
    gone = RemoveSearchAttributesRequest(namespace="default", search_attributes=["Colour", "Nope"])
    await driver.call("RemoveSearchAttributes", gone)
    successor = await driver.crash()
    assert set((await successor.call("ListSearchAttributes", ask)).custom_attributes) == {"Amount"}
    await successor.engine.stop()


@in_engine
async def test_temporals_own_names_are_reserved(driver: Driver) -> None:
    for name in ("WorkflowId", "BuildIds", "TemporalMine", "Memo"):
        request = AddSearchAttributesRequest(namespace="default", search_attributes={name: 2})  # type: ignore[dict-item]
        error = await refused(driver, "AddSearchAttributes", request)
        assert error.message == f"Search attribute {name} is reserved by system."
    for name in ("WorkflowId", "BuildIds"):
        gone = RemoveSearchAttributesRequest(namespace="default", search_attributes=[name])
        error = await refused(driver, "RemoveSearchAttributes", gone)
        assert error.message == f"Unable to remove non-custom search attributes: {name}."


@in_engine
async def test_a_start_is_checked_and_leaves_out_what_is_nothing(driver: Driver) -> None:
    await register(driver, Colour="Keyword", Amount="Int")
    with pytest.raises(ServiceError, match="no mapping defined for search attribute Nope"):
        await driver.start(search_attributes=attributes(Nope="x"))
    await driver.start(search_attributes=attributes(Colour="red", Amount=None))
    started = (await driver.history())[0].workflow_execution_started_event_attributes
    assert set(started.search_attributes.indexed_fields) == {"Colour"}
    assert started.search_attributes.indexed_fields["Colour"].metadata["type"] == b"Keyword"
    found = await driver.call(
        "ListWorkflowExecutions", ListWorkflowExecutionsRequest(namespace="default", query="Colour = 'red'")
    )
    assert [each.execution.workflow_id for each in found.executions] == ["w"]


@in_engine
async def test_an_upsert_adds_changes_and_removes(driver: Driver) -> None:
    await register(driver, Colour="Keyword", Amount="Int")
    await driver.start(search_attributes=attributes(Colour="red"))
    await driver.step(upsert(Amount=3, Colour=None))
    event = only(await driver.history(), "UpsertWorkflowSearchAttributes")
    written = event.upsert_workflow_search_attributes_event_attributes.search_attributes.indexed_fields
    assert written["Colour"].data == b"null"
    assert written["Amount"].metadata["type"] == b"Int"
    ask = DescribeWorkflowExecutionRequest(namespace="default")
    ask.execution.workflow_id = "w"
    now = (await driver.call("DescribeWorkflowExecution", ask)).workflow_execution_info.search_attributes
    assert now.indexed_fields["Amount"].data == b"3"
    assert "Colour" not in now.indexed_fields


@in_engine
async def test_an_attribute_that_is_not_registered_fails_the_workflow_task(driver: Driver) -> None:
    await driver.start()
    with pytest.raises(ServiceError, match="BadSearchAttributes: Namespace default has no mapping defined"):
        await driver.step(upsert(Nope="x"))
    failed = only(await driver.history(), "WorkflowTaskFailed").workflow_task_failed_event_attributes
    assert failed.cause == WorkflowTaskFailedCause.WORKFLOW_TASK_FAILED_CAUSE_BAD_SEARCH_ATTRIBUTES


@in_engine
async def test_an_attribute_beyond_the_limit_ends_the_run(driver: Driver) -> None:
    await register(driver, Colour="Keyword")
    await driver.start()
    with pytest.raises(ServiceError, match="value size 3002 exceeds"):
        await driver.step(upsert(Colour="x" * 3000))
    assert (await driver.names())[-2:] == ["WorkflowTaskFailed", "WorkflowExecutionTerminated"]
    ended = (await driver.history())[-1].workflow_execution_terminated_event_attributes
    assert ended.reason.startswith("BadSearchAttributes: search attribute Colour value size")


@in_engine
async def test_runs_to_come_get_what_their_commands_say(driver: Driver) -> None:
    await register(driver, Colour="Keyword", Amount="Int")
    child = start_child()
    fields = child.start_child_workflow_execution_command_attributes.search_attributes
    fields.CopyFrom(attributes(Colour="blue", Amount=None))
    await driver.start()
    await driver.step(child)
    started = (await driver.history("child"))[0].workflow_execution_started_event_attributes
    assert set(started.search_attributes.indexed_fields) == {"Colour"}
    await driver.start("again", search_attributes=attributes(Colour="red"))
    task = await driver.workflow_task()
    while task.workflow_execution.workflow_id != "again":
        await driver.complete(task)
        task = await driver.workflow_task()
    await driver.complete(task, continue_as_new())
    following = (await driver.history("again"))[0].workflow_execution_started_event_attributes
    assert not following.search_attributes.indexed_fields  # the command's, verbatim: it has none


@in_engine
async def test_a_notebooks_typed_key_registers_itself(driver: Driver) -> None:
    process = "perdure-1-0123abcd@there"
    driver.engine.attend(process, adopts=False)
    driver.engine.declared(process, [Definition("workflow", "Flow", "", "cells", "Flow", "")])
    await driver.start()
    task = await driver.workflow_task(identity=process)
    await driver.call(
        "RespondWorkflowTaskCompleted",
        RespondWorkflowTaskCompletedRequest(
            namespace="default",
            task_token=task.task_token,
            commands=[upsert(Stage=value("packing", "Keyword"))],
            identity=process,
        ),
    )
    assert driver.engine.search_attributes.of("default") == {"Stage": "Keyword"}
