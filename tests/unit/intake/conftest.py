"""A small contract, partners and ways to drop files, for the tests of intake."""

import json
import os
import zipfile
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from intake import FetchedDrop, Limits, TakenDrop, read_manifest, read_submission, take_in
from protocol.finding import Finding
from protocol.model import Column, Contract, ControllerRole, Mapping, Partner, Table

CANARY = "Zebulon Quaxwell"


def make_column(name: str, **entries: Any) -> Column:
    base: dict[str, Any] = {
        "name": name,
        "label": name,
        "description": name,
        "type": "text",
        "treatment": "keep",
        "classification": "operational",
        "purposes": ("service",),
        "why": "It is needed.",
        "example": "A1",
    }
    return Column(**(base | entries))


def make_table(name: str, *columns: Column, optional: bool = False) -> Table:
    return Table(
        name=name, label=name.title(), description=name, columns=columns, key=(columns[0].name,), optional=optional
    )


@pytest.fixture
def contract() -> Contract:
    """Two tables that have to be there and one that need not."""
    key = {"treatment": "pseudonymise", "classification": "direct_identifier"}
    return Contract(
        version="1.0",
        tables=(
            make_table(
                "person",
                make_column("local_person_id", required=True, **key),
                make_column("surname", treatment="tokenise", classification="direct_identifier", identifier="surname"),
                make_column("sex", type="code", codelist="sex"),
            ),
            make_table(
                "assessment",
                make_column("assessment_number", required=True, **key),
                make_column("local_person_id", **key),
                make_column("tool"),
                make_column("summary", treatment="drop", classification="free_text"),
            ),
            make_table("cost", make_column("cost_number", **key), make_column("amount", type="decimal"), optional=True),
        ),
    )


@pytest.fixture
def make_partner() -> Callable[..., Partner]:
    def make(mapping: Mapping | None = None, partner_id: str = "harbour_trust") -> Partner:
        return Partner(
            id=partner_id,
            name="Harbour Trust",
            kind="charity",
            agency="voluntary",
            tier="core",
            member_from=date(2026, 1, 1),
            controller_role=ControllerRole.JOINT_CONTROLLER,
            lawful_basis="legitimate_interests",
            contacts=(),
            mapping=mapping or Mapping(),
        )

    return make


@pytest.fixture
def partner(make_partner: Callable[..., Partner]) -> Partner:
    return make_partner()


@pytest.fixture
def files() -> dict[str, bytes]:
    """A submission without fault."""
    return {
        "person.csv": b"local_person_id,surname,sex\nP1,Smith,female\nP2,O'Neill,male\n",
        "assessment.csv": b'assessment_number,local_person_id,tool,summary\nA1,P1,star,\nA2,P2,star,"fine, thanks"\n',
        "manifest.yaml": (
            b"partner: harbour_trust\nperiod: 2026-Q1\nagreement_version: 1.0\nkind: full\n"
            b"extracted_on: 2026-04-03\ntables:\n  person: 2\n  assessment: 2\n"
        ),
    }


@pytest.fixture
def make_manifest() -> Callable[..., bytes]:
    def make(tables: dict[str, Any] | None = None, **entries: Any) -> bytes:
        base: dict[str, Any] = {
            "partner": "harbour_trust",
            "period": "2026-Q1",
            "agreement_version": "1.0",
            "kind": "full",
            "extracted_on": "2026-04-03",
        }
        if tables is not None:
            base["tables"] = tables
        return json.dumps(base | entries).encode()

    return make


def write_folder(folder: Path, files: dict[str, bytes]) -> FetchedDrop:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return FetchedDrop(folder, folder.name)


def write_archive(path: Path, files: dict[str, bytes], top: str = "") -> FetchedDrop:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(top + name, content)
    return FetchedDrop(path, path.name)


@pytest.fixture
def drop_folder(tmp_path: Path) -> Callable[..., FetchedDrop]:
    return lambda files, name="2026-Q1": write_folder(tmp_path / "inbox" / name, files)


@pytest.fixture
def drop_archive(tmp_path: Path) -> Callable[..., FetchedDrop]:
    def drop(files: dict[str, bytes], name: str = "2026-Q1.zip", top: str = "") -> FetchedDrop:
        (tmp_path / "inbox").mkdir(exist_ok=True)
        return write_archive(tmp_path / "inbox" / name, files, top)

    return drop


@pytest.fixture
def take(tmp_path: Path, partner: Partner) -> Callable[..., tuple[TakenDrop | None, tuple[Finding, ...]]]:
    def run(
        drop: FetchedDrop, limits: Limits | None = None, by: Partner | None = None
    ) -> tuple[TakenDrop | None, tuple[Finding, ...]]:
        return take_in(drop, tmp_path / "work", limits or Limits(), by or partner)

    return run


@pytest.fixture
def submit(
    tmp_path: Path, contract: Contract, partner: Partner
) -> Callable[..., tuple[dict[str, Any], tuple[Finding, ...]]]:
    """Drops files, takes them in, reads manifest and tables; the findings of whichever step had any."""
    count = 0

    def run(
        files: dict[str, bytes], by: Partner | None = None, under: Contract | None = None, **options: Any
    ) -> tuple[dict[str, Any], tuple[Finding, ...]]:
        nonlocal count
        count += 1
        by, agreed = by or partner, under or contract
        root = tmp_path / f"submission-{count}"
        taken, findings = take_in(write_folder(root / "2026-Q1", files), root / "work", Limits(), by)
        if taken is None:
            return {}, findings
        manifest, findings = read_manifest(taken, by, agreed)
        if manifest is None:
            return {}, findings
        return read_submission(taken, manifest, agreed, by, **options)

    return run


@pytest.fixture
def make_deep() -> Callable[[Path], None]:
    """Nests folders, named after a client, deeper than any path can be long."""

    def make(folder: Path) -> None:
        name = CANARY.ljust(250, "x")
        at = os.open(folder, os.O_RDONLY)
        for _ in range(20):
            os.mkdir(name, dir_fd=at)
            below = os.open(name, os.O_RDONLY, dir_fd=at)
            os.close(at)
            at = below
        os.close(at)

    return make


@pytest.fixture
def canary() -> str:
    """A name that must be in no finding and no exception."""
    return CANARY


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return sorted(finding.code for finding in findings)


@pytest.fixture(name="codes")
def codes_fixture() -> Callable[[tuple[Finding, ...]], list[str]]:
    return codes
