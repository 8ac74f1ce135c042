"""What can be known of a partner's SELECT without any file: whether it parses, and the names that it makes and uses.

DuckDB's parser gives the tree. The partner's files are not there, so their columns are taken on trust; columns of the
SELECT's own parts (``WITH`` and subqueries) are known and checked. What the SELECT may reach when it is run is
:mod:`intake.mapping`'s to decide, in a process of its own.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

_FAR = 2**63
"""DuckDB's place for what stands nowhere in the text is above this."""
HARMLESS_TABLE_FUNCTIONS = frozenset({"range", "generate_series", "unnest", "repeat", "repeat_row"})
"""They make rows out of nothing but their arguments."""
_CHANGED_STAR = ("exclude_list", "qualified_exclude_list", "replace_list", "rename_list", "expr")
NO_FILE_NAME = re.compile(r"[/\\:*?]|\.\w+$")
"""What a partner's file is not named by: a path, a pattern, or an ending."""


@dataclass(frozen=True)
class SelectFault:
    """One thing that is wrong with a SELECT."""

    line: int
    what: str


@dataclass(frozen=True)
class Output:
    """One column that a SELECT makes."""

    name: str | None
    """None where it is an expression without a name."""
    line: int


Columns = tuple[str, ...] | None
"""Names of the columns of one part of the SELECT in small letters; None where only the files could tell."""


@cache
def check_select(text: str, agreed: tuple[str, ...]) -> tuple[SelectFault, ...]:
    """Everything that is wrong with a SELECT that is to make exactly the columns ``agreed``, in any order."""
    tree = _parse(text)
    if isinstance(tree, SelectFault):
        return (tree,)
    check = _Check(text)
    columns = check.query(tree, {}, ())
    if not check.faults:
        check.compare(columns, agreed)
    return tuple(dict.fromkeys(check.faults))


def _parse(text: str) -> dict[str, Any] | SelectFault:
    """The tree of the one SELECT, or what is wrong."""
    import duckdb

    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        row = connection.execute("select json_serialize_sql(?)", [text]).fetchone()
    told: dict[str, Any] = json.loads(row[0]) if row else {"error": True}
    if told.get("error"):
        message = str(told.get("error_message", ""))
        if told.get("error_type") == "parser" and message:
            return SelectFault(_line(text, told.get("position")), f"cannot be parsed: {message}. Try it in DuckDB.")
        return SelectFault(1, "should hold one SELECT and nothing else.")
    if len(told["statements"]) != 1:
        return SelectFault(1, "should hold one SELECT and nothing else.")
    node: dict[str, Any] = told["statements"][0]["node"]
    return node


@cache
def _functions() -> frozenset[str]:
    """Every function of DuckDB, in small letters."""
    import duckdb

    with duckdb.connect(":memory:", config={"enable_external_access": "false"}) as connection:
        rows = connection.execute("select distinct lower(function_name) from duckdb_functions()").fetchall()
    return frozenset(name for (name,) in rows)


def _line(text: str, position: object) -> int:
    """The line of a place that DuckDB counts in bytes; 1 where it stands nowhere."""
    place = int(position) if isinstance(position, int) or str(position).isdigit() else 0  # type: ignore[call-overload]
    return 1 if place >= _FAR else text.encode()[:place].count(b"\n") + 1


