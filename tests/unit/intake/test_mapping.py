"""A partner's own export made into the agreed tables."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest

from intake import MappingError, SqlLimits, check_sql
from intake import sql_worker as worker
from protocol.model import Contract, Mapping, Partner, SqlMapping, TableMapping

Step = Callable[..., Any]
PERSON = SqlMapping(table="person", select="SELECT id AS local_person_id, name AS surname FROM Clients ORDER BY id")


@pytest.fixture
def export(submit: Step, make_partner: Callable[..., Partner]) -> Step:
    """Submits the files of a partner that has this mapping and no manifest."""

    def run(mapping: dict[str, Any], files: dict[str, bytes], **options: Any) -> Any:
        return submit(files, make_partner(Mapping(manifest_from_name=True, **mapping)), **options)

    return run


def sql(select: str, table: str = "person", **parameters: str) -> dict[str, Any]:
    return {"sql": (SqlMapping(table=table, select=select),), "parameters": parameters}


CLIENTS = {"Clients.csv": b'id,name,Born\n1,"Smith",1980-01-01\n2,Jones,\n'}


# --- renames ----------------------------------------------------------------------------------------------------------


def renames(**entries: Any) -> dict[str, Any]:
    base: dict[str, Any] = {"table": "person", "file": "Clients.csv"}
    nothing = TableMapping(table="assessment", columns={"tool": "Instrument"}, file="none.csv")
    return {"tables": (TableMapping(**(base | entries)), nothing)}


@pytest.fixture
def renamed(export: Step, codes: Step) -> Step:
    """The person table of an export with renames; the missing assessments are no matter here."""

    def run(content: bytes, **entries: Any) -> Any:
        tables, findings = export(renames(**entries), {"Clients.csv": content, "Other.csv": b"x\n1\n"})
        return tables.get("person"), tuple(f for f in findings if f.table == "person")

    return run


def test_files_headings_and_codes_are_renamed_and_constants_filled_in(renamed: Step) -> None:
    frame, findings = renamed(
        b"Client No,Last Name,Gender,Extra\n1,Smith, F \n2,Jones,?\n".replace(b"Gender,Extra", b"Gender"),
        columns={"local_person_id": "Client No", "sex": "Gender"},
        codes={"sex": {"F": "female", "?": ""}},
        constants={"surname": "none"},
    )
    assert findings == ()
    assert frame.rows() == [(2, "1", "none", "female"), (3, "2", "none", None)]
    assert frame.columns == ["_row", "local_person_id", "surname", "sex"]


def test_only_mapped_and_agreed_headings_are_read_and_the_rest_is_left(renamed: Step) -> None:
    frame, findings = renamed(
        b"Client No,surname,Secret\n1,Smith,x\n2,Jones,y\n", columns={"local_person_id": "Client No"}
    )
    assert findings == ()
    assert frame.rows() == [(2, "1", "Smith", None), (3, "2", "Jones", None)]


def test_column_that_is_said_to_be_absent_stays_empty_whatever_the_export_has(renamed: Step) -> None:
    frame, findings = renamed(
        b"Client No,surname,sex\n1,Smith,F\n2,Jones,M\n", columns={"local_person_id": "Client No"}, absent=("sex",)
    )
    assert findings == ()
    assert frame.rows() == [(2, "1", "Smith", None), (3, "2", "Jones", None)]


def test_mapping_without_renamed_columns_leaves_undeclared_columns_refused(renamed: Step, codes: Step) -> None:
    frame, findings = renamed(b"local_person_id,surname,sex,Secret\n1,Smith,F,x\n", codes={"sex": {"F": "female"}})
    assert "Secret" not in frame.columns
    assert codes(findings) == ["file.column_undeclared"]


def test_mapped_heading_that_is_missing_or_stands_twice_is_named(renamed: Step, codes: Step) -> None:
    frame, findings = renamed(
        b"Gender,Gender,surname\n1,2,3\n", columns={"local_person_id": "Client No", "sex": "Gender"}
    )
    assert frame["surname"].to_list() == ["3"]
    assert codes(findings) == ["mapping.column_missing", "mapping.column_twice"]
    assert any("Client No" in finding.sentence for finding in findings)


def test_required_column_that_is_nowhere_is_told(renamed: Step, codes: Step) -> None:
    _, findings = renamed(b"Gender\nF\n", columns={"sex": "Gender"})
    assert codes(findings) == ["mapping.required_column_missing"]


def test_missing_file_of_a_mapping_is_named_as_the_mapping_names_it(export: Step) -> None:
    _, findings = export(renames(), CLIENTS)
    assert {finding.file for finding in findings if finding.code == "mapping.file_missing"} == {"none.csv"}


def test_mapping_of_what_is_not_agreed_is_an_error_of_the_agreement(export: Step) -> None:
    for entries in ({"table": "people"}, {"columns": {"name": "x"}}, {"constants": {"name": "x"}}):
        with pytest.raises(MappingError):
            export(renames(**entries), CLIENTS)


def test_renamed_export_with_a_manifest_has_its_rows_counted(
    submit: Step, make_partner: Callable[..., Partner], make_manifest: Step, codes: Step
) -> None:
    mapping = Mapping(tables=(TableMapping(table="person", file="Clients", columns={"local_person_id": "id"}),))
    files = CLIENTS | {"manifest.json": make_manifest({"person": 2, "assessment": "nil"})}
    tables, findings = submit(files, make_partner(mapping))
    assert findings == ()
    assert tables["person"].height == 2
    assert tables["assessment"].height == 0
    files["manifest.json"] = make_manifest({"person": 3, "assessment": "nil"})
    files["Other.csv"] = b"x\n"
    assert codes(submit(files, make_partner(mapping))[1]) == ["drop.unknown_file", "file.rows_missing"]


# --- SQL --------------------------------------------------------------------------------------------------------------


def test_select_makes_an_agreed_table_with_every_agreed_column(export: Step) -> None:
    tables, findings = export({"sql": (PERSON,)}, CLIENTS)
    assert findings == ()
    assert tables["person"].rows() == [(2, "1", "Smith", None), (3, "2", "Jones", None)]
    assert tables["person"].columns == ["_row", "local_person_id", "surname", "sex"]
    assert set(tables["person"].dtypes[1:]) == {pl.String}


def test_joins_parts_parameters_and_types_come_out_as_text(export: Step) -> None:
    select = """
        -- a comment with a ; and a "quote"
        WITH clients AS (SELECT * FROM clients WHERE id = getvariable('chosen'))
        SELECT c.id || '-' || o."Org Name" AS local_person_id, CAST(Born AS DATE) + 1 AS surname, TRUE AS sex
        FROM clients c JOIN "org units" o ON o.client = c.id;
    """
    files = CLIENTS | {"Org Units.csv": "client,Org Name\n1,Café\n2,x\n".encode()}
    tables, findings = export(sql(select, chosen="1"), files)
    assert findings == ()
    assert tables["person"].row(0)[1:3] == ("1-Café", "1980-01-02 00:00:00") or tables["person"].row(0)[1:] == (
        "1-Café",
        "1980-01-02",
        "true",
    )


def test_parameter_is_a_value_and_never_a_part_of_the_sql(export: Step) -> None:
    hostile = "1' OR '1'='1'; DROP TABLE clients; --"
    tables, findings = export(
        sql("SELECT id AS local_person_id FROM clients WHERE name = getvariable('p')", p=hostile), CLIENTS
    )
    assert findings == ()
    assert tables["person"].height == 0


def test_export_of_many_files_of_which_some_are_used(export: Step) -> None:
    files = {f"Unused{number}.csv": b"broken;\xff\xfe\n" for number in range(21)}
    files["Enrollment.csv"] = b'"EnrollmentID","PersonalID","ProjectID"\n"e1","p1","x"\n"e2","p2","y"\n"e3","p1","x"\n'
    files["Project.csv"] = b'"ProjectID","OrganizationID"\n"x","4"\n"y","6"\n'
    files["Organization.csv"] = b'"OrganizationID","OrganizationName"\n"4","A"\n"6","B"\n'
    select = """
        SELECT DISTINCT e.PersonalID AS local_person_id FROM Enrollment e JOIN Project p USING (ProjectID)
        JOIN Organization o USING (OrganizationID) WHERE o.OrganizationID = getvariable('organisation') ORDER BY 1
    """
    tables, findings = export(sql(select, organisation="4"), files)
    assert findings == ()
    assert tables["person"]["local_person_id"].to_list() == ["p1"]


def test_same_files_give_the_same_rows_in_the_same_order(export: Step) -> None:
    rows = b"".join(b"%d,n%d\n" % (number * 7919 % 5000, number % 50) for number in range(5000))
    select = "SELECT name AS local_person_id, count(*) AS surname FROM big GROUP BY name"
    first, _ = export(sql(select), {"big.csv": b"id,name\n" + rows})
    second, _ = export(sql(select), {"big.csv": b"id,name\n" + rows})
    assert first["person"].equals(second["person"])


def test_nothing_of_the_mapping_is_left_in_the_work_folder(export: Step, tmp_path: Path) -> None:
    export({"sql": (PERSON,)}, CLIENTS)
    with pytest.raises(MappingError):
        export(sql("SELECT id AS nobody_agreed FROM clients"), CLIENTS)
    assert not list(tmp_path.rglob("mapping*"))
    assert not list(tmp_path.rglob("*.parquet"))


def test_files_that_the_sql_reads_are_checked_as_files(export: Step, codes: Step, canary: str) -> None:
    tables, findings = export({"sql": (PERSON,)}, {"Clients.csv": f"id,name\n1,{canary}\n2,x,{canary}\n".encode()})
    assert tables == {}
    assert codes(findings) == ["file.cells"]
    assert findings[0].file == "clients.csv"
    for content in (b"id,,name\n", b"id,name,NAME\n"):
        assert codes(export({"sql": (PERSON,)}, {"Clients.csv": content})[1]) == ["mapping.headings"]
    assert codes(export({"sql": (PERSON,)}, {"Other.csv": b"a\n"})[1]) == ["mapping.file_missing"]
    assert canary not in repr(findings)


def test_missing_column_is_named_only_if_the_signed_sql_names_it(export: Step, codes: Step, canary: str) -> None:
    _, findings = export({"sql": (PERSON,)}, {"Clients.csv": f"id,{canary}\n1,{canary}\n".encode()})
    assert codes(findings) == ["mapping.name"]
    assert "(name)" in findings[0].sentence
    assert canary not in repr(findings)


def test_cell_that_cannot_be_cast_is_told_without_the_cell(export: Step, codes: Step, canary: str) -> None:
    _, findings = export(
        sql("SELECT CAST(name AS INTEGER) AS local_person_id FROM clients"),
        {"Clients.csv": f"id,name\n1,{canary}\n".encode()},
    )
    assert codes(findings) == ["mapping.cells"]
    assert canary not in repr(findings)


@pytest.mark.parametrize(
    "select",
    [
        "SELECT id AS local_person_id, name AS born_in FROM clients",
        "SELECT * FROM clients",
        "SELECT id AS local_person_id, name AS local_person_id FROM clients",
        "SELECT id AS _row FROM clients",
    ],
)
def test_result_with_columns_that_are_not_agreed_is_an_error_of_the_agreement(export: Step, select: str) -> None:
    with pytest.raises(MappingError):
        export(sql(select), CLIENTS)


HARMLESS_BUT_REFUSED = [
    "SELECT * FROM query('SELECT 1 AS local_person_id')",
    "SELECT table_name AS local_person_id FROM information_schema.tables",
    "SELECT function_name AS local_person_id FROM duckdb_functions()",
    "SELECT id AS local_person_id FROM main.clients",
    "SELECT id AS local_person_id FROM 'clients'.x.y",
]
HOSTILE = [
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'clients.csv'",
    'SELECT * FROM "https://example.org/x.csv"',
    "SELECT content AS local_person_id FROM read_text('/etc/passwd')",
    "SELECT content AS local_person_id FROM read_blob('/etc/passwd')",
    "SELECT file AS local_person_id FROM glob('/etc/*')",
    "SELECT * FROM read_parquet('/tmp/*')",
    "SELECT * FROM read_json('/etc/passwd')",
    "SELECT * FROM parquet_metadata('/tmp/x')",
    "SELECT getenv('PATH') AS local_person_id",
    "SELECT * FROM duckdb_settings()",
    "SELECT * FROM duckdb_secrets()",
    "COPY clients TO '/tmp/linkarms-should-not-be-there.csv'",
    "COPY (SELECT 1) TO '/tmp/linkarms-should-not-be-there.csv'",
    "EXPORT DATABASE '/tmp/linkarms-should-not-be-there'",
    "ATTACH '/tmp/linkarms-should-not-be-there.db' AS x",
    "INSTALL httpfs",
    "LOAD httpfs",
    "PRAGMA database_list",
    "CALL pragma_version()",
    "SET enable_external_access = true",
    "RESET lock_configuration",
    "SET VARIABLE p = '1'",
    "CREATE TABLE x AS SELECT 1",
    "CREATE MACRO f() AS 1",
    "INSERT INTO clients VALUES ('9', 'x', 'y')",
    "DELETE FROM clients",
    "DROP TABLE clients",
    "PREPARE x AS SELECT 1",
    "EXPLAIN SELECT 1",
    "SELECT 1 AS local_person_id; SELECT 2 AS local_person_id",
    "SELECT 1 AS local_person_id; COPY clients TO '/tmp/linkarms-should-not-be-there.csv'",
    "WITH x AS (INSERT INTO clients VALUES ('9', 'x', 'y') RETURNING id) SELECT id AS local_person_id FROM x",
    "",
    "-- nothing",
    "SELEC id",
    "SELECT 1 AS local_person_id)",
]


@pytest.mark.parametrize("select", [*HARMLESS_BUT_REFUSED, *HOSTILE])
def test_sql_that_is_not_one_select_over_the_files_is_an_error_of_the_agreement(select: str, export: Step) -> None:
    if "getenv" in select:
        # A function that is not there is found only when the files are.
        tables, findings = export(sql(select), CLIENTS)
        assert (tables, [finding.code for finding in findings]) == ({}, ["mapping.name"])
        return
    with pytest.raises(MappingError) as error:
        export(sql(select), CLIENTS)
    assert "root:" not in str(error.value)
    assert not list(Path("/tmp").glob("linkarms-should-not-be-there*"))


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """The worker's own database, without the first fence."""
    path = tmp_path / "clients.parquet"
    pl.DataFrame({"id": ["1", "2"], "name": ["Smith", "Jones"], "born": [None, None]}).write_parquet(path)
    (tmp_path / "temporary").mkdir()
    connection = worker.open_locked(
        {
            "files": {"clients": str(path)},
            "parameters": {"p": "it's"},
            "temporary": str(tmp_path / "temporary"),
            "temporary_megabytes": 16,
            "memory_megabytes": 64,
            "threads": 1,
            "seconds": 2.0,
        }
    )
    yield connection
    connection.close()


