"""What an officer is told about a faulty extract, and how long that takes: side by side with two other checkers.

    python -m benchmarks.checking                     eight planted faults, then 10,000, 100,000 and 1,000,000 rows
    python -m benchmarks.checking --rows 10000        another size; may be repeated
    python -m benchmarks.checking --json out.json     everything that was said and measured, as JSON besides

The extract is one of the synthetic partnership; its table ``person`` has 17 columns and is the one that grows. Each
checker gets a contract that is made from the same agreement:

=================== ==========================================================================================
linkarms            the agreement itself, by the officer's own check (``linkarms check``)
frictionless        the Data Package descriptor of ``linkarms agreement build``: keys, references, codes, limits
datacontract-cli    the agreement's own ODCS file, with its codes written out as ``enum`` and the folder as its server
=================== ==========================================================================================

datacontract-cli gets a virtual environment of its own in the cache folder; where it cannot be installed, that is said
and the others are compared. Every run is a process of its own: its seconds are those of the whole process, start
included, and its memory is the peak that the system reports for it. Everything in the extract is made up.
"""

import argparse
import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from protocol.generated.schemas import data_package
from protocol.generated.versions import agreed_versions
from protocol.loading import CONTRACT_FILE, default_agreement_folder, load_agreement
from protocol.model import Agreement
from synthetic import generate_partnership, write_extract

PARTNER, PERIOD = "harbour_trust", "2026-Q2"
PEOPLE, SEED = 2000, 20261
ON = datetime(2026, 7, 8, 12, tzinfo=UTC)
"""The moment of the check: the period's window is open."""
ROW = 17
"""The spreadsheet row that most faults are planted in."""
SHIFTED = range(ROW, ROW + 20)
SIZES = (10_000, 100_000, 1_000_000)
PATIENCE = 1800
"""Seconds after which a run is stopped."""
DATACONTRACT = "datacontract-cli[duckdb]"
TOOLS = ("linkarms", "frictionless", "datacontract-cli")
CHILDREN = ("linkarms", "frictionless")
"""The checkers that run in this environment."""


# --- the extract, and what is wrong with it ---------------------------------------------------------------------------

Rows = list[list[str]]


@dataclass(frozen=True)
class Fault:
    """One planted fault."""

    name: str
    table: str
    column: str | None
    rows: tuple[int, ...]
    """Spreadsheet rows that show it; empty where it is the file's."""
    secret: str | None
    """A cell that a message should not repeat, since messages are sent on."""
    plant: Callable[[Path], None]


