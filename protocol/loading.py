"""Loading an agreement's folder into the frozen models, or saying everything that is wrong with it."""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from protocol.digest import SIGNATURES_FOLDER, agreement_digest, signed_files
from protocol.documents import Faults, Model, build, build_entries, read_yaml, refuse_unknown, take
from protocol.errors import AgreementError
from protocol.lint import check_agreement, check_tables
from protocol.lint.tables import check_codes
from protocol.mapping import read_mapping
from protocol.model import (
    Agreement,
    Calendar,
    CodeList,
    Contract,
    EarlierVersion,
    Grant,
    Mapping,
    Partner,
    Period,
    Signature,
)
from protocol.odcs import read_contract
from protocol.upgrade import Version, check_windows, read_upgrade

FRAME = "agreement.yaml"
CONTRACT_FILE = "casework.odcs.yaml"

_AGREEMENT_ENTRIES = set(Agreement.model_fields) - {
    "digest",
    "contract",
    "codelists",
    "earlier",
    "partners",
    "grants",
}


def default_agreement_folder() -> Path:
    """The folder of the example agreement that ships with Linkarms."""
    return Path(__file__).parent / "agreement"


def load_agreement(folder: Path) -> Agreement:
    """The agreement of ``folder`` (see ``docs/reference/agreement.md`` for its files), its digest worked out.

    AgreementError where a file is missing, cannot be read, has an unknown entry or contradicts another; one message
    tells all that is wrong, each line with file, line, entry and what to do. Nothing depends on the day.
    """
    agreement, faults = inspect_agreement(folder)
    faults.stop()
    return agreement


def inspect_agreement(folder: Path) -> tuple[Agreement, Faults]:
    """The agreement of ``folder``, and everything that is wrong with it.

    What cannot be read is left empty in the agreement, so use it only where there are no faults. AgreementError where
    there is no agreement at all.
    """
    if not (folder / FRAME).is_file():
        raise AgreementError(f"{folder.name}: has no {FRAME}. Give the folder that holds an agreement.")
    faults = Faults()
    files = {path.relative_to(folder).as_posix() for path in signed_files(folder)}
    frame = read_yaml(folder / FRAME, folder, faults)
    version = _read_version(frame, faults)
    contract_file = _contract_file(version)
    used = {FRAME, contract_file}
    codelists = _read_codelists(folder, used, faults)
    grants = [
        grant
        for path, content in _each(folder, "grants", used, faults)
        if (grant := _named(Grant, "id", content, path, folder, faults)) is not None
    ]
    contract = _read_contract(folder, contract_file, codelists, faults)
    if contract is not None and contract.version != version and not faults.doubts(FRAME, "version"):
        faults.add(contract_file, "version", f'should be "{version}", as in agreement.yaml.')
    before = _read_earlier(frame or {}, contract_file, codelists, used, folder, faults)
    earlier = None
    if before is not None and contract is not None:
        earlier = _read_upgrade(before, Version(contract, codelists), used, folder, faults)
    partner_files = _partner_files(folder, faults)
    partners = [
        partner
        for path in partner_files.values()
        if (partner := _read_partner(path, folder, contract, codelists, before, used, faults)) is not None
    ]
    for name in sorted(files - used):
        if not re.fullmatch(rf"v\d+/{re.escape(CONTRACT_FILE)}", name):  # earlier versions stay for reference
            faults.add(name, "", "is part of the signed text but stands for nothing here. Move it or remove it.")
    _refuse_orphaned_signatures(folder, set(partner_files), faults)
    values = {
        **_read_frame(frame or {}, faults),
        "digest": "" if faults else agreement_digest(folder),
        "contract": contract or Contract(version="", tables=()),
        "codelists": tuple(codelists.values()),
        "earlier": earlier,
        "partners": tuple(partners),
        "grants": tuple(grants),
    }
    agreement = Agreement.model_construct(**values)
    places = {name: path.relative_to(folder).as_posix() for name, path in partner_files.items()}
    check_agreement(agreement, contract_file, places, faults)
    if not any(faults.doubts(FRAME, entry) for entry in ("versions", "version", "calendar")):
        check_windows(agreement, faults)
    if before is not None:
        check_tables(agreement, before.contract, tuple(before.codelists.values()), _contract_file(before.name), faults)
    return (agreement if faults else Agreement.model_validate(values)), faults


def _read_version(frame: dict[str, Any] | None, faults: Faults) -> str:
    """The agreement's version; 1.0 where it cannot be told."""
    version = frame.get("version") if frame is not None else "1.0"
    if isinstance(version, str) and re.fullmatch(r"[1-9][0-9]*(?:\.[0-9]+){1,2}", version):
        return version
    faults.add(FRAME, "version", 'should be a version in quotes, such as "1.0".')
    faults.doubt(FRAME, "version")
    return "1.0"


def _read_frame(frame: dict[str, Any], faults: Faults) -> dict[str, Any]:
    """The entries of agreement.yaml that can be read; the others are doubted."""
    if faults.doubts(FRAME):
        for name in _AGREEMENT_ENTRIES:
            faults.doubt(FRAME, name)
        return {}
    refuse_unknown(frame, _AGREEMENT_ENTRIES, FRAME, "", faults)
    values = build_entries(Agreement, _AGREEMENT_ENTRIES - {"calendar"}, frame, FRAME, faults)
    calendar = _read_calendar(frame, faults)
    if calendar is None:
        faults.doubt(FRAME, "calendar")
        return values
    return {**values, "calendar": calendar}


