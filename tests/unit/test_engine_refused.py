"""Each RPC of Temporal's three services is carried out, or refused with a sentence that says why."""

from __future__ import annotations

import asyncio

import pytest
from engine_driver import Driver
from google.protobuf.message import Message

from perdure.engine.errors import Code, ServiceError
from perdure.engine.rpc.refused import REFUSED
from perdure.engine.service import HANDLERS
from perdure.frontend.rpcs import RPCS

NAMES = {rpc.name for rpc in RPCS.values()}


def test_each_rpc_is_either_carried_out_or_refused() -> None:
    assert {*HANDLERS, *REFUSED} == NAMES
    assert not set(HANDLERS) & set(REFUSED)


@pytest.mark.parametrize("sentence", sorted(set(REFUSED.values())))
def test_a_reason_says_what_to_use_instead(sentence: str) -> None:
    assert len(sentence) > 40


def test_an_empty_request_gets_an_answer_that_says_what_it_needs() -> None:
    """Whatever an RPC is, a request without any fields is answered or refused in words, and never by a fault of the engine."""
    waits = {"PollNexusTaskQueue"}

    async def answer(driver: Driver, name: str, request: type[Message]) -> tuple[Code | None, str]:
        try:
            await driver.call(name, request())
        except ServiceError as error:
            return error.code, error.message
        return None, ""

    async def ask() -> None:
        driver = Driver()
        for rpc in RPCS.values():
            if rpc.name in waits:
                continue
            code, message = await answer(driver, rpc.name, rpc.request)
            if rpc.name in REFUSED:
                assert code is Code.UNIMPLEMENTED
                assert message == f"{rpc.name}: {REFUSED[rpc.name]}"
            elif code is not None:
                assert code not in (Code.UNIMPLEMENTED, Code.INTERNAL), rpc.name
                assert message, rpc.name
        await driver.engine.stop()

    asyncio.run(asyncio.wait_for(ask(), 20))