def read_rows(path: Path) -> Rows:
    """All rows of a CSV file, the heading first."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def write_rows(path: Path, rows: Rows, encoding: str = "utf-8") -> None:
    """Write rows as CSV."""
    with path.open("w", encoding=encoding, errors="replace", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def set_cell(table: str, column: str, value: str, encoding: str = "utf-8") -> Callable[[Path], None]:
    """Plant one value in row :data:`ROW`."""

    def plant(folder: Path) -> None:
        rows = read_rows(folder / f"{table}.csv")
        rows[ROW - 1][rows[0].index(column)] = value
        write_rows(folder / f"{table}.csv", rows, encoding)

    return plant


def repeat_key(folder: Path) -> None:
    """A second row with the key of row :data:`ROW` and another surname, at the end of the file."""
    rows = read_rows(folder / "person.csv")
    again = list(rows[ROW - 1])
    again[rows[0].index("surname")] = "Otherwise"
    write_rows(folder / "person.csv", [*rows, again])
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text(encoding="utf-8"))
    manifest["tables"]["person"] += 1
    (folder / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")


def misspell_heading(folder: Path) -> None:
    """``postcode`` becomes ``post_code``."""
    rows = read_rows(folder / "person.csv")
    rows[0][rows[0].index("postcode")] = "post_code"
    write_rows(folder / "person.csv", rows)


def shift_cells(folder: Path) -> None:
    """In twenty rows all cells from the forename on stand one column too far to the right."""
    rows = read_rows(folder / "person.csv")
    at = rows[0].index("forename")
    for number in SHIFTED:
        row = rows[number - 1]
        rows[number - 1] = [*row[:at], "", *row[at:-1]]
    write_rows(folder / "person.csv", rows)


def faults_of(people: int) -> tuple[Fault, ...]:
    """The eight faults, for an extract with so many rows of people."""
    return (
        Fault("unknown code", "person", "sex", (ROW,), "femail", set_cell("person", "sex", "femail")),
        Fault(
            "date with the day first",
            "person",
            "date_of_birth",
            (ROW,),
            "31/05/1984",
            set_cell("person", "date_of_birth", "31/05/1984"),
        ),
        Fault("required cell is empty", "person", "do_not_link", (ROW,), None, set_cell("person", "do_not_link", "")),
        Fault("key used twice", "person", "local_person_id", (ROW, people + 2), None, repeat_key),
        Fault(
            "reference to nobody",
            "enrolment",
            "local_person_id",
            (ROW,),
            "XX-999999",
            set_cell("enrolment", "local_person_id", "XX-999999"),
        ),
        Fault(
            "saved as Windows-1252",
            "person",
            None,
            (ROW,),
            "Zoë",
            set_cell("person", "forename", "Zoë", "cp1252"),
        ),
        Fault("misspelt heading", "person", "postcode", (), None, misspell_heading),
        Fault("20 rows shifted by a column", "person", "forename", tuple(SHIFTED), None, shift_cells),
    )


def make_extract(agreement: Agreement, folder: Path) -> int:
    """The clean extract; gives its number of people."""
    made = generate_partnership(agreement, seed=SEED, people=PEOPLE, periods=(PERIOD,), partners=(PARTNER,))
    write_extract(made.extracts[PARTNER, PERIOD], made.manifests[PARTNER, PERIOD], folder)
    return made.extracts[PARTNER, PERIOD]["person"].height


def grow_extract(folder: Path, rows: int, grown: Path) -> None:
    """The same extract with ``rows`` people: the first ones as they are, then copies with numbers of their own."""
    shutil.copytree(folder, grown)
    person = pl.read_csv(folder / "person.csv", infer_schema=False)
    copies = -(-rows // person.height)
    number = pl.col("local_person_id")
    many = pl.concat([person] * copies).head(rows).with_row_index("n").with_columns(copy=pl.col("n") // person.height)
    own = pl.when(pl.col("copy") == 0).then(number).otherwise(pl.format("{}-{}", number, "copy"))
    many.with_columns(local_person_id=own).drop("n", "copy").write_csv(grown / "person.csv")
    manifest = yaml.safe_load((folder / "manifest.yaml").read_text(encoding="utf-8"))
    manifest["tables"]["person"] = rows
    (grown / "manifest.yaml").write_text(yaml.safe_dump(manifest, sort_keys=False), encoding="utf-8")


# --- one run of one checker -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What one checker said about one extract, and what that cost."""

    tool: str
    messages: tuple[str, ...]
    seconds: float
    peak_mb: float
    following: int = 0
    """How many of the messages only tell what else is held back because of the fault."""
    stopped: str | None = None
    """Why there is no answer, where there is none."""


def run_tool(tool: str, folder: Path, work: Path, datacontract: Path | None) -> Run:
    """Run one checker over one extract in a process of its own."""
    work.mkdir(parents=True, exist_ok=True)
    said = work / "said.json"
    said.unlink(missing_ok=True)
    if tool in CHILDREN:
        command = [sys.executable, "-m", "benchmarks.checking", "--child", tool, str(folder), str(said)]
    else:
        assert datacontract is not None
        contract = write_odcs(folder, work / "contract.odcs.yaml")
        command = [str(datacontract), "test", str(contract), "--output", str(said), "--output-format", "json"]
    log = work / "log.txt"
    began = time.perf_counter()
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, cwd=Path(__file__).parents[1])
        peak, status = wait_for(process, began)
    seconds = time.perf_counter() - began
    if status is None:
        return Run(tool, (), seconds, peak, stopped=f"stopped after {PATIENCE} s")
    if not said.is_file():
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:]
        return Run(tool, (), seconds, peak, stopped=f"gave no answer: {' '.join(last)[:200]}")
    content = json.loads(said.read_text(encoding="utf-8"))
    if tool not in CHILDREN:
        return Run(tool, tuple(read_datacontract(content)), seconds, peak)
    return Run(tool, tuple(content["messages"]), seconds, peak, content["following"])


def wait_for(process: subprocess.Popen[bytes], began: float) -> tuple[float, int | None]:
    """Wait for a process: its peak memory in MB, and its exit status or None where it had to be stopped."""
    while time.perf_counter() - began < PATIENCE:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage.ru_maxrss / 1024, process.returncode
        time.sleep(0.02)
    process.kill()
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = -9
    return usage.ru_maxrss / 1024, None