class _Check:
    """One pass over a SELECT's tree. Parts (``WITH``) and relations (``FROM``) are known by their small letters."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.faults: list[SelectFault] = []

    def _add(self, node: Mapping[str, Any], what: str) -> None:
        self.faults.append(SelectFault(_line(self._text, node.get("query_location")), what))

    def compare(self, made: tuple[Output, ...] | None, agreed: tuple[str, ...]) -> None:
        """Add a fault for each column that is made and not agreed, or agreed and not made."""
        if made is None:
            self.faults.append(
                SelectFault(1, "takes all columns of a file (*). Name each, so that all can see what is shared.")
            )
            return
        seen: set[str] = set()
        for output in made:
            name = (output.name or "").lower()
            if output.name is None:
                self._told(output.line, "makes a column without a name. Add AS and an agreed column's name.")
            elif name not in agreed:
                self._told(output.line, f"makes the column {output.name}, which is not agreed. Correct or remove it.")
            elif name in seen:
                self._told(output.line, f"makes the column {name} twice. Keep one of both.")
            seen.add(name)
        for name in agreed:
            if name not in seen:
                self._told(1, f"leaves the agreed column {name} out. Write NULL AS {name} where the partner has none.")

    def _told(self, line: int, what: str) -> None:
        self.faults.append(SelectFault(line, what))

    # --- queries ---

    def query(
        self, node: Mapping[str, Any], parts: dict[str, Columns], outer: tuple[dict[str, Columns], ...]
    ) -> tuple[Output, ...] | None:
        """The columns that a query makes; None where only the files could tell."""
        parts = dict(parts)
        for entry in (node.get("cte_map") or {}).get("map") or ():
            part = entry["value"]
            inner = part["query_node"] if "query_node" in part else part["query"]["node"]
            name = str(entry["key"]).lower()
            if inner.get("type") == "RECURSIVE_CTE_NODE":
                made = self.query(inner["left"], parts, outer)
                parts[name] = _named(made, part.get("aliases"))
                self.query(inner["right"], parts, outer)
            else:
                parts[name] = _named(self.query(inner, parts, outer), part.get("aliases"))
        kind = node.get("type")
        if kind == "SELECT_NODE":
            return self._select(node, parts, outer)
        if kind == "SET_OPERATION_NODE":
            first, *_ = [self.query(child, parts, outer) for child in _children(node)]
            return first
        self._add(node, "should only read. Write one SELECT, without PIVOT, SHOW, INSERT, UPDATE or DELETE.")
        return None

    def _select(
        self, node: Mapping[str, Any], parts: dict[str, Columns], outer: tuple[dict[str, Columns], ...]
    ) -> tuple[Output, ...] | None:
        scope: dict[str, Columns] = {}
        self._relations(node.get("from_table") or {}, parts, outer, scope)
        outputs: list[Output] = []
        known = True
        for column in node.get("select_list") or ():
            if column.get("class") == "STAR":
                taken = self._star(column, scope)
                known = known and taken is not None
                outputs += taken or ()
            else:
                own = column["column_names"][-1] if column.get("class") == "COLUMN_REF" else None
                name = column.get("alias") or own
                outputs.append(Output(name, _line(self._text, column.get("query_location"))))
        named = {str(column["alias"]).lower() for column in node.get("select_list") or () if column.get("alias")}
        for key, value in node.items():
            if key not in ("from_table", "cte_map", "type"):
                self._expressions(value, parts, (scope, *outer), named)
        return tuple(outputs) if known else None

    def _star(self, column: Mapping[str, Any], scope: dict[str, Columns]) -> tuple[Output, ...] | None:
        if any(column.get(key) for key in _CHANGED_STAR):
            return None
        of = str(column.get("relation_name") or "").lower()
        relations = [scope.get(of)] if of else list(scope.values())
        line = _line(self._text, column.get("query_location"))
        names = [name for relation in relations if relation is not None for name in relation]
        return None if not relations or None in relations else tuple(Output(name, line) for name in names)

    def _relations(
        self,
        node: Mapping[str, Any],
        parts: dict[str, Columns],
        outer: tuple[dict[str, Columns], ...],
        scope: dict[str, Columns],
    ) -> None:
        """Add what stands after FROM to ``scope``."""
        kind = node.get("type")
        alias = str(node.get("alias") or "").lower()
        if kind == "BASE_TABLE":
            name = str(node["table_name"])
            if node.get("schema_name") or node.get("catalog_name") or NO_FILE_NAME.search(name):
                self._add(node, f"reads {name} by a path or schema. Name the file without folder and ending.")
            own = parts.get(name.lower())
            scope[alias or name.lower()] = _renamed(own, node.get("column_name_alias"))
        elif kind == "SUBQUERY":
            made = self.query(node["subquery"]["node"], parts, outer)
            scope[alias] = _named(made, node.get("column_name_alias"))
        elif kind == "JOIN":
            self._relations(node["left"], parts, outer, scope)
            self._relations(node["right"], parts, outer, scope)
            if node.get("using_columns"):  # its columns are there once, of whichever side
                scope["using " + str(len(scope))] = None
            self._expressions(node.get("condition"), parts, (scope, *outer), set())
        elif kind not in (None, "EMPTY"):
            function = str((node.get("function") or {}).get("function_name", "")).lower()
            if kind == "TABLE_FUNCTION" and function not in HARMLESS_TABLE_FUNCTIONS:
                self._add(node, f"reads from the function {function}. It may read the partner's files only.")
            scope[alias or f"unknown {len(scope)}"] = None

    # --- expressions ---

    def _expressions(
        self, value: object, parts: dict[str, Columns], scopes: tuple[dict[str, Columns], ...], named: set[str]
    ) -> None:
        """Check each column that an expression names, and the queries within it."""
        if isinstance(value, list):
            for item in value:
                self._expressions(item, parts, scopes, named)
        elif isinstance(value, dict):
            kind = value.get("class")
            if kind == "COLUMN_REF":
                self._column(value, scopes, named)
            elif kind == "SUBQUERY":
                self.query(value["subquery"]["node"], parts, scopes)
                self._expressions(value.get("child"), parts, scopes, named)
            elif kind != "LAMBDA":
                function = str(value.get("function_name") or "")
                if function and not value.get("is_operator") and function.lower() not in _functions():
                    self._add(value, f"calls {function}, which DuckDB does not have.")
                for inner in value.values():
                    self._expressions(inner, parts, scopes, named)

    def _column(self, node: Mapping[str, Any], scopes: tuple[dict[str, Columns], ...], named: set[str]) -> None:
        names = [str(name).lower() for name in node["column_names"]]
        if len(names) > 1:
            scope = next((scope for scope in scopes if names[0] in scope), None)
            known = scope[names[0]] if scope is not None else None
            if known is not None and names[1] not in known:
                self._add(node, f"names {'.'.join(names[:2])}, and {names[0]} has no such column.")
            return
        relations = [relation for scope in scopes for relation in scope.items()]
        if any(columns is None or names[0] in (alias, *columns) for alias, columns in relations):
            return
        if names[0] not in named:
            self._add(node, f"names the column {names[0]}, which nothing in its FROM has.")


def _children(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield from (child for child in (node.get("left"), node.get("right"), *(node.get("children") or ())) if child)


def _named(made: tuple[Output, ...] | None, aliases: list[str] | None) -> Columns:
    """Names of what a query makes, under the names that stand beside it, ``t(a, b)``."""
    if made is None or any(output.name is None for output in made[len(aliases or ()) :]):
        return None
    return _renamed(tuple((output.name or "").lower() for output in made), aliases)


def _renamed(columns: Columns, aliases: list[str] | None) -> Columns:
    if columns is None or not aliases:
        return columns
    return tuple(alias.lower() for alias in aliases) + columns[len(aliases) :]
