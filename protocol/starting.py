"""The beginning of a partnership: a small complete agreement to decide on, and its partners one by one."""

import json
import re
import shutil
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

from protocol.errors import AgreementError
from protocol.files import write_text
from protocol.loading import inspect_agreement
from protocol.model import AGENCIES, PARTNER_KINDS, Contact, ControllerRole, Frozen, Name

STARTER = Path(__file__).parent / "starter"
"""The files that :func:`start_agreement` writes, with words such as ``__TITLE__`` in place of what is asked for."""
PLACEHOLDER = "placeholder_"
"""The ids of partners begin so that stand for partners who are still to be added."""

_QUARTER = re.compile(r"(\d{4})-Q([1-4])")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


def start_agreement(
    folder: Path, agreement_id: str, title: str, *, first_quarter: str, years: int, today: date
) -> tuple[Path, ...]:
    """Write a small complete agreement into a new or empty folder and return its files.

    It holds for ``years`` years from ``first_quarter`` (``2026-Q1``) on. ``today`` is proposed as the day of the impact
    assessment. It can be loaded once people have decided what it says is to be decided.

    Raises :class:`AgreementError` where the folder holds something, or an argument is no name, quarter or number.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AgreementError(f"{folder.name} is there already and not empty. Name a new folder.")
    if not _NAME.fullmatch(agreement_id):
        raise AgreementError(
            "The id should be a name of small letters, digits and underscores that starts with a letter."
        )
    if not title.strip() or "\n" in title:
        raise AgreementError("The title should be one line, such as 'Harbour East Partnership data sharing agreement'.")
    found = _QUARTER.fullmatch(first_quarter)
    if found is None or not 1 <= years <= 10:
        raise AgreementError("The first quarter should be written like 2026-Q1, and the years be from 1 to 10.")
    year, quarter = int(found[1]), int(found[2])
    starts = date(year, quarter * 3 - 2, 1)
    last = year * 4 + quarter - 1 + years * 4 - 1
    values = {
        "__ID__": agreement_id,
        "__TITLE__": _quoted(title.strip()),
        "__STARTS__": starts.isoformat(),
        "__ENDS__": (_years_on(starts, years) - timedelta(1)).isoformat(),
        "__REVIEW__": (_years_on(starts, 1) - timedelta(30)).isoformat(),
        "__FROM__": first_quarter,
        "__TO__": f"{last // 4}-Q{last % 4 + 1}",
        "__TODAY__": today.isoformat(),
        "__DPIA_ENDS__": (_years_on(today, 1) - timedelta(1)).isoformat(),
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}.", dir=folder.parent) as beside:
        made = Path(beside) / "agreement"
        for source in sorted(STARTER.rglob("*.yaml")):
            text = source.read_text(encoding="utf-8")
            for word, value in values.items():
                text = text.replace(word, value)
            write_text(made / source.relative_to(STARTER), text)
        if folder.exists():
            folder.rmdir()
        made.rename(folder)
    return tuple(sorted(folder.rglob("*.yaml")))


class NewPartner(Frozen):
    """A partner that joins."""

    id: Name
    name: str
    kind: str
    agency: str
    tier: str = "core"
    member_from: date
    public_body: bool = False
    gateway: str | None = None
    controller_role: ControllerRole
    lawful_basis: str
    contacts: tuple[Contact, ...]


def add_partner(folder: Path, partner: NewPartner) -> str | None:
    """Write ``partners/<id>.yaml``, name the partner in the code list of partners, and return whose place it takes.

    A partner takes the place of a placeholder of the starter, where one is left, wherever that is named. Everybody has
    to sign again afterwards: the text is another.

    Raises :class:`AgreementError` where the partner is there already, or the agreement would have faults by it that it
    has not now; then nothing is written.
    """
    file = Path("partners") / f"{partner.id}.yaml"
    if (folder / file).exists() or (folder / "partners" / partner.id).exists():
        raise AgreementError(f"partners/: has {partner.id} already. Change its file, or choose another id.")
    if partner.kind not in PARTNER_KINDS:
        raise AgreementError(f"The kind should be one of {', '.join(PARTNER_KINDS)}.")
    if partner.agency not in AGENCIES:
        raise AgreementError(f"The agency should be one of {', '.join(AGENCIES)}.")
    if partner.gateway is not None and not partner.public_body:
        raise AgreementError("Only a public body shares under a statutory gateway: add --public-body, or leave it out.")
    placeholder = next((path.stem for path in sorted((folder / "partners").glob(f"{PLACEHOLDER}*.yaml"))), None)
    changed = {Path("codelists/partner.yaml"): _name_partner, Path("agreement.yaml"): _take_place}
    texts = {
        path: change((folder / path).read_text(encoding="utf-8"), partner, placeholder)
        for path, change in changed.items()
        if (folder / path).is_file()
    }
    texts[file] = _partner_text(partner)
    _refuse_new_faults(folder, texts, placeholder)
    for path, text in texts.items():
        write_text(folder / path, text)
    if placeholder is not None:
        (folder / "partners" / f"{placeholder}.yaml").unlink()
    return placeholder


def _partner_text(partner: NewPartner) -> str:
    content: dict[str, Any] = partner.model_dump(mode="json", exclude={"id"}, exclude_none=True)
    if not partner.public_body:
        del content["public_body"]
    # Days stay unquoted, as in every other file of an agreement.
    content["member_from"] = partner.member_from
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=110)


def _name_partner(text: str, partner: NewPartner, placeholder: str | None) -> str:
    """The code list with the partner in it: in the placeholder's place, before ``other``, or at the end."""
    entry = f"{{code: {partner.id}, label: {_quoted(partner.name)}}}"
    lines = text.splitlines()
    codes = [place for place, line in enumerate(lines) if re.match(r"\s*- (?:\{\s*)?code:", line)]
    if not codes or any(_names(lines[place], partner.id) for place in codes):
        return text
    indent = lines[codes[0]].partition("-")[0]
    old = next((place for place in codes if placeholder and _names(lines[place], placeholder)), None)
    if old is not None:
        lines[old] = f"{indent}- {entry}"
    else:
        other = next((place for place in codes if _names(lines[place], "other")), None)
        lines.insert(len(lines) if other is None else other, f"{indent}- {entry}")
    return "\n".join(lines) + "\n"