def write_odcs(folder: Path, path: Path) -> Path:
    """The agreement's ODCS file as datacontract-cli reads it: codes as ``enum``, our own engine's checks left out."""
    agreement = load_agreement(default_agreement_folder())
    source = default_agreement_folder() / f"v{agreement.version.partition('.')[0]}" / CONTRACT_FILE
    content = yaml.safe_load(source.read_text(encoding="utf-8"))
    content["servers"] = [
        {"server": "extract", "type": "local", "path": f"{folder}/{{model}}.csv", "format": "csv", "delimiter": ","}
    ]
    content["schema"] = [table for table in content["schema"] if (folder / f"{table['name']}.csv").is_file()]
    for table in content["schema"]:
        keep_known(table)
        table.pop("physicalName", None)  # the server's path says where its file is
        for column in table["properties"]:
            keep_known(column)
            custom = {entry["property"]: entry["value"] for entry in column.get("customProperties", ())}
            if "codelist" in custom:
                column["enum"] = [{"value": code} for code in agreement.codelist(custom["codelist"]).values]
    path.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def keep_known(entry: dict[str, Any]) -> None:
    """Leave out the quality checks that are ours alone."""
    kept = [check for check in entry.get("quality", ()) if check.get("engine") != "linkarms"]
    entry.pop("quality", None)
    if kept:
        entry["quality"] = kept


def read_datacontract(content: dict[str, Any]) -> Iterable[str]:
    """The failed and broken checks of a test's result file."""
    for check in content["checks"]:
        if check.get("result") in ("failed", "error"):
            where = ".".join(filter(None, (check.get("model"), check.get("field"))))
            yield f"{where}: {check.get('name')}: {check.get('reason')}"


# --- the checkers of this environment, each in a child process --------------------------------------------------------


@dataclass(frozen=True)
class Said:
    """What a checker of this environment said."""

    messages: list[str]
    following: int = 0


def check_with_linkarms(folder: Path) -> Said:
    """The officer's own check (``linkarms check``); one message a finding, as the receipt tells it."""
    from expectations.receipt import receipt_json
    from pipeline.officer import check_extract

    done = check_extract(folder, load_agreement(default_agreement_folder()), now=ON)
    receipt_json(done.receipt)
    found = done.receipt.findings
    return Said([tell(finding) for finding in found], sum(finding.code.endswith(".held_back") for finding in found))


def tell(finding: Any) -> str:
    """A finding as a line: where, what, how to mend it."""
    where = f"{finding.file or finding.table or 'submission'}"
    rows = sorted({*finding.first_rows, *finding.other_rows})
    shown = f" (row{'s' if len(rows) > 1 else ''} {', '.join(map(str, rows))})" if rows else ""
    return f"{where}{shown}: {finding.sentence} {finding.mend}"


def check_with_frictionless(folder: Path) -> Said:
    """Validate the extract as the Data Package of the agreement; one message an error."""
    from frictionless import Package

    agreement = load_agreement(default_agreement_folder())
    descriptor = data_package(agreement, agreed_versions(agreement)[0])
    sent = {path.stem for path in folder.glob("*.csv")}
    descriptor["resources"] = [resource for resource in descriptor["resources"] if resource["name"] in sent]
    report = Package.from_descriptor(descriptor, basepath=str(folder)).validate()
    found = [f"{task.name}: {error.type}: {error.message}" for task in report.tasks for error in task.errors]
    return Said([*(f"package: {error.type}: {error.message}" for error in report.errors), *found])


# --- datacontract-cli, in an environment of its own -------------------------------------------------------------------


