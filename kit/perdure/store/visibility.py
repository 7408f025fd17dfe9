"""Temporal's list filter as SQL over `journal.runs`.

A filter is the WHERE part of a SELECT in MySQL's dialect. `sqlglot` parses it; what is here walks the tree,
allows what Temporal allows, and gives SQL in which every value of the user is a bound parameter.

What is true of a run without a value follows Temporal's server: comparisons with nothing are neither true nor
false, as in SQL, but a list of keywords, or a text, that is not there simply contains nothing.

ORDER BY is allowed, as with Temporal's advanced visibility stores; rows without a value come last.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeAlias

from perdure.engine.journal import InvalidQueryError, MalformedQueryError, Scope
from perdure.store.columns import DIVISION, Column, Unfit, Value, find, fitting, meant
from perdure.store.condition import DEFAULT_ORDER, Condition, Key

if TYPE_CHECKING:
    from sqlglot import exp

Node: TypeAlias = Any  # a sqlglot expression: its base class has changed names


_OPERATORS = {"EQ": "=", "NEQ": "!=", "GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}
_BY_TYPE = {
    "Keyword": ("=", "!=", "<", ">", "<=", ">=", "IN", "STARTS_WITH"),
    "KeywordList": ("=", "!=", "IN"),
    "Text": ("=", "!="),
}
_OTHERWISE = ("=", "!=", "<", ">", "<=", ">=", "IN")
_RANGES = ("Datetime", "Double", "Int", "Keyword")
_GROUPS = {"ExecutionStatus": "journal.status_name(status)", DIVISION: "division"}
_STAND_INS = {"STARTS_WITH": "LIKE", "LIKE": "RLIKE"}
_OPERANDS = ("this", "expression", "expressions", "low", "high")
_CLAUSES = {
    "limit": "LIMIT",
    "offset": "OFFSET",
    "having": "HAVING",
    "joins": "JOIN",
    "with": "WITH",
    "with_": "WITH",
}


def compile_filter(query: str, scope: Scope, *, counting: bool = False) -> Condition:
    """Compiles a list filter.

    Args:
        query: the filter; "" matches all runs.
        scope: which runs are meant, and the names of their search attributes.
        counting: GROUP BY is of use, ORDER BY is not.

    Raises:
        InvalidQueryError: with the text of Temporal's server, and more where more can be said.
    """
    compiler = _Compiler(query, scope)
    try:
        return compiler.compile(counting)
    except RecursionError:
        raise InvalidQueryError(
            "malformed SQL query: it is nested too deeply; split it into several queries"
        ) from None


class _Compiler:
    """One compilation: the parameters in the order in which the SQL's question marks are written."""

    def __init__(self, query: str, scope: Scope) -> None:
        self._query = query
        self._scope = scope
        self._parameters: list[Value] = []
        self._names_division = False

    def compile(self, counting: bool) -> Condition:
        sql, group, order = "TRUE", "", DEFAULT_ORDER
        if self._query.strip():
            select = self._parse()
            where = select.args.get("where")
            sql = self._boolean(where.this) if where else sql
            group = self._group(select)
            order = self._order(select, counting)
        parameters = (self._scope.namespace, *self._parameters)
        sql = f"namespace = ? AND ({sql})"
        if not self._names_division:
            sql, parameters = f"{sql} AND division = ?", (*parameters, self._scope.division)
        return Condition(sql, parameters, group if counting else "", order)

    def _parse(self) -> exp.Select:
        import sqlglot
        from sqlglot import exp
        from sqlglot.errors import ParseError, SqlglotError

        bare = re.match(r"\s*(group|order)\s+by\b", self._query, re.I)
        try:
            tree = sqlglot.parse_one(
                f"SELECT * FROM runs {'' if bare else 'WHERE '}{self._with_operators()}", dialect="mysql"
            )
        except ParseError as error:
            first = error.errors[0] if error.errors else {}
            near = str(first.get("highlight") or "").strip() or "its end"
            what = str(first.get("description") or "")
            # the parser's own words where they are for people
            raise _malformed("syntax error" if "<" in what else f"syntax error: {what}", near) from None
        except SqlglotError as error:
            raise _malformed(str(error).splitlines()[0]) from None
        if not isinstance(tree, exp.Select):
            raise _malformed("it must be one condition, as after WHERE")
        for key, value in tree.args.items():
            if value and key not in ("expressions", "from", "from_", "where", "group", "order"):
                raise _unsupported(f"'{_CLAUSES.get(key, key.upper())}' clause")
        return tree

    def _with_operators(self) -> str:
        """The query with STARTS_WITH, which is no SQL, as LIKE, which is no operator of Temporal."""
        import sqlglot

        text = self._query
        for token in reversed(sqlglot.tokenize(text, read="mysql")):
            written = self._query[token.start : token.end + 1]
            if written == ";":
                raise _malformed("it must be one condition", written)
            if stand_in := _STAND_INS.get(written.upper()):
                text = text[: token.start] + stand_in + text[token.end + 1 :]
        return text

    # --- GROUP BY and ORDER BY

    def _group(self, select: exp.Select) -> str:
        group = select.args.get("group")
        if group is None:
            return ""
        if [key for key, value in group.args.items() if value and key != "expressions"]:
            raise _unsupported("this form of the 'GROUP BY' clause")
        if len(group.expressions) != 1:
            raise _unsupported("'GROUP BY' clause supports only a single field")
        column = self._column(group.expressions[0])
        if column.field not in _GROUPS:
            raise _unsupported(f"'GROUP BY' clause is not supported for search attribute {column.name}")
        return _GROUPS[column.field]

    def _order(self, select: exp.Select, counting: bool) -> tuple[Key, ...]:
        order = select.args.get("order")
        if order is None:
            return DEFAULT_ORDER
        keys = []
        for each in order.expressions:
            column = self._column(each.this)
            if column.type in ("Text", "KeywordList"):
                raise _unsupported(f"unable to sort by search attribute type {column.type}")
            keys.append(Key(column.sql, bool(each.args.get("desc")), column.parameters, nullable=True))
        if counting:
            raise _unsupported("'ORDER BY' clause")
        return (*keys, Key("run_id"))

    # --- conditions

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
        if isinstance(node, exp.Column):
            raise _wrong("incomplete expression")
        if isinstance(node, exp.Func) and not isinstance(node, exp.RegexpLike):
            raise _unsupported("function expression")
        if extra:
            raise _unsupported(f"this form of the operator in {_written(node)}")
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
        if isinstance(node, exp.Tuple | exp.Subquery):
            raise _malformed("expected a condition", _written(node))
        if isinstance(node, exp.RegexpLike):
            like = re.search(r"\blike\b", self._query, re.I)
            _allow(self._column(node.this), "LIKE" if like else "REGEXP")
        raise _unsupported(f"expression {_written(node)}; expected <name> <operator> <value>")

    def _comparison(self, node: Node, operator: str) -> str:
        column = self._column(node.this)
        value = self._value(node.expression, column)
        _allow(column, operator)
        if column.type == "KeywordList":
            return self._contains(f"list_contains({self._emit(column)}, ?)", [value], operator == "!=")
        if column.type == "Text":
            if not re.search(r"\w", str(value)):
                raise _wrong(f"no tokens found filtering on Text type search attribute {column.name}")
            words = "regexp_extract_all(lower(?), '\\w+')"
            return self._contains(f"list_has_any({self._emit(column)}, {words})", [value], operator == "!=")
        sql = self._emit(column)
        self._parameters.append(value)
        return f"{sql} {operator} ?"

    def _contains(self, sql: str, values: list[Value], negated: bool = False) -> str:
        """What is not there contains nothing: the answer is yes or no, never NULL."""
        self._parameters += values
        return f"{'NOT ' if negated else ''}coalesce({sql}, FALSE)"

    def _in(self, node: exp.In) -> str:
        column = self._column(node.this)
        if not node.expressions:
            raise _malformed("IN needs a list of values in parentheses", _written(node))
        values = [self._value(item, column) for item in node.expressions]
        _allow(column, "IN")
        sql = self._emit(column)
        marks = ", ".join("?" * len(values))
        if column.type == "KeywordList":
            return self._contains(f"list_has_any({sql}, [{marks}])", values)
        self._parameters += values
        return f"{sql} IN ({marks})"

    def _between(self, node: exp.Between) -> str:
        column = self._column(node.this)
        if column.type not in _RANGES:
            raise _wrong(
                f"cannot do range condition on search attribute '{column.name}' of type {column.type}"
            )
        bounds = [self._value(node.args[key], column) for key in ("low", "high")]
        sql = self._emit(column)
        self._parameters += bounds
        return f"{sql} BETWEEN ? AND ?"

    def _is_null(self, node: exp.Is) -> str:
        from sqlglot import exp

        column = self._column(node.this)
        if not isinstance(node.expression, exp.Null):
            raise _wrong("'IS' operator can only be used as 'IS NULL' or 'IS NOT NULL'")
        return f"{self._emit(column)} IS NULL"

    def _starts_with(self, node: exp.Like) -> str:
        column = self._column(node.this)
        value = self._value(node.expression, column)
        _allow(column, "STARTS_WITH")
        if not isinstance(value, str):
            raise _wrong(f"right-hand side of 'starts_with' operator must be a literal string (got: {value})")
        sql = self._emit(column)
        self._parameters.append(value)
        return f"starts_with({sql}, ?)"

    def _emit(self, column: Column) -> str:
        self._parameters += column.parameters
        return column.sql

    # --- names and values

    def _column(self, node: Node) -> Column:
        """The column that stands left of an operator."""
        from sqlglot import exp

        if not isinstance(node, exp.Column):
            raise _wrong(f"must be a column name but was {_written(node)}")
        name = ".".join(part.name for part in node.parts)
        found = find(name, self._scope) if len(node.parts) == 1 else None
        if found is None:
            hint = meant(name, self._scope)
            raise InvalidQueryError(
                f"invalid search attribute: {name}" + (f"; did you mean {hint}?" if hint else "")
            )
        if found.field == DIVISION:
            self._names_division = True
        return found

    def _value(self, node: Node, column: Column) -> Value:
        """The value that stands right of an operator, as the column's type wants it."""
        value = self._literal(node)
        try:
            return fitting(column, value)
        except Unfit as unfit:
            raise _wrong(
                str(unfit)
                or f"invalid value type for search attribute {column.name} of type {column.type}: "
                f"{_go(value)}"
            ) from None

    def _literal(self, node: Node) -> Value:
        from sqlglot import exp

        if isinstance(node, exp.Boolean):
            return bool(node.this)
        if isinstance(node, exp.Literal):
            text = str(node.this)
            return text if node.is_string else _number(text)
        if isinstance(node, exp.Neg) and isinstance(node.this, exp.Literal) and not node.this.is_string:
            return _number("-" + str(node.this.this))
        if isinstance(node, exp.Column):
            raise _unsupported(
                "column name on the right side of comparison expression (did you forget to quote "
                f'"{_written(node)}"?)'
            )
        if isinstance(node, exp.Func):
            raise _unsupported("nested func")
        raise _wrong(f"unexpected value {_written(node)}; write a text in quotes, a number, true or false")


