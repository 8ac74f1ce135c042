"""Rules between tables: references to parents, totals of children, dates against those of a parent."""

from collections.abc import Mapping, Sequence

import polars as pl

from expectations.checked import Checked, Fault, key_parts, none_of, value_of
from expectations.forms import read_cell
from expectations.result import CheckContext, Kind
from protocol.finding import Scope
from protocol.model import Contract, OnFailure, Rule, RuleKind, Table

_BARE = r"[^a-z0-9]"


# --- totals and dates -------------------------------------------------------------------------------------------------


def check_totals_and_dates(checked: Mapping[str, Checked], contract: Contract, context: CheckContext) -> None:
    """Totals against the rows that they add up, and dates against those of the rows referred to.

    Rows are compared wherever both can be read, whether or not something else holds them back. A total is left alone
    where a row that belongs to it has a fault of its own or no figure, and in a delta, which need not hold all of them.
    """
    for table in contract.tables:
        for rule in table.rules:
            other = checked.get(rule.to_table or "")
            own = checked.get(table.name)
            if own is None or other is None or _lacks_columns(rule, own, other):
                continue
            if rule.kind is RuleKind.TOTAL and context.kind != Kind.DELTA:
                _check_total(own, other, rule)
            elif rule.kind is RuleKind.DATE_ORDER_ACROSS:
                _check_date_across(own, other, rule)


def _lacks_columns(rule: Rule, own: Checked, other: Checked) -> bool:
    return bool(own.absent & {*rule.columns, *rule.join} or other.absent & {*rule.to_columns, *rule.to_join})


def _check_total(parent: Checked, child: Checked, rule: Rule) -> None:
    keys = [f"k{index}" for index in range(len(rule.join))]
    total = value_of(parent.table, rule.columns[0])
    score = value_of(child.table, rule.to_columns[0])
    unsound = child.held_back
    parts = child.frame.select(
        *key_parts(child.table, rule.to_join, keys),
        score.cast(pl.Decimal(38, 4)).alias("score"),
        (score.is_null() | unsound).alias("open"),
        pl.col("_row").alias("other"),
    ).filter(~child.repeats)
    sums = (
        parts.drop_nulls(keys)
        .group_by(keys)
        .agg(pl.col("score").sum().alias("sum"), pl.col("open").any(), pl.col("other").min())
    )
    wanted = parent.frame.select(
        *key_parts(parent.table, rule.join, keys), total.cast(pl.Decimal(38, 4)).alias("total")
    )
    compared = wanted.join(sums, on=keys, how="left", maintain_order="left")
    broken = compared.select(((pl.col("sum") != pl.col("total")) & ~pl.col("open")).fill_null(False))[:, 0]
    broken = broken & ~parent.deletes & ~_moved(parent)
    parent.add(rule, broken, others=compared["other"], other_table=child.table.name)


def _check_date_across(child: Checked, parent: Checked, rule: Rule) -> None:
    keys = [f"k{index}" for index in range(len(rule.join))]
    there = (
        parent.frame.select(
            *key_parts(parent.table, rule.to_join, keys),
            value_of(parent.table, rule.to_columns[0]).alias("there"),
            pl.col("_row").alias("other"),
            (parent.deletes | _moved(parent)).alias("left_out"),
        )
        .filter(~pl.col("left_out"))
        .drop_nulls([*keys, "there"])
        # Rows of one key that differ cannot be told apart here; they are told as such.
        .unique([*keys, "there"], keep="first", maintain_order=True)
        .unique(keys, keep="none", maintain_order=True)
    )
    own = child.frame.select(
        *key_parts(child.table, rule.join, keys), value_of(child.table, rule.columns[0]).alias("own")
    )
    compared = own.join(there, on=keys, how="left", maintain_order="left")
    broken = compared.select((pl.col("own") < pl.col("there")).fill_null(False))[:, 0]
    broken = broken & ~child.deletes & ~_moved(child)
    child.add(rule, broken, others=compared["other"], other_table=parent.table.name)


def find_incomplete_totals(
    checked: Mapping[str, Checked], accepted: Mapping[str, pl.DataFrame], contract: Contract
) -> dict[str, frozenset[int]]:
    """Rule code -> numbers of accepted rows some of whose parts were not accepted, so that they add up to less."""
    found: dict[str, frozenset[int]] = {}
    for table in contract.tables:
        for rule in table.rules:
            child = checked.get(rule.to_table or "")
            if rule.kind is not RuleKind.TOTAL or child is None or table.name not in accepted:
                continue
            keys = [f"k{index}" for index in range(len(rule.join))]
            missing = child.frame.select(key_parts(child.table, rule.to_join, keys)).filter(child.held_back).unique()
            if missing.height:
                own = accepted[table.name].select(
                    "_row",
                    *(pl.col(name).cast(pl.String).alias(key) for name, key in zip(rule.join, keys, strict=True)),
                )
                found[rule.code] = frozenset(own.join(missing, on=keys, how="semi")["_row"])
    return found


