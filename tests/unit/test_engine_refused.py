"""RPCs that perdure does not carry out say so, each with a reason."""

from __future__ import annotations

import pytest

from perdure.engine.rpc.refused import REFUSED
from perdure.engine.service import HANDLERS
from perdure.frontend.rpcs import RPCS


def test_what_is_refused_is_an_rpc_and_has_no_handler() -> None:
    assert set(REFUSED) <= {rpc.name for rpc in RPCS.values()}
    assert not set(REFUSED) & set(HANDLERS)


@pytest.mark.parametrize("sentence", sorted(set(REFUSED.values())))
def test_a_reason_says_what_to_use_instead(sentence: str) -> None:
    assert len(sentence) > 40