def run(connection: duckdb.DuckDBPyConnection, tmp_path: Path, select: str) -> dict[str, Any]:
    columns = ["local_person_id", "name", "file", "value"]
    out = str(tmp_path / "out.parquet")
    return worker.run_select(connection, {"table": "person", "select": select, "columns": columns, "out": out})


@pytest.mark.parametrize("select", HOSTILE)
def test_locked_process_alone_stops_hostile_sql(locked: duckdb.DuckDBPyConnection, tmp_path: Path, select: str) -> None:
    assert run(locked, tmp_path, select)["state"] == "fault"
    assert not list(Path("/tmp").glob("linkarms-should-not-be-there*"))
    fine = run(locked, tmp_path, "SELECT getvariable('p') AS name, id AS local_person_id FROM clients")
    assert fine == {"state": "done"}
    assert pl.read_parquet(tmp_path / "out.parquet").rows() == [("it's", "1"), ("it's", "2")]


@pytest.mark.parametrize(
    "select",
    [
        "SELECT * FROM read_csv('{path}')",
        "SELECT * FROM read_parquet('{folder}/clients.parquet')",
        "SELECT * FROM read_text('{folder}/*')",
    ],
)
def test_locked_process_reads_no_file_of_the_work_folder(
    locked: duckdb.DuckDBPyConnection, tmp_path: Path, select: str
) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_bytes(b"name\nx\n")
    ended = run(locked, tmp_path, select.format(path=secret, folder=tmp_path))
    assert (ended["state"], ended["fault"]) == ("fault", "outside")


