"""Reads the line of a magic: words, quoted words and JSON values.

A shell would need JSON in quotes. A notebook's line need not: where a word begins like a JSON text ({, [ or ") and is one,
the whole of it is one word, spaces and all. So these say the same:

    %workflow start payment '{"id": 7}'
    %workflow start payment {"id": 7}

`Parser` is argparse without its habit of printing to stderr and leaving the process: mistakes are `PerdureError`s that say
what is possible, and `--help` raises `HelpRequested` with the text.
"""

from __future__ import annotations

import argparse
import difflib
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from perdure.errors import PerdureError

_SPACE = re.compile(r"\s*")
_decode = json.JSONDecoder().raw_decode


class Word(str):
    """One word of a line. As a string it is the text; `source` is what is read where JSON is expected."""

    source: str

    def __new__(cls, text: str, source: str | None = None) -> Word:
        word = super().__new__(cls, text)
        word.source = text if source is None else source
        return word


class HelpRequested(Exception):
    """The line asks for help; the text is the message."""


def split(line: str) -> list[Word]:
    """The words of a line. Raises PerdureError for a quote that is never closed."""
    words = []
    place = _skip_space(line, 0)
    while place < len(line):
        word, place = _json_word(line, place) or _plain_word(line, place)
        words.append(word)
        place = _skip_space(line, place)
    return words


def _skip_space(line: str, place: int) -> int:
    match = _SPACE.match(line, place)
    return match.end() if match else place


def _json_word(line: str, place: int) -> tuple[Word, int] | None:
    if line[place] not in '{["':
        return None
    try:
        value, end = _decode(line, place)
    except json.JSONDecodeError:
        return None
    if end < len(line) and not line[end].isspace():
        return None
    source = line[place:end]
    return Word(value if isinstance(value, str) else source, source), end


def _plain_word(line: str, place: int) -> tuple[Word, int]:
    """A word as shells read it: '...' is verbatim, in "..." a backslash escapes, quotes may be inside a word."""
    text = []
    quote = ""
    start = place
    while place < len(line):
        char = line[place]
        if quote:
            if char == quote:
                quote = ""
            elif char == "\\" and quote == '"' and place + 1 < len(line):
                place += 1
                text.append(line[place])
            else:
                text.append(char)
        elif char in "'\"":
            quote = char
        elif char.isspace():
            break
        else:
            text.append(char)
        place += 1
    if quote:
        raise PerdureError(
            f"The quote that opens at {line[start : start + 24]!r} is never closed.", f"End it with {quote}."
        )
    return Word("".join(text)), place


def json_value(word: str) -> Any:
    """The value of a word where JSON is expected; the error tells how text is written."""
    source = word.source if isinstance(word, Word) else word
    try:
        return json.loads(source)
    except json.JSONDecodeError as error:
        if source[:1] in "{[":
            message = f"{source} is no JSON: {error.msg} at character {error.pos + 1}."
            remedy = "JSON has its keys and texts in double quotes; put single quotes around the whole."
        else:
            message = f"{source} is no JSON value."
            remedy = f"Write text as {json.dumps(source)}, in double quotes."
        raise PerdureError(message, remedy) from None


class Parser(argparse.ArgumentParser):
    """argparse, with perdure's errors.

    Args:
        name: how the command is called, e.g. "%workflow start"; begins usage and messages.
        summary: one sentence.
        example: a line or lines that work, shown by --help.
    """

    def __init__(self, name: str, summary: str, example: str) -> None:
        super().__init__(
            prog=name,
            description=summary,
            epilog="example:\n" + "\n".join(f"  {line}" for line in example.splitlines()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            add_help=False,
            allow_abbrev=False,
            exit_on_error=False,
        )
        self.summary = summary
        self.example = example
        self.add_argument("--help", "-h", action="store_true", help="show this text")

    def read(self, words: Sequence[str]) -> argparse.Namespace:
        """Parses words. Raises PerdureError for a mistake, HelpRequested for --help."""
        if any(word in ("--help", "-h") for word in words):
            raise HelpRequested(self.format_help())
        known = self.options()
        for word in words:
            if word.startswith("--") and word.partition("=")[0] not in known:
                raise self._unknown_option(word.partition("=")[0])
        try:
            found, unknown = self.parse_known_intermixed_args(list(words))
        except argparse.ArgumentError as error:
            self.error(str(error))
        if unknown:
            self.error(f"{unknown[0]!r} is one argument too many.")
        return found

    def options(self) -> list[str]:
        """Every long option, for completion."""
        return [text for action in self._actions for text in action.option_strings if text.startswith("--")]

    def _unknown_option(self, name: str) -> PerdureError:
        remedy = did_you_mean(name, self.options(), f"See {self.prog} --help.")
        return PerdureError(f"{self.prog} has no option {name}.", remedy)

    def error(self, message: str) -> NoReturn:
        text = message[:1].upper() + message[1:]
        raise PerdureError(f"{self.prog}: {text}", f"Example: {self.example.splitlines()[0]}")


def did_you_mean(word: str, known: Iterable[str], otherwise: str) -> str:
    """A remedy for a misspelt word: the nearest known one, or `otherwise`."""
    words = list(known)
    near = [each for each in words if each.startswith(word)] or difflib.get_close_matches(word, words, n=1)
    return f"Did you mean {near[0]}?" if near else otherwise
