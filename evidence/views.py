"""Documented views for analysts: one a measure over the release that is published now."""

from sqlalchemy import Connection, text

from evidence.model import Measure

READERS = ("linkarms_evidence_reader",)
"""Group roles that may read released evidence."""

_COLUMN_COMMENTS = {
    "release_number": "Number of the release that the figure is of.",
    "breakdown": "How the figures are split; ``all`` is the whole.",
    "statistic": "Which figure it is; see the comment of the view.",
    "value": "The figure after disclosure control; null where it is withheld or not available, never 0 instead.",
    "numerator": "Published count above the line of a share.",
    "denominator": "Published count below the line of a share, or of the cases behind a median or a sum.",
    "unit": "What the value counts or measures.",
    "status": "published, withheld (it could give someone away) or not_available.",
    "reason": "Why it is withheld or not available; for a published figure, what to look at.",
}


def create_views(conn: Connection, measures: tuple[Measure, ...]) -> None:
    """Make or replace one view a measure in the schema ``evidence``, with comments on it and on its columns.

    A view is named like its measure and has one text column for each dimension, null where a breakdown has none. It
    shows the published release and is empty while there is none. Readers' group roles get SELECT where they exist.
    In one transaction (a savepoint within the caller's).
    """
    with conn.begin_nested() if conn.in_transaction() else conn.begin():
        for measure in measures:
            _create_view(conn, measure)


def _create_view(conn: Connection, measure: Measure) -> None:
    # Names come from the header, whose model allows lower case, digits and underscores only.
    view = f"evidence.{measure.id}"
    columns = [
        "r.number as release_number",
        "f.breakdown",
        *(f"f.dims ->> '{name}' as \"{name}\"" for name in measure.dim_names),
        *(f"f.{name}" for name in ("statistic", "value", "numerator", "denominator", "unit", "status", "reason")),
    ]
    _run(conn, f"drop view if exists {view}")
    _run(
        conn,
        f"create view {view} with (security_barrier) as\nselect\n    "
        + ",\n    ".join(columns)
        + "\nfrom evidence.figure as f\ninner join evidence.release as r using (release_id)\n"
        + f"where r.state = 'published' and f.measure = '{measure.id}'",
    )
    _comment(conn, f"view {view}", describe_measure(measure))
    for name, comment in _COLUMN_COMMENTS.items():
        _comment(conn, f"column {view}.{name}", comment)
    for name in measure.dim_names:
        where = ", ".join(b.label.lower() for b in measure.breakdowns if name in b.dims)
        _comment(conn, f'column {view}."{name}"', f"Filled for: {where}.")
    for role in READERS:
        exists = conn.execute(text("select 1 from pg_roles where rolname = :role"), {"role": role}).scalar()
        if exists:
            _run(conn, f"grant select on {view} to {role}")


def describe_measure(measure: Measure) -> str:
    """What the measure is, for a data dictionary: question, parts, statistics, breakdowns and caveats."""
    lines = [
        f"{measure.title}: {measure.question}",
        f"Numerator: {measure.numerator}",
        f"Denominator: {measure.denominator}",
        "Statistics: " + "; ".join(f"{s.id} = {s.label} ({s.unit})" for s in measure.statistics) + ".",
        "Breakdowns: " + "; ".join(f"{b.id} = {b.label}" for b in measure.breakdowns) + ".",
        *(f"Caveat: {caveat}" for caveat in measure.caveats),
    ]
    return "\n".join(lines)


def _comment(conn: Connection, what: str, comment: str) -> None:
    quoted = comment.replace("'", "''")
    _run(conn, f"comment on {what} is '{quoted}'")


def _run(conn: Connection, statement: str) -> None:
    conn.execution_options(no_parameters=True).exec_driver_sql(statement)