def install_datacontract(cache: Path) -> tuple[Path | None, str]:
    """The command of datacontract-cli, installed into ``cache`` where it is not yet; else None and why."""
    venv = cache / "datacontract-cli"
    command = venv / "bin" / "datacontract"
    if not command.is_file():
        uv = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        python = str(venv / "bin" / "python")
        if uv is not None:
            steps = [
                [uv, "--system-certs", "venv", "--quiet", "--python", sys.executable, str(venv)],
                [uv, "--system-certs", "pip", "install", "--quiet", "--python", python, DATACONTRACT],
            ]
        else:
            steps = [
                [sys.executable, "-m", "venv", str(venv)],
                [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", DATACONTRACT],
            ]
        for step in steps:
            done = subprocess.run(step, capture_output=True, text=True, check=False)
            if done.returncode:
                shutil.rmtree(venv, ignore_errors=True)
                return None, f"could not be installed: {done.stderr.strip().splitlines()[-1:]}"
    version = subprocess.run([command, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return command, version


# --- telling ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """How well one fault was told."""

    fault: str
    tool: str
    messages: int
    following: int
    names_column: bool
    """Or the file, where the fault is the file's."""
    names_rows: bool | None
    """Every row that shows it; of twenty, the first. None where the fault is in no row."""
    repeats_cell: bool
    says: str
    seconds: float


def judge(fault: Fault, run: Run) -> Verdict:
    """What a run said about a fault."""
    text = "\n".join(run.messages)
    words = set("".join(letter if letter.isalnum() or letter == "_" else " " for letter in text).split())
    rows = fault.rows if len(fault.rows) <= 2 else fault.rows[:1]
    return Verdict(
        fault.name,
        run.tool,
        len(run.messages),
        run.following,
        names_column=bool(run.messages) and (fault.column or fault.table) in words,
        names_rows=all(str(row) in words for row in rows) if rows else None,
        repeats_cell=fault.secret is not None and fault.secret in text,
        says=run.stopped or (shorten(run.messages[0]) if run.messages else "nothing"),
        seconds=run.seconds,
    )


def shorten(message: str, most: int = 170) -> str:
    """The beginning of a message, on one line."""
    line = " ".join(message.split()).replace("|", "/")
    return line if len(line) <= most else line[: most - 3].rstrip() + "..."


def print_faults(verdicts: Sequence[Verdict]) -> None:
    """One table: each fault, what each checker says."""
    print("\n| Fault | Checker | Messages | Column | Row | Repeats the cell | First message |")
    print("| --- | --- | ---: | --- | --- | --- | --- |")
    for verdict in verdicts:
        found = (verdict.names_column, verdict.names_rows, verdict.repeats_cell)
        marks = ["-" if mark is None else "yes" if mark else "no" for mark in found]
        count = f"{verdict.messages - verdict.following}" + (f" + {verdict.following}" if verdict.following else "")
        print(f"| {verdict.fault} | {verdict.tool} | {count} | {' | '.join(marks)} | {verdict.says} |")


def print_sizes(sizes: dict[int, list[Run]]) -> None:
    """One table: seconds and memory as the table of people grows, as ratios to ours and as they are."""
    print("\n| Rows x 17 columns | Checker | Time to ours | Memory to ours | Seconds | Peak MB | Messages |")
    print("| ---: | --- | ---: | ---: | ---: | ---: | --- |")
    for rows, runs in sizes.items():
        ours = runs[0]
        for run in runs:
            ratios = f"{run.seconds / ours.seconds:.1f} | {run.peak_mb / ours.peak_mb:.1f}"
            told = run.stopped or (f"{len(run.messages)}" if run.messages else "none")
            print(f"| {rows:,} | {run.tool} | {ratios} | {run.seconds:.1f} | {run.peak_mb:,.0f} | {told} |")


def compare(sizes: Sequence[int], cache: Path) -> dict[str, Any]:
    """Run everything, print it, and give it for JSON."""
    import frictionless

    agreement = load_agreement(default_agreement_folder())
    command, version = install_datacontract(cache)
    tools = [tool for tool in TOOLS if tool != "datacontract-cli" or command is not None]
    print(
        f"Python {platform.python_version()}, {os.cpu_count()} cores; frictionless {frictionless.__version__}, "
        f"datacontract-cli {version}"
    )
    with tempfile.TemporaryDirectory(prefix="linkarms-checking-") as name:
        home = Path(name)
        people = make_extract(agreement, home / "clean")
        clean = [run_tool(tool, home / "clean", home / "work" / tool, command) for tool in tools]
        print(
            f"\nClean extract, {people} people: "
            + "; ".join(f"{run.tool} {run.stopped or len(run.messages)} in {run.seconds:.1f} s" for run in clean)
        )
        verdicts = []
        for fault in faults_of(people):
            spoilt = shutil.copytree(home / "clean", home / "spoilt")
            fault.plant(spoilt)
            verdicts += [judge(fault, run_tool(tool, spoilt, home / "work" / tool, command)) for tool in tools]
            shutil.rmtree(spoilt)
        print_faults(verdicts)
        grown: dict[int, list[Run]] = {}
        for rows in sizes:
            grow_extract(home / "clean", rows, home / "grown")
            grown[rows] = [run_tool(tool, home / "grown", home / "work" / tool, command) for tool in tools]
            shutil.rmtree(home / "grown")
        print_sizes(grown)
    return {
        "clean": [asdict(run) for run in clean],
        "faults": [asdict(verdict) for verdict in verdicts],
        "sizes": {str(rows): [asdict(run) for run in runs] for rows, runs in grown.items()},
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checking", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, action="append", help="size of the growing table; may be repeated")
    parser.add_argument("--json", type=Path, help="write everything there besides")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "linkarms-benchmarks")
    parser.add_argument("--child", nargs=3, metavar=("TOOL", "FOLDER", "FILE"), help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.child:
        tool, folder, file = given.child
        check = {"linkarms": check_with_linkarms, "frictionless": check_with_frictionless}[tool]
        Path(file).write_text(json.dumps(asdict(check(Path(folder))), ensure_ascii=False), encoding="utf-8")
        return
    found = compare(given.rows or SIZES, given.cache)
    if given.json:
        given.json.write_text(json.dumps(found, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
