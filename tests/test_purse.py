"""The budget: met exactly, by whatever calls, and never exceeded."""

from pathlib import Path

import pytest
from asking import Open, ask_for, kept
from fake_server import ChatServer, refuses, says

from lion.errors import BudgetError
from lion.llm.ledger import Cap


def test_a_budget_of_calls_is_met_exactly(
    chat_server: ChatServer, opened: Open, tmp_path: Path
) -> None:
    chat_server.answer = lambda call: says(call.question)
    requests = [ask_for(number) for number in range(60)]
    with opened(cap=Cap(calls=25)) as client, pytest.raises(BudgetError) as caught:
        client.complete(requests)
    assert len(chat_server.calls) == kept(tmp_path) == 25
    assert "raise `budget` in params.yaml" in str(caught.value)
    assert caught.value.exit_code == 3
    with opened(cap=Cap(calls=60)) as client:
        assert len(client.complete(requests)) == 60
    assert len(chat_server.calls) == 60


def test_failed_calls_count_against_the_budget(chat_server: ChatServer, opened: Open) -> None:
    chat_server.answer = refuses(500)
    with opened(cap=Cap(calls=7), tries=50) as client, pytest.raises(BudgetError):
        client.complete([ask_for(number) for number in range(3)])
    assert len(chat_server.calls) == 7


def test_a_budget_of_tokens_is_never_exceeded(chat_server: ChatServer, opened: Open) -> None:
    """Each call is reserved at the most that it can use, and settled at what it did."""
    chat_server.answer = says("x", usage=(5, 3))
    changes = {"request": {"max_tokens": 100}, "concurrency": 1}
    with opened(cap=Cap(tokens=400), **changes) as client, pytest.raises(BudgetError):
        client.complete([ask_for(number) for number in range(100)])
    with opened() as client:
        spent, reserved = client.ledger.spent()
    assert 200 - 8 < spent.tokens <= 400 - 100
    assert reserved.calls == 0


def test_a_budget_needs_to_know_the_most_that_a_call_can_cost(
    chat_server: ChatServer, opened: Open
) -> None:
    with opened(cap=Cap(tokens=400)) as client, pytest.raises(BudgetError, match="max_tokens"):
        client.complete([ask_for(1)])
    changes = {"request": {"max_tokens": 100}}
    with (
        opened(cap=Cap(nanodollars=10**9), **changes) as client,
        pytest.raises(BudgetError, match=r"price .* is unknown"),
    ):
        client.complete([ask_for(1)])
    assert chat_server.calls == []