def test_runaway_select_is_stopped_in_time(export: Step, codes: Step) -> None:
    select = (
        "SELECT count(*) AS local_person_id FROM range(1000000000) a, range(1000000000) b WHERE a.range + b.range = -1"
    )
    started = time.monotonic()
    tables, findings = export(sql(select), CLIENTS, limits=SqlLimits(seconds=1))
    assert tables == {}
    assert codes(findings) == ["mapping.time"]
    assert time.monotonic() - started < 20


def test_process_that_does_not_heed_the_time_limit_is_killed(
    export: Step, codes: Step, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    deaf = tmp_path / "deaf.py"
    deaf.write_text(
        "import json, sys, time\n"
        "json.load(sys.stdin)\n"
        "print(json.dumps({'table': 'person', 'state': 'started'}), flush=True)\n"
        "time.sleep(600)\n"
    )
    monkeypatch.setattr("intake.mapping._WORKER", deaf)
    monkeypatch.setattr("intake.mapping._GRACE_SECONDS", 1.0)
    assert codes(export({"sql": (PERSON,)}, CLIENTS, limits=SqlLimits(seconds=0.5))[1]) == ["mapping.time"]


def test_select_that_takes_all_memory_is_stopped(export: Step, codes: Step) -> None:
    select = "SELECT string_agg(repeat('x', 1000000) || range::VARCHAR, '') AS local_person_id FROM range(5000)"
    limits = SqlLimits(memory_megabytes=100, temporary_megabytes=50, seconds=20)
    tables, findings = export(sql(select), CLIENTS, limits=limits)
    assert tables == {}
    assert codes(findings) == ["mapping.memory"]


def test_worker_that_dies_at_once_is_told(
    export: Step, codes: Step, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    dead = tmp_path / "dead.py"
    dead.write_text("import os\nos.abort()\n")
    monkeypatch.setattr("intake.mapping._WORKER", dead)
    assert codes(export({"sql": (PERSON,)}, CLIENTS)[1]) == ["mapping.stopped"]


def test_worker_sees_none_of_our_environment(export: Step, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    spy = tmp_path / "spy.py"
    spy.write_text(f"import os\nopen({str(seen)!r}, 'w').write(' '.join(sorted(os.environ)))\n")
    monkeypatch.setenv("LINKARMS_KEY_FILE", "/somewhere")
    monkeypatch.setattr("intake.mapping._WORKER", spy)
    export({"sql": (PERSON,)}, CLIENTS)
    assert seen.read_text().split() == ["HOME", "LC_ALL", "POLARS_MAX_THREADS", "TMPDIR"]


def test_files_of_a_select_are_found_and_its_own_parts_are_not(contract: Contract) -> None:
    select = """WITH a AS (SELECT * FROM One), Two AS (SELECT * FROM Two)
        SELECT (SELECT max(x) FROM "My Three") AS surname FROM a JOIN two ON true, range(3), unnest([1, 2]) u(v)"""
    read = check_sql(SqlMapping(table="person", select=select), contract)
    assert read.needed == ("my three", "one")
    assert read.possible == ("a", "two")


def test_identifiers_that_a_mapping_puts_into_the_wrong_column_are_told(export: Step, codes: Step, canary: str) -> None:
    files = {"visits.csv": b"id,client,worker\n1,9,jane@example.org\n2,9,john@example.org\n"}
    select = "SELECT id AS assessment_number, client AS local_person_id, worker AS tool FROM visits"
    _, findings = export(sql(select, "assessment"), files)
    assert codes(findings) == ["assessment.tool.identifier"]
    assert "example.org" not in repr(findings)


def test_column_that_is_called_like_the_row_number_here_is_read_by_sql_as_any_other(export: Step) -> None:
    select = "SELECT _row AS local_person_id, name AS surname FROM Clients"
    tables, _ = export(sql(select), {"Clients.csv": b'_row,name\n7,"Smith"\n9,Jones\n'})
    assert tables["person"].select("_row", "local_person_id", "surname").rows() == [
        (2, "7", "Smith"),
        (3, "9", "Jones"),
    ]
