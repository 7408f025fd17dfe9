"""The line of a magic: words, JSON, options, mistakes."""

import pytest

from perdure.errors import PerdureError
from perdure_jupyter.arguments import HelpRequested, Parser, did_you_mean, json_value, split


def parser() -> Parser:
    made = Parser("%workflow start", "Starts a run.", "%workflow start payment --id payment-7 '{\"id\": 7}'")
    made.add_argument("workflow")
    made.add_argument("arguments", nargs="*", type=json_value, metavar="JSON")
    made.add_argument("--id")
    made.add_argument("--task-queue")
    return made


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  payment   --id x ", ["payment", "--id", "x"]),
        ("""payment '{"id": 7}'""", ["payment", '{"id": 7}']),
        ("""payment {"id": 7, "of": "a b"} [1, 2]""", ["payment", '{"id": 7, "of": "a b"}', "[1, 2]"]),
        ('--reason "no longer needed"', ["--reason", "no longer needed"]),
        ("--reason 'it''s over'", ["--reason", "its over"]),
        (r'--reason x"a \" b"', ["--reason", 'xa " b']),
        ("{notjson", ["{notjson"]),
    ],
)
def test_splits_words_as_shells_do_and_keeps_json_whole(line: str, words: list[str]) -> None:
    assert split(line) == words


def test_a_quote_that_is_never_closed_is_named() -> None:
    with pytest.raises(PerdureError, match="never closed"):
        split('payment \'{"id": 7}')


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("7", 7),
        ("-5", -5),
        ('"seven"', "seven"),
        ("""'"seven"'""", "seven"),
        ("null", None),
        ('{"a": [1]}', {"a": [1]}),
    ],
)
def test_json_words_become_values(line: str, value: object) -> None:
    assert json_value(split(line)[0]) == value


def test_text_without_quotes_is_told_how_text_is_written() -> None:
    with pytest.raises(PerdureError) as error:
        json_value(split("yes")[0])
    assert error.value.remedy == 'Write text as "yes", in double quotes.'


def test_python_literals_are_told_about_json() -> None:
    with pytest.raises(PerdureError, match="no JSON") as error:
        json_value(split("{'id': 7}")[0])
    assert "double quotes" in error.value.remedy


def test_options_stand_anywhere_between_arguments() -> None:
    found = parser().read(split("""payment --id payment-7 '{"id": 7}' --task-queue=slow -5 "x" """))
    assert (found.workflow, found.id, found.task_queue) == ("payment", "payment-7", "slow")
    assert found.arguments == [{"id": 7}, -5, "x"]


def test_an_unknown_option_is_answered_with_the_nearest() -> None:
    with pytest.raises(PerdureError) as error:
        parser().read(split("payment --taskqueue slow"))
    assert (error.value.message, error.value.remedy) == (
        "%workflow start has no option --taskqueue.",
        "Did you mean --task-queue?",
    )


def test_what_is_missing_is_named_with_an_example() -> None:
    with pytest.raises(PerdureError, match="workflow") as error:
        parser().read([])
    assert error.value.remedy.startswith("Example: %workflow start payment")


def test_an_option_without_its_value_is_named() -> None:
    with pytest.raises(PerdureError, match="--id"):
        parser().read(split("payment --id"))


def test_help_is_a_text_with_the_example() -> None:
    with pytest.raises(HelpRequested, match="payment-7"):
        parser().read(split("payment --help"))


def test_a_beginning_is_a_better_guess_than_a_likeness() -> None:
    assert did_you_mean("stat", ["start", "status"], "") == "Did you mean status?"
    assert did_you_mean("xyz", ["start"], "See help.") == "See help."