def _moved(checked: Checked) -> pl.Series:
    """Rows whose cells have moved: nothing more is said of them."""
    moved = none_of(checked.frame.height)
    return moved if checked.moved is None else moved.scatter(checked.moved, True)


# --- references -------------------------------------------------------------------------------------------------------


def follow_references(
    checked: dict[str, Checked], contract: Contract, context: CheckContext
) -> list[tuple[Table, Rule]]:
    """Hold back rows whose parents are unknown or held back, until nothing changes; answers what was undecidable.

    Tables come parents before children, so one round is enough unless a table refers to itself or back.
    """
    undecided: list[tuple[Table, Rule]] = []
    tried: dict[str, int | None] = {}
    rules = [(table, r) for table in contract.tables for r in table.rules if r.kind is RuleKind.REFERENCE]
    changed = True
    while changed:
        changed = False
        for table, rule in rules:
            if table.name not in checked or rule.to_table is None or _cannot_be_followed(checked, rule, context):
                continue
            parent = checked.get(rule.to_table)
            held = None if parent is None else int(parent.held_back.sum())
            if rule.code in tried and tried[rule.code] == held:
                continue
            tried[rule.code] = held
            changed = True
            if not _check_reference(checked[table.name], parent, rule, contract, context):
                undecided.append((table, rule))
    return list(dict.fromkeys(undecided)) if undecided else []


def _cannot_be_followed(checked: Mapping[str, Checked], rule: Rule, context: CheckContext) -> bool:
    """True where a file or a column that the reference needs could not be read: that has been told already."""
    parent = checked.get(rule.to_table or "")
    lacks = parent is not None and bool(parent.absent & set(rule.to_columns))
    return lacks or rule.to_table in context.unread_tables or bool(checked[rule.table].absent & set(rule.columns))


def _check_reference(
    child: Checked, parent: Checked | None, rule: Rule, contract: Contract, context: CheckContext
) -> bool:
    """Set the faults of one reference anew; False where unknown keys could not be told."""
    to_table = contract.table(rule.to_table or "")
    keys = [f"k{index}" for index in range(len(rule.columns))]
    wanted = child.frame.select(key_parts(child.table, rule.columns, keys))
    asked = wanted.select(pl.all_horizontal(pl.all().is_not_null()))[:, 0] & ~child.deletes & ~_moved(child)
    states = _states_of(parent, to_table, rule, keys)
    met = wanted.join(states, on=keys, how="left", maintain_order="left")
    found = met["state"]
    open_ = asked & (found.is_null() | (found == 1).fill_null(False))
    decided = True
    if context.kind == Kind.DELTA and open_.any():
        known = _find_known(wanted.filter(open_).unique(), rule, to_table, keys, context)
        decided = known is not None
        if known is None:
            # Nothing is at hand to tell an unknown key from one of an earlier submission.
            open_ = open_ & found.is_not_null()
        else:
            of_old = wanted.join(known.with_columns(old=True), on=keys, how="left", maintain_order="left")["old"]
            open_ = open_ & ~of_old.fill_null(False)
    deleted = asked & (found == 0).fill_null(False)
    behind_held = open_ & (found == 1).fill_null(False)
    _add_orphans(child, rule, (open_ & found.is_null()) | deleted, wanted, states, to_table, context)
    name = f"{rule.code} held_back"
    if behind_held.any():
        child.faults[name] = Fault(
            code=f"{rule.code}.held_back",
            table=child.table,
            scope=Scope.NOTE if rule.on_failure is OnFailure.NOTE else Scope.ROW,
            columns=rule.columns,
            sentence=f"These rows belong to rows of {to_table.name}.csv that were held back, so they wait with them.",
            mend=f"Nothing need be wrong with these rows themselves. Mend the rows of {to_table.name}.csv that were "
            "held back and send again: these then go through with them.",
            example=None,
            broken=behind_held,
            rule=rule,
            others=met["other"],
            other_table=to_table.name,
        )
    else:
        child.faults.pop(name, None)
    return decided