def _read_codelists(folder: Path, used: set[str], faults: Faults) -> dict[str, CodeList]:
    """Every code list by its name; one that cannot be read is doubted, and has no codes."""
    read: dict[str, CodeList] = {}
    for path in sorted((folder / "codelists").glob("*.yaml")):
        file = path.relative_to(folder).as_posix()
        used.add(file)
        content = read_yaml(path, folder, faults)
        codelist = None if content is None else _named(CodeList, "name", content, path, folder, faults)
        if codelist is None:
            faults.doubt(file)
        read[path.stem] = codelist or CodeList.model_construct(name=path.stem, title=path.stem, codes=())
    return read


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
    contract = None
    if not path.is_file():
        faults.add(file, "", "is missing. The tables of this version stand there.")
    elif (content := read_yaml(path, folder, faults)) is not None:
        contract = read_contract(content, file, codelists, faults)
    if contract is None:
        faults.doubt(file)
    return contract


def _contract_file(version: str) -> str:
    return f"v{version.partition('.')[0]}/{CONTRACT_FILE}"


def _read_earlier(
    frame: dict[str, Any],
    contract_file: str,
    codelists: dict[str, CodeList],
    used: set[str],
    folder: Path,
    faults: Faults,
) -> Version | None:
    """The version before, where ``versions`` names one: its tables, and its own code lists over the agreement's."""
    entries = frame.get("versions")
    entry = entries[1] if isinstance(entries, list) and len(entries) == 2 else None
    name = entry.get("version") if isinstance(entry, dict) else None
    if not isinstance(name, str):
        return None  # one version, or an entry that the models refuse
    file = _contract_file(name)
    if file == contract_file:
        faults.add(
            "agreement.yaml",
            "versions.1.version",
            "has the same number before the point as the agreement's own, and so the same tables. A version that some "
            "partners submit by beside another needs another number there.",
        )
        return None
    used.add(file)
    own = {
        codelist.name: codelist
        for path, content in _each(folder, f"{Path(file).parent}/codelists", used, faults)
        if (codelist := _named(CodeList, "name", content, path, folder, faults)) is not None
    }
    contract = _read_contract(folder, file, {**codelists, **own}, faults)
    if contract is None:
        return None
    if contract.version != name:
        faults.add(file, "version", f'should be "{name}", as in agreement.yaml.')
    lists = {column.codelist for table in contract.tables for column in table.columns}
    for codelist in own.values():
        place = f"{Path(file).parent}/codelists/{codelist.name}.yaml"
        check_codes(codelist, place, faults)
        if codelist.name not in lists:
            faults.add(place, "", "is used by no column of this version.")
    return Version(contract, {each: codelist for each, codelist in {**codelists, **own}.items() if each in lists})


def _read_upgrade(before: Version, now: Version, used: set[str], folder: Path, faults: Faults) -> EarlierVersion | None:
    """How the version before becomes the agreement's own."""
    file = f"{Path(_contract_file(now.name)).parent}/upgrade.yaml"
    used.add(file)
    if not (folder / file).is_file():
        faults.add(file, "", f"is missing. It says how rows of version {before.name} become rows of {now.name}.")
        return None
    content = read_yaml(folder / file, folder, faults)
    if content is None or faults.concern(_contract_file(before.name), _contract_file(now.name)):
        return None
    upgrade = read_upgrade(content, before, now, file, faults)
    return EarlierVersion(contract=before.contract, codelists=tuple(before.codelists.values()), upgrade=upgrade)


def _read_calendar(frame: dict[str, Any], faults: Faults) -> Calendar | None:
    """The calendar, its quarters written out."""
    file = FRAME
    if "calendar" not in frame:
        faults.add(file, "calendar", "is missing. Add it.")
        return None
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


def _partner_files(folder: Path, faults: Faults) -> dict[str, Path]:
    """Id -> ``partners/<id>.yaml`` or ``partners/<id>/partner.yaml`` of each partner, in the order of their ids."""
    found: dict[str, Path] = {}
    for path in sorted((folder / "partners").glob("*.yaml")):
        found[path.stem] = path
    for path in sorted((folder / "partners").glob("*/partner.yaml")):
        if path.parent.name in found:
            faults.add(
                f"partners/{path.parent.name}.yaml", "", "stands beside a folder of that name. Keep one of both."
            )
        found[path.parent.name] = path
    return {name: found[name] for name in sorted(found)}


def _read_partner(
    path: Path,
    folder: Path,
    contract: Contract | None,
    codelists: dict[str, CodeList],
    before: Version | None,
    used: set[str],
    faults: Faults,
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
        mapping = read_mapping(own_mapping or {}, mapping_file, sql_folder, folder, contract, codelists, faults, before)
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


def _refuse_orphaned_signatures(folder: Path, partners: set[str], faults: Faults) -> None:
    for path in sorted((folder / SIGNATURES_FOLDER).glob("*")):
        if path.name.startswith(".") or path.name.endswith(".part"):
            continue
        if path.suffix != ".yaml" or path.stem not in partners:
            faults.add(f"{SIGNATURES_FOLDER}/{path.name}", "", "belongs to no partner. Correct its name or remove it.")
