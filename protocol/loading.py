"""Loading an agreement's folder into the frozen models, or saying everything that is wrong with it."""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from protocol.digest import SIGNATURES_FOLDER, agreement_digest, signed_files
from protocol.documents import Faults, Model, build, read_yaml, refuse_unknown, take
from protocol.errors import AgreementError
from protocol.lint import check_agreement
from protocol.mapping import read_mapping
from protocol.model import (
    Agreement,
    Calendar,
    CodeList,
    Contract,
    Grant,
    Mapping,
    Partner,
    Period,
    Signature,
)
from protocol.odcs import read_contract

CONTRACT_FILE = "casework.odcs.yaml"

_AGREEMENT_ENTRIES = set(Agreement.model_fields) - {"digest", "contract", "codelists", "partners", "grants"}


def default_agreement_folder() -> Path:
    """The folder of the example agreement that ships with Linkarms."""
    return Path(__file__).parent / "agreement"


def load_agreement(folder: Path) -> Agreement:
    """The agreement of ``folder`` (see ``docs/reference/agreement.md`` for its files), its digest worked out.

    AgreementError where a file is missing, cannot be read, has an unknown entry or contradicts another; one message
    tells all that is wrong, each line with file, entry and what to do.
    """
    if not (folder / "agreement.yaml").is_file():
        raise AgreementError(f"{folder.name}: has no agreement.yaml. Give the folder that holds an agreement.")
    faults = Faults()
    files = {path.relative_to(folder).as_posix() for path in signed_files(folder)}
    frame = read_yaml(folder / "agreement.yaml", folder, faults)
    faults.stop()
    assert frame is not None
    refuse_unknown(frame, _AGREEMENT_ENTRIES, "agreement.yaml", "", faults)
    version = frame.get("version")
    if not isinstance(version, str) or not version.partition(".")[0].isdigit():
        faults.add("agreement.yaml", "version", 'should be a version in quotes, such as "1.0".')
        faults.stop()
    contract_file = f"v{str(version).partition('.')[0]}/{CONTRACT_FILE}"
    used = {"agreement.yaml", contract_file}

    codelists = {
        codelist.name: codelist
        for path, content in _each(folder, "codelists", used, faults)
        if (codelist := _named(CodeList, "name", content, path, folder, faults)) is not None
    }
    grants = [
        grant
        for path, content in _each(folder, "grants", used, faults)
        if (grant := _named(Grant, "id", content, path, folder, faults)) is not None
    ]
    contract = _read_contract(folder, contract_file, codelists, faults)
    faults.stop()
    assert contract is not None
    partners = [
        partner
        for path in _partner_files(folder, faults)
        if (partner := _read_partner(path, folder, contract, codelists, used, faults)) is not None
    ]
    for name in sorted(files - used):
        if not (name.startswith("v") and name.endswith(f"/{CONTRACT_FILE}")):  # earlier versions stay for reference
            faults.add(name, "", "is part of the signed text but stands for nothing here. Move it or remove it.")
    _refuse_orphaned_signatures(folder, partners, faults)
    calendar = _read_calendar(frame, faults)
    if calendar is None:
        faults.stop()
    entries = {key: value for key, value in frame.items() if key in _AGREEMENT_ENTRIES and key != "calendar"}
    agreement = build(
        Agreement,
        {
            **entries,
            "calendar": calendar,
            "digest": agreement_digest(folder),
            "contract": contract,
            "codelists": tuple(codelists.values()),
            "partners": tuple(partners),
            "grants": tuple(grants),
        },
        "agreement.yaml",
        "",
        faults,
    )
    faults.stop()
    assert agreement is not None
    check_agreement(agreement, contract_file, faults)
    faults.stop()
    return agreement


def _each(folder: Path, name: str, used: set[str], faults: Faults) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Each readable YAML file of one folder of the agreement, in the order of its name."""
    for path in sorted((folder / name).glob("*.yaml")):
        used.add(path.relative_to(folder).as_posix())
        content = read_yaml(path, folder, faults)
        if content is not None:
            yield path, content


def _named(
    model: type[Model], key: str, content: dict[str, Any], path: Path, folder: Path, faults: Faults
) -> Model | None:
    """One file, one thing: the file's name is its name."""
    file = path.relative_to(folder).as_posix()
    if content.get(key, path.stem) != path.stem:
        faults.add(file, key, f"should be {path.stem}, like the file.")
    return build(model, {**content, key: path.stem}, file, "", faults)


def _read_contract(folder: Path, file: str, codelists: dict[str, CodeList], faults: Faults) -> Contract | None:
    path = folder / file
    if not path.is_file():
        faults.add(file, "", "is missing. The tables of this version stand there.")
        return None
    content = read_yaml(path, folder, faults)
    return None if content is None else read_contract(content, file, codelists, faults)