def _states_of(parent: Checked | None, to_table: Table, rule: Rule, keys: Sequence[str]) -> pl.DataFrame:
    """Every key of the parent once: its ``state`` and the first row (``other``) that is in it.

    State 2 goes on, 1 is held back, 0 is deleted by this very submission.
    """
    schema = {**dict.fromkeys(keys, pl.String()), "state": pl.Int8(), "other": pl.Int64()}
    if parent is None:
        return pl.DataFrame(schema=schema)
    state = pl.when(parent.held_back).then(1).when(parent.deletes).then(0).otherwise(2).cast(pl.Int8).alias("state")
    present = parent.frame.select(*key_parts(to_table, rule.to_columns, keys), state, pl.col("_row").alias("other"))
    if parent.shifted_keys is not None and set(rule.to_columns) <= set(to_table.key):
        stand = parent.shifted_keys.select(
            *(pl.col(column).alias(key) for column, key in zip(rule.to_columns, keys, strict=True)),
            pl.lit(1, pl.Int8).alias("state"),
            parent.frame["_row"].gather(parent.shifted_keys["place"]).alias("other"),
        )
        present = pl.concat([present, stand])
    present = present.drop_nulls(list(keys))
    if present.select(keys).is_duplicated().any():
        present = present.sort("state", descending=True, maintain_order=True).unique(keys, keep="first")
    return present


def _add_orphans(
    child: Checked,
    rule: Rule,
    orphans: pl.Series,
    wanted: pl.DataFrame,
    states: pl.DataFrame,
    to_table: Table,
    context: CheckContext,
) -> None:
    """Note rows whose parent is missing, those apart whose key nearly is a parent's."""
    nearly, others = none_of(orphans.len()), None
    if orphans.any() and states.height and len(wanted.columns) == 1:
        places = orphans.arg_true()
        bare = states.select(_bare("k0"), "other").filter(pl.col("bare") != "").unique("bare", keep="none")
        met = wanted[places].select(_bare("k0")).join(bare, on="bare", how="left", maintain_order="left")["other"]
        nearly = nearly.scatter(places.filter(met.is_not_null()), True)
        others = pl.repeat(None, orphans.len(), dtype=pl.Int64, eager=True).scatter(places, met)
    unread = context.unread_rows.get(to_table.name, 0)
    child.add(
        rule,
        orphans & ~nearly,
        hint=f"Rows of {to_table.name}.csv could not be read ({unread:,}); if these belong to them, mend those first."
        if unread
        else "",
    )
    child.add(
        rule,
        nearly,
        "nearly",
        hint=f"Each is nearly the number of a row of {to_table.name}.csv: only zeros in front, a .0 at the end, "
        "capitals, blanks or signs differ. Write it in both files as it is in your system.",
        others=others,
        other_table=to_table.name,
    )


def _bare(column: str) -> pl.Expr:
    """A key without what spreadsheets and hands change: a final .0, capitals, signs, zeros in front."""
    text = pl.col(column).str.replace(r"\.0+$", "").str.to_lowercase().str.replace_all(_BARE, "")
    return text.str.strip_chars_start("0").alias("bare")


def _find_known(
    wanted: pl.DataFrame, rule: Rule, to_table: Table, keys: list[str], context: CheckContext
) -> pl.DataFrame | None:
    """Which of the wanted keys are in force from earlier submissions; None where nothing at hand can tell."""
    earlier = context.known_keys.get(to_table.name)
    if earlier is None and context.find_known_keys is None:
        return None
    found: list[pl.DataFrame] = []
    if earlier is not None:
        found.append(known_as_text(earlier, to_table, rule.to_columns, keys))
    if context.find_known_keys is not None:
        asked = wanted.rename(dict(zip(keys, rule.to_columns, strict=True)))
        found.append(wanted.filter(context.find_known_keys(to_table.name, asked)))
    return pl.concat(found).unique()


def known_as_text(
    frame: pl.DataFrame, table: Table, columns: Sequence[str], names: Sequence[str], *, drop_empty: bool = True
) -> pl.DataFrame:
    """Key columns, text or typed, as text in the one form in which keys are compared; rows with an empty part go."""
    frame = frame.select(pl.col(column).alias(name) for column, name in zip(columns, names, strict=True))
    types = [table.column(column).type for column in columns]
    read = [
        read_cell(name, type_) if frame.schema[name] == pl.String else pl.col(name)
        for name, type_ in zip(names, types, strict=True)
    ]
    keys = frame.select(part.cast(pl.String) for part in read)
    return keys.drop_nulls() if drop_empty else keys
