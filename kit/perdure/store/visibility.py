"""Temporal's list filter as SQL over `journal.runs`.

A filter is the WHERE part of a SELECT in MySQL's dialect. `sqlglot` parses it; what is here walks the tree,
allows what Temporal allows, and gives SQL in which every value of the user is a bound parameter.

Names are Temporal's columns, or search attributes, which lie in `search_attributes_json`; of these we learn
the type from the newest run that has one. A name that no run has matches nothing, unless it looks like a
slip of a column's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure.engine.journal import InvalidQueryError
from perdure.store.columns import (
    COLUMNS,
    DIVISION,
    DIVISION_IS_NULL,
    ORDERED,
    VALUES,
    Column,
    Value,
    attribute,
)

if TYPE_CHECKING:
    from sqlglot import exp

Node: TypeAlias = Any  # a sqlglot expression: its base class has changed names
AttributeType = Callable[[str], str | None]


@dataclass(frozen=True, slots=True)
class Condition:
    """What stands after WHERE, with its `?` parameters. `by_status`: the query groups by ExecutionStatus."""

    sql: str
    parameters: tuple[Value, ...] = ()
    by_status: bool = False


_OPERATORS = {"EQ": "=", "NEQ": "!=", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}
_PLAIN = {  # how tables of runs and people name the columns
    "id": "WorkflowId",
    "workflow": "WorkflowType",
    "workflow_type": "WorkflowType",
    "type": "WorkflowType",
    "status": "ExecutionStatus",
    "started": "StartTime",
    "closed": "CloseTime",
    "ended": "CloseTime",
    "took": "ExecutionDuration",
}
_OPERANDS = ("this", "expression", "expressions", "low", "high")
_CLAUSES = {
    "order": "ORDER BY",
    "limit": "LIMIT",
    "offset": "OFFSET",
    "having": "HAVING",
    "joins": "JOIN",
    "with": "WITH",
    "with_": "WITH",
}


def compile_filter(query: str, attribute_type: AttributeType, *, grouping: bool = False) -> Condition:
    """Compiles a list filter.

    Args:
        query: the filter; "" matches all runs.
        attribute_type: gives the type of a search attribute ("Keyword", "Int", ...; "" if unknown),
            or None if no run has it.
        grouping: allow GROUP BY ExecutionStatus, as counts do.

    Raises:
        InvalidQueryError: naming the rule that was broken and the place in the query.
    """
    if not query.strip():
        return Condition(DIVISION_IS_NULL)
    compiler = _Compiler(query, attribute_type)
    try:
        return compiler.compile(grouping)
    except RecursionError:
        raise InvalidQueryError(
            "invalid list filter: it is nested too deeply; split it into several queries"
        ) from None


class _Compiler:
    """One compilation: the parameters in the order in which the SQL's question marks are written."""

    def __init__(self, query: str, attribute_type: AttributeType) -> None:
        self._query = query
        self._attribute_type = attribute_type
        self._parameters: list[Value] = []
        self._names_division = False

    def compile(self, grouping: bool) -> Condition:
        select = self._parse()
        for key, value in select.args.items():
            if value and key not in ("expressions", "from", "from_", "where", "group"):
                clause = _CLAUSES.get(key, key.upper())
                more = ": runs come newest start first" if key == "order" else ""
                raise self._refused(f"{clause} is not allowed in a list filter{more}", clause)
        by_status = self._grouping(select, grouping)
        where = select.args.get("where")
        sql = self._boolean(where.this) if where else "TRUE"
        if not self._names_division:
            sql = f"({sql}) AND {DIVISION_IS_NULL}"
        return Condition(sql, tuple(self._parameters), by_status)

    def _parse(self) -> exp.Select:
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import ParseError, SqlglotError

        head = "SELECT * FROM runs " + (
            "" if re.match(r"\s*(group|order)\s+by\b", self._query, re.I) else "WHERE "
        )
        try:
            tree = sqlglot.parse_one(head + self._with_operators(), dialect="mysql")
        except ParseError as error:
            first = error.errors[0] if error.errors else {}
            near = str(first.get("highlight") or "").strip() or "its end"
            raise self._refused(f"{first.get('description') or 'it cannot be parsed'}", near) from None
        except SqlglotError as error:
            raise self._refused(str(error).splitlines()[0], "") from None
        if not isinstance(tree, exp.Select):
            raise self._refused("it must be one condition, as after WHERE", "")
        return tree

    def _with_operators(self) -> str:
        """The query with STARTS_WITH, which is no SQL, as LIKE, which is no operator of Temporal."""
        import sqlglot

        text = self._query
        for token in sqlglot.tokenize(text, read="mysql"):
            word = self._query[token.start : token.end + 1].upper()
            if word in ("LIKE", ";"):
                raise self._refused(
                    f"{word} is not allowed in a list filter", self._query[token.start : token.end + 1]
                )
            if word == "STARTS_WITH":
                text = text[: token.start] + "LIKE".ljust(len(word)) + text[token.end + 1 :]
        return text

    def _grouping(self, select: exp.Select, allowed: bool) -> bool:
        from sqlglot import exp

        group = select.args.get("group")
        if group is None:
            return False
        if not allowed:
            raise self._refused("GROUP BY is allowed only when counting", "GROUP BY")
        extra = [key for key, value in group.args.items() if value and key != "expressions"]
        names = [column.name for column in group.expressions if isinstance(column, exp.Column)]
        if extra or len(group.expressions) != 1 or names != ["ExecutionStatus"]:
            raise self._refused("GROUP BY takes ExecutionStatus only", "GROUP BY")
        return True

    def _boolean(self, node: Node) -> str:
        """SQL for an expression that is true or false."""
        from sqlglot import exp

        if isinstance(node, exp.Paren):
            return f"({self._boolean(node.this)})"
        if isinstance(node, exp.Not):
            return f"NOT ({self._boolean(node.this)})"
        if isinstance(node, exp.And | exp.Or):
            left = self._boolean(node.this)
            return f"({left} {node.key.upper()} {self._boolean(node.expression)})"
        extra = [key for key, value in node.args.items() if value and key not in _OPERANDS]
        if extra == ["negate"]:
            return f"NOT ({self._operation(node)})"
        if extra:
            raise self._refused("this form of the operator is not allowed in a list filter", node)
        return self._operation(node)

    def _operation(self, node: Node) -> str:
        """SQL for <name> <operator> <value>."""
        from sqlglot import exp

        if isinstance(node, exp.EQ | exp.NEQ | exp.GT | exp.GTE | exp.LT | exp.LTE):
            return self._comparison(node, _OPERATORS[type(node).__name__])
        if isinstance(node, exp.In):
            return self._in(node)
        if isinstance(node, exp.Between):
            return self._between(node)
        if isinstance(node, exp.Is):
            return self._is_null(node)
        if isinstance(node, exp.Like):
            return self._starts_with(node)
        raise self._refused("expected a comparison: <name> <operator> <value>", node)

    def _comparison(self, node: Node, operator: str) -> str:
        column = self._column(node.this, operator)
        value = self._value(node.expression, column, node.this)
        if not column.kind:
            return "NULL"
        sql = self._emit(column)
        self._parameters.append(value)
        if column.kind == "KeywordList":
            return f"{'NOT ' if operator == '!=' else ''}list_contains({sql}, ?)"
        if column.kind == "Text":
            words = "regexp_extract_all(lower(?), '\\w+')"
            return f"{'NOT ' if operator == '!=' else ''}list_has_any({sql}, {words})"
        return f"{sql} {operator} ?"

    def _in(self, node: exp.In) -> str:
        column = self._column(node.this, "IN")
        if not node.expressions:
            raise self._refused("IN needs a list of values in parentheses", node)
        values = [self._value(item, column, node.this) for item in node.expressions]
        if not column.kind:
            return "NULL"
        sql = self._emit(column)
        self._parameters += values
        marks = ", ".join("?" * len(values))
        return f"list_has_any({sql}, [{marks}])" if column.kind == "KeywordList" else f"{sql} IN ({marks})"

    def _between(self, node: exp.Between) -> str:
        column = self._column(node.this, "BETWEEN")
        bounds = [self._value(node.args[key], column, node.this) for key in ("low", "high")]
        if not column.kind:
            return "NULL"
        sql = self._emit(column)
        self._parameters += bounds
        return f"{sql} BETWEEN ? AND ?"

    def _is_null(self, node: exp.Is) -> str:
        from sqlglot import exp

        column = self._column(node.this, "IS")
        if not isinstance(node.expression, exp.Null):
            raise self._refused("IS takes NULL or NOT NULL", node)
        return f"{self._emit(column) if column.kind else 'NULL'} IS NULL"

    def _starts_with(self, node: exp.Like) -> str:
        column = self._column(node.this, "STARTS_WITH")
        value = self._value(node.expression, column, node.this)
        if not column.kind:
            return "NULL"
        sql = self._emit(column)
        self._parameters.append(value)
        return f"starts_with({sql}, ?)"

    def _emit(self, column: Column) -> str:
        self._parameters += column.parameters
        return column.sql

    def _column(self, node: Node, operator: str) -> Column:
        """The column that stands left of an operator, if the operator is for its kind."""
        from sqlglot import exp

        if not isinstance(node, exp.Column) or len(node.parts) != 1:
            raise self._refused("a name must stand on the left of an operator", node)
        column = self._named(node.name)
        allowed = {
            "=": True,
            "!=": True,
            "IS": True,
            "IN": column.kind not in ("Text", "Bool"),
            "STARTS_WITH": column.kind in ("Keyword", ""),
        }.get(operator, column.kind in (*ORDERED, ""))
        if not allowed:
            raise self._refused(
                f"{operator} is not for {node.name}, which is a {column.kind}", node.parent or node
            )
        return column

    def _named(self, name: str) -> Column:
        if name == DIVISION:
            self._names_division = True
        found = COLUMNS.get(name) or COLUMNS.get(f"Temporal{name}")
        if found is not None:
            return found
        kind = self._attribute_type(name)
        if kind is None:
            folded = {column.lower(): column for column in COLUMNS}
            close = get_close_matches(name.lower(), folded, n=1, cutoff=0.85)
            meant = folded[close[0]] if close else _PLAIN.get(name.lower())
            if meant:
                raise self._refused(f"there is no {name}; did you mean {meant}?", name)
            return Column("NULL", "")
        return attribute(name, kind)

    def _value(self, node: Node, column: Column, name: Node) -> Value:
        """The value that stands right of an operator, as the column's kind wants it."""
        value = self._literal(node)
        if not column.kind:
            return value
        fits, wanted = VALUES[column.kind]
        fitting = fits(value)
        if fitting is None:
            raise self._refused(f"{name.name} is compared with {wanted}", node)
        return fitting

    def _literal(self, node: Node) -> Value:
        from sqlglot import exp

        if isinstance(node, exp.Boolean):
            return bool(node.this)
        if isinstance(node, exp.Literal):
            text = str(node.this)
            return text if node.is_string else self._number(text, node)
        if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
            return self._number("-" + str(node.this.this), node)
        raise self._refused(
            "a value must stand on the right of an operator: a text in quotes, a number, true or false", node
        )

    def _number(self, text: str, node: Node) -> int | float:
        try:
            number = int(text) if re.fullmatch(r"-?\d+", text) else float(text)
        except ValueError:
            raise self._refused(f"{text} is not a number", node) from None
        if isinstance(number, int) and not -(1 << 63) <= number < 1 << 63:
            raise self._refused(f"{text} is out of range", node)
        return number

    def _refused(self, rule: str, place: Node | str) -> InvalidQueryError:
        text = (
            place if isinstance(place, str) else place.sql(dialect="mysql").replace(" LIKE ", " STARTS_WITH ")
        )
        column = self._query.lower().find(text.lower()) + 1 if text else 0
        where = f" (near `{text}`{f', column {column}' if column else ''})" if text else ""
        raise InvalidQueryError(f"invalid list filter: {rule}{where}: {self._query}")