def _read_calendar(frame: dict[str, Any], faults: Faults) -> Calendar | None:
    """The calendar, its quarters written out."""
    file = "agreement.yaml"
    content = dict(take(frame, "calendar", dict, file, "", faults) or {})
    quarters = content.pop("quarters", None)
    if quarters is not None:
        if "periods" in content:
            faults.add(file, "calendar", "has both quarters and periods. Keep one of both.")
        first, last = (_quarter(quarters.get(end)) if isinstance(quarters, dict) else None for end in ("from", "to"))
        if first is None or last is None or first > last:
            faults.add(file, "calendar.quarters", "should be {from: 2026-Q1, to: 2028-Q4}, or other quarters.")
            return None
        content["periods"] = [_period(number) for number in range(first, last + 1)]
    return build(Calendar, content, file, "calendar", faults)


def _quarter(text: object) -> int | None:
    """``2026-Q1`` as a number that counts quarters; None where it is none."""
    if isinstance(text, str) and len(text) == 7 and text[:4].isdigit() and text[4:6] == "-Q" and text[6] in "1234":
        return int(text[:4]) * 4 + int(text[6]) - 1
    return None


def _period(number: int) -> Period:
    year, quarter = divmod(number, 4)
    after_year, after_quarter = divmod(number + 1, 4)
    return Period(
        id=f"{year}-Q{quarter + 1}",
        starts=date(year, quarter * 3 + 1, 1),
        ends=date(after_year, after_quarter * 3 + 1, 1) - timedelta(days=1),
    )


def _partner_files(folder: Path, faults: Faults) -> list[Path]:
    """``partners/<id>.yaml`` or ``partners/<id>/partner.yaml`` for each partner, in the order of their ids."""
    found: dict[str, Path] = {}
    for path in sorted((folder / "partners").glob("*.yaml")):
        found[path.stem] = path
    for path in sorted((folder / "partners").glob("*/partner.yaml")):
        if path.parent.name in found:
            faults.add(
                f"partners/{path.parent.name}.yaml", "", "stands beside a folder of that name. Keep one of both."
            )
        found[path.parent.name] = path
    return [found[name] for name in sorted(found)]


def _read_partner(
    path: Path, folder: Path, contract: Contract, codelists: dict[str, CodeList], used: set[str], faults: Faults
) -> Partner | None:
    file = path.relative_to(folder).as_posix()
    own_folder = path.parent if path.name == "partner.yaml" else None
    partner_id = own_folder.name if own_folder is not None else path.stem
    used.add(file)
    content = read_yaml(path, folder, faults)
    if content is None:
        return None
    if content.get("id", partner_id) != partner_id:
        faults.add(file, "id", f"should be {partner_id}, like the {'folder' if own_folder else 'file'}.")
    if "signatures" in content:
        faults.add(file, "signatures", f"stand in {SIGNATURES_FOLDER}/{partner_id}.yaml, outside the signed text.")
    own_mapping = take(content, "mapping", dict, file, "", faults)
    mapping_file, sql_folder = file, None
    if own_folder is not None:
        sql_folder = own_folder / "mapping"
        separate = own_folder / "mapping.yaml"
        if separate.is_file():
            mapping_file = separate.relative_to(folder).as_posix()
            used.add(mapping_file)
            if own_mapping is not None:
                faults.add(file, "mapping", f"stands in {mapping_file} as well. Keep one of both.")
            own_mapping = read_yaml(separate, folder, faults)
        used |= {select.relative_to(folder).as_posix() for select in sql_folder.glob("*.sql")}
        sql_folder = sql_folder if sql_folder.is_dir() else None
    if own_mapping is not None and "use" in own_mapping:
        shared = folder / "mappings" / str(own_mapping["use"])
        used |= {path.relative_to(folder).as_posix() for path in (*shared.glob("*.sql"), shared / "mapping.yaml")}
    mapping = Mapping()
    if own_mapping is not None or sql_folder is not None:
        mapping = read_mapping(own_mapping or {}, mapping_file, sql_folder, folder, contract, codelists, faults)
    entries = {key: value for key, value in content.items() if key not in ("mapping", "signatures")}
    signatures = _read_signatures(partner_id, folder, faults)
    return build(Partner, {**entries, "id": partner_id, "mapping": mapping, "signatures": signatures}, file, "", faults)


def _read_signatures(partner_id: str, folder: Path, faults: Faults) -> tuple[Signature, ...]:
    path = folder / SIGNATURES_FOLDER / f"{partner_id}.yaml"
    if not path.is_file():
        return ()
    file = path.relative_to(folder).as_posix()
    content = read_yaml(path, folder, faults) or {}
    refuse_unknown(content, {"signatures"}, file, "", faults)
    entries = take(content, "signatures", list, file, "", faults) or ()
    built = (build(Signature, entry, file, f"signatures.{n}", faults) for n, entry in enumerate(entries))
    return tuple(signature for signature in built if signature is not None)


def _refuse_orphaned_signatures(folder: Path, partners: list[Partner], faults: Faults) -> None:
    for path in sorted((folder / SIGNATURES_FOLDER).glob("*")):
        if path.name.startswith(".") or path.name.endswith(".part"):
            continue
        if path.suffix != ".yaml" or path.stem not in {partner.id for partner in partners}:
            faults.add(f"{SIGNATURES_FOLDER}/{path.name}", "", "belongs to no partner. Correct its name or remove it.")
