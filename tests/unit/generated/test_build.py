"""`linkarms agreement build`: whole or not at all, and never over what somebody else has written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.commands.agreement_documents import replace_folder
from protocol.errors import LinkarmsError
from protocol.generated.documents import make_documents
from protocol.model import Agreement
from tests.unit.generated.conftest import HMIS

BASE = {
    "annotated_types", "click", "duckdb", "_duckdb", "jinja2", "markupsafe", "polars", "_polars_runtime_32", "pydantic",
    "pydantic_core", "python_calamine", "typing_extensions", "typing_inspection", "xlsxwriter", "yaml", "_yaml",
}  # fmt: skip
OURS = {"pipeline", "protocol"}

_RUN = """
import resource, sys, sysconfig
before = set(sys.modules)
from pipeline.cli import main
try:
    main(sys.argv[1:])
except SystemExit as end:
    assert not end.code, end.code
used = resource.getrusage(resource.RUSAGE_SELF)
files = {name.partition(".")[0]: getattr(sys.modules[name], "__file__", None) for name in set(sys.modules) - before}
standard = sysconfig.get_path("stdlib")
top = {name for name, file in files.items() if file and (standard not in file or "site-packages" in file)}
print("modules", *sorted(top))
print("seconds", used.ru_utime + used.ru_stime)
"""


def run(*arguments: str | Path, code: str | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LINKARMS")}
    program = ["-c", code] if code else ["-m", "pipeline.cli"]
    return subprocess.run(
        [sys.executable, *program, "agreement", "build", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_needs_base_dependencies_alone_and_less_than_two_seconds(tmp_path: Path) -> None:
    done = run(tmp_path / "out", code=_RUN)
    assert done.returncode == 0, done.stderr
    figures = dict(line.partition(" ")[::2] for line in done.stdout.splitlines())
    assert set(figures["modules"].split()) - BASE - OURS == set()
    assert float(figures["seconds"]) < 2
    assert (tmp_path / "out" / "index.html").is_file()


def test_a_partnership_whose_partners_send_their_own_exports_is_told_so(tmp_path: Path) -> None:
    done = run(tmp_path / "out", "--agreement", HMIS)
    assert done.returncode == 0, done.stderr
    assert "Organization A" in done.stdout
    assert [path.name for path in (tmp_path / "out" / "v1" / "templates").iterdir()] == ["any_partner"]


def test_one_partners_templates_alone(tmp_path: Path) -> None:
    done = run(tmp_path / "out", "--partner", "harbour_trust")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (tmp_path / "out" / "v1" / "templates").iterdir()] == ["harbour_trust"]


def test_a_partner_that_is_none_is_refused_with_those_there_are(tmp_path: Path) -> None:
    done = run(tmp_path / "out", "--partner", "somebody")
    assert done.returncode == 2
    assert "harbour_trust" in done.stderr
    assert not (tmp_path / "out").exists()


def test_building_again_gives_the_same_files_and_takes_away_those_of_before(
    agreement: Agreement, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    replace_folder(out, make_documents(agreement))
    first = content(out)
    replace_folder(out, make_documents(agreement, "harbour_trust"))
    assert len(content(out)) < len(first)
    replace_folder(out, make_documents(agreement))
    assert content(out) == first
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("name", ["mine.txt", "v1/templates/any_partner/csv/person.csv"])
def test_what_somebody_added_or_filled_in_is_not_overwritten(agreement: Agreement, tmp_path: Path, name: str) -> None:
    out = tmp_path / "out"
    replace_folder(out, make_documents(agreement))
    (out / name).write_text("one,two\n", encoding="utf-8")
    before = content(out)
    with pytest.raises(LinkarmsError, match="1 file that was added or changed"):
        replace_folder(out, make_documents(agreement))
    assert content(out) == before


def test_a_folder_with_other_things_is_left_alone(agreement: Agreement, tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear", encoding="utf-8")
    with pytest.raises(LinkarmsError, match="new or empty"):
        replace_folder(tmp_path, make_documents(agreement))
    assert content(tmp_path) == {"letter.txt": b"dear"}


def test_a_run_that_is_killed_leaves_what_was_there(agreement: Agreement, tmp_path: Path) -> None:
    out = tmp_path / "out"
    replace_folder(out, make_documents(agreement, "harbour_trust"))
    before = content(out)
    files = make_documents(agreement)
    broken = {**files, "zzz": None}  # writing stops here, after all the others
    with pytest.raises(TypeError):
        replace_folder(out, broken)  # type: ignore[arg-type]
    assert content(out) == before
    replace_folder(out, files)
    assert content(out).keys() == files.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_the_contents_name_the_text_and_every_file(agreement: Agreement) -> None:
    documents = make_documents(agreement)
    contents = json.loads(documents["contents.json"])
    assert contents["digest"] == agreement.digest
    assert contents["files"].keys() | {"contents.json"} == documents.keys()