def _names(line: str, code: str) -> bool:
    return re.search(rf"\bcode:\s*[\"']?{re.escape(code)}[\"']?\s*(?:,|$|\}})", line) is not None


def _take_place(text: str, partner: NewPartner, placeholder: str | None) -> str:
    return text if placeholder is None else re.sub(rf"\b{placeholder}\b", partner.id, text)


def _refuse_new_faults(folder: Path, texts: dict[Path, str], placeholder: str | None) -> None:
    """Try the change on a copy."""
    before = {(fault.file, fault.what) for fault in inspect_agreement(folder)[1].told}
    with tempfile.TemporaryDirectory() as beside:
        copy = Path(beside) / folder.name
        shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(".*"))
        for path, text in texts.items():
            write_text(copy / path, text)
        if placeholder is not None:
            (copy / "partners" / f"{placeholder}.yaml").unlink()
        agreement, faults = inspect_agreement(copy)
        found = [fault for fault in faults.told if (fault.file, fault.what) not in before]
    if len(agreement.partners) == 1:
        # Joint with whom: with the partner that is added next.
        found = [fault for fault in found if fault.entry != "controller_role"]
    if found:
        lines = "\n".join(f"- {fault}" for fault in found)
        raise AgreementError(f"The partner was not added, since the agreement would have these faults:\n{lines}")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _years_on(day: date, years: int) -> date:
    """The same day some years later; 1 March for 29 February."""
    try:
        return day.replace(year=day.year + years)
    except ValueError:
        return date(day.year + years, 3, 1)
