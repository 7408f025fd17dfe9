"""`perdure search-attribute ...`: the names by which lists find runs."""

from __future__ import annotations

import argparse

from perdure.cli.words import Add, open_project
from perdure.errors import PerdureError


def add_attributes(add: Add) -> None:
    parser = add(
        "search-attribute",
        _attributes,
        "Lists, registers or forgets the names by which lists find runs.",
        "add Colour keyword",
    )
    parser.add_argument("action", choices=("list", "add", "remove"))
    parser.add_argument("name", nargs="?", help="to add or to remove")
    parser.add_argument("type", nargs="?", help="keyword, keyword-list, text, int, double, bool or datetime")


def _attributes(line: argparse.Namespace) -> int:
    from perdure import searching

    wanted = {"list": 0, "add": 2, "remove": 1}[line.action]
    if sum(each is not None for each in (line.name, line.type)) != wanted:
        raise PerdureError(
            f"{line.action} takes {('nothing more', 'a name', 'a name and a type')[wanted]}.",
            "`perdure search-attribute add Colour keyword` is one.",
        )
    kind = searching.type_named(line.type) if line.type else ""
    opened = open_project(line, make=line.action == "add")
    if line.action == "add":
        opened.wait(searching.add(opened.client, {line.name: kind}))
    elif line.action == "remove":
        opened.wait(searching.remove(opened.client, [line.name]))
    else:
        own, built_in = opened.wait(searching.names(opened.client))
        for types in (own, built_in):
            for name, each in types.items():
                print(f"{name:<40}{each}")
    return 0