def _allow(column: Column, operator: str) -> None:
    if operator not in _BY_TYPE.get(column.type, _OTHERWISE):
        raise _unsupported(
            f"operator '{operator}' not supported for {column.type} type search attribute '{column.name}'"
        )


def _number(text: str) -> int | float:
    try:
        number = int(text) if re.fullmatch(r"-?\d+", text) else float(text)
    except ValueError:
        raise _wrong(f'unable to parse value "{text}"') from None
    return float(number) if isinstance(number, int) and not -(1 << 63) <= number < 1 << 63 else number


def _go(value: Value) -> str:
    """A value and its type as Temporal's texts name them."""
    match value:
        case bool():
            return f"{str(value).lower()} (type: bool)"
        case int():
            return f"{value} (type: int64)"
        case float():
            return f"{value:g} (type: float64)"
        case _:
            return f'"{value}" (type: string)'


def _written(node: Node) -> str:
    return str(node.sql(dialect="mysql")).replace(" LIKE ", " STARTS_WITH ")


def _malformed(text: str, near: str = "") -> MalformedQueryError:
    return MalformedQueryError(f"malformed SQL query: {text}" + (f" near '{near}'" if near else ""))


def _unsupported(text: str) -> InvalidQueryError:
    return InvalidQueryError(f"operation is not supported: {text}")


def _wrong(text: str) -> InvalidQueryError:
    return InvalidQueryError(f"invalid expression: {text}")
