"""The magics in a real kernel, as a person types them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from kernels import Kernel, kernel

VALIDATE = "%%activity\ndef validate(order: dict) -> None:\n    assert order['id'] > 0"
CHARGE = "%%activity --timeout 30s --retries 0\ndef charge(order: dict) -> str:\n    return f\"charge-{RATE * order['id']}\""
RECEIPT = (
    "%%activity\ndef send_receipt(order: dict, charge_id: str) -> None:\n    print('receipt', charge_id)"
)
PAYMENT = """%%workflow
async def payment(order: dict) -> dict:
    await validate(order)
    charge_id = await charge(order)
    await send_receipt(order, charge_id)
    return {"charge": charge_id}"""
HOLD = """%%workflow
from temporalio import workflow

@workflow.defn
class Hold:
    def __init__(self) -> None:
        self.items = []

    @workflow.run
    async def run(self) -> list:
        await workflow.wait_condition(lambda: len(self.items) == 2)
        return self.items

    @workflow.signal
    def add(self, item: str) -> None:
        self.items.append(item)

    @workflow.update
    def put(self, item: str) -> int:
        self.items.append(item)
        return len(self.items)

    @workflow.query
    def count(self) -> int:
        return len(self.items)"""


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kernel]:
    with kernel(tmp_path_factory.mktemp("project")) as running:
        running.ok("%load_ext perdure")
        running.ok("RATE = 3")
        for cell in (VALIDATE, CHARGE, RECEIPT, PAYMENT):
            running.ok(cell)
        yield running


def test_a_definition_says_its_name_and_version_in_one_line(shell: Kernel) -> None:
    cell = shell.ok(VALIDATE.replace("> 0", ">= 0"))
    (line,) = cell.text.splitlines()
    assert line.startswith("activity validate · version ")
    assert shell.ok(VALIDATE.replace("> 0", ">= 0")).text.strip() == line + " · unchanged"


def test_start_takes_json_in_quotes_or_without(shell: Kernel) -> None:
    assert "payment-1" in shell.ok("""%workflow start payment --id payment-1 '{"id": 1}'""").result
    assert shell.ok("%workflow result payment-1").result == "{'charge': 'charge-3'}"
    shell.ok('%workflow start payment {"id": 2} --id payment-2')
    assert shell.ok("%workflow result payment-2").result == "{'charge': 'charge-6'}"


def test_start_returns_the_run(shell: Kernel) -> None:
    shell.ok('run = %workflow start payment --id payment-3 {"id": 3}')
    assert shell.ok("run.result()").result == "{'charge': 'charge-9'}"


def test_a_helper_that_changes_makes_a_new_version(shell: Kernel) -> None:
    cell = shell.ok("RATE = 4")
    assert cell.text.startswith("activity charge · version ")
    assert "what it uses has changed" in cell.text
    shell.ok('%workflow start payment --id payment-4 {"id": 1}')
    assert shell.ok("%workflow result payment-4").result == "{'charge': 'charge-4'}"
    shell.ok("RATE = 3")


def test_signals_queries_and_updates_reach_temporal_classes(shell: Kernel) -> None:
    assert shell.ok(HOLD).text.startswith("workflow Hold · version ")
    shell.ok("%workflow start Hold --id hold-1")
    shell.ok('%workflow signal hold-1 add "a"')
    assert shell.ok("%workflow query hold-1 count").result == "1"
    assert shell.ok('%workflow update hold-1 put "b"').result == "2"
    assert shell.ok("%workflow result hold-1").result == "['a', 'b']"


def test_open_runs_stay_on_their_version_until_moved(shell: Kernel) -> None:
    shell.ok(HOLD)
    shell.ok("%workflow start Hold --id hold-2")
    shell.ok("%workflow query hold-2 count")
    cell = shell.ok(HOLD.replace("return self.items", "return sorted(self.items)"))
    assert "1 open run stays on " in cell.text
    assert "moved from" in shell.ok("%workflow move hold-2").result
    assert "already" in shell.ok("%workflow move hold-2").result
    shell.ok('%workflow signal hold-2 add "b"')
    shell.ok('%workflow signal hold-2 add "a"')
    assert shell.ok("%workflow result hold-2").result == "['a', 'b']"


def test_cancel_and_terminate(shell: Kernel) -> None:
    shell.ok(HOLD)
    shell.ok("%workflow start Hold --id hold-3")
    assert "requested" in shell.ok("%workflow cancel hold-3").result
    assert "cancelled" in shell.run("%workflow result hold-3").error
    shell.ok("%workflow start Hold --id hold-4")
    shell.ok('%workflow terminate hold-4 --reason "a test"')
    assert "a test" in shell.run("%workflow result hold-4").error
    assert "closed already" in shell.run("%workflow cancel hold-4").error


def test_pause_resume_and_reset(shell: Kernel) -> None:
    shell.ok(HOLD)
    shell.ok("%workflow start Hold --id hold-5")
    assert "resume hold-5" in shell.ok("%workflow pause hold-5 --reason lunch").result
    assert "hold-5" in shell.ok("%workflow list --status paused").result
    assert "goes on" in shell.ok("%workflow resume hold-5").result
    shell.ok("%workflow query hold-5 count")
    shell.ok("again = %workflow reset hold-5 --to first")
    assert shell.ok("again.status").result == "'Running'"
    assert "--event" in shell.ok("%workflow reset --help").result


def test_lists_and_histories_are_tables(shell: Kernel) -> None:
    shell.ok('%workflow start payment --id payment-5 {"id": 5}')
    shell.ok("%workflow result payment-5")
    assert "payment-5" in shell.ok("%workflow list --status completed --workflow payment").result
    assert "payment-5" not in shell.ok("%workflow list --status open").result
    newest = "\"WorkflowType = 'payment' ORDER BY StartTime DESC\""
    assert "payment-5" in shell.ok(f"%workflow list --status completed {newest}").result
    assert "ActivityTaskScheduled" in shell.ok("%workflow history payment-5").result
    assert shell.ok("attempts = %workflow history payment-5 --attempts\nlen(attempts)").result == "3"


def test_status_and_worker(shell: Kernel) -> None:
    status = shell.ok("%workflow status").result
    assert "history.duckdb" in status
    assert "this process owns it" in status
    worker = shell.ok("%workflow worker").result
    assert "payment" in worker
    assert "charge" in worker


@pytest.mark.parametrize("line", ["%workflow", "%workflow help", "%workflow --help"])
def test_bare_workflow_is_help(shell: Kernel, line: str) -> None:
    assert "terminate" in shell.ok(line).result


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("%workflow help signal", "%workflow signal payment-7 approve true"),
        ("%workflow start --help", "--task-queue"),
        ("%%activity --help", "--schedule-to-close"),
        ("%%workflow --help", "--execution-timeout"),
    ],
)
def test_help_shows_options_and_an_example(shell: Kernel, line: str, said: str) -> None:
    cell = shell.ok(line)
    assert said in cell.result + cell.text


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("%workflow strat", "Did you mean start?"),
        ("%workflow start paymnet {}", "Did you mean payment?"),
        ("%workflow start payment --idd x", "Did you mean --id?"),
        ("%workflow start payment yes", 'Write text as "yes"'),
        ('%workflow start payment \'{"id": 1}', "never closed"),
        ("%workflow start payment --execution-timeout soon {}", "soon"),
        ("%workflow start payment --id-reuse-policy never {}", "reject_duplicate"),
        ("%workflow list --status bad", "Completed"),
        ("%workflow list nonsense", "nonsense"),
        ("%workflow list WorkflowType = 'payment'", "Put double ones around the whole"),
        ("import perdure; perdure.start('payment', 1, cron='* * * * *')", "Did you mean cron_schedule?"),
        (
            "import perdure; perdure.start('payment', 1, search_attributes={'Colour': 'red'})",
            "TypedSearchAttributes",
        ),
        ("import perdure; perdure.start('payment', 1, cron_schedule='daily')", "@every 1h"),
        ("%%workflow\nclass loose:\n    async def run(self): ...", "@workflow.defn"),
        ("%workflow show nobody", "nobody"),
        ("%workflow signal", "Example: %workflow signal payment-7"),
        ("%%activity --retry 3\ndef x(): pass", "--retries"),
        ("%%activity --timeout 3parsecs\ndef x(): pass", "parsecs"),
        ("%%activity\nx = 3", "defines no activity"),
        ("%%activity\ndef x(:\n    pass", "line 2"),
        ("%%workflow\nimport time\nasync def x():\n    time.sleep(1)", "line 4: time.sleep(1)"),
    ],
)
def test_mistakes_are_answered_in_a_few_lines_that_say_what_to_do(
    shell: Kernel, code: str, message: str
) -> None:
    error = shell.run(code).error
    assert message in error
    assert "Traceback" not in error
    assert len(error.splitlines()) <= 6


def test_warnings_stand_below_with_line_and_remedy(shell: Kernel) -> None:
    text = shell.ok("%%workflow\nasync def loud():\n    print('hello')").text
    first, *rest = text.splitlines()
    assert first.startswith("workflow loud · version ")
    assert rest[0].startswith("⚠ print()")
    assert any("line 3: print('hello')" in line for line in rest)
    assert any("→" in line for line in rest)


def test_completion_in_the_kernel(shell: Kernel) -> None:
    shell.ok('%workflow start payment --id pay-9 {"id": 9}')
    assert shell.complete("%workflow sta") == ["start", "status"]
    assert shell.complete("%workflow start pay") == ["payment"]
    assert "pay-9" in shell.complete("%workflow show pay-")
    assert shell.complete("%workflow show pay-9 --r") == ["--run-id"]
    assert shell.complete("%%activity --time") == ["--timeout"]
