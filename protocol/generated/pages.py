"""The pages for people: one HTML file each, which opens offline, runs no script and prints on paper."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from protocol.gate import is_signed
from protocol.generated import register, words
from protocol.generated.dictionary import refers_to
from protocol.generated.matrix import granted_purposes, matrix, viewers
from protocol.generated.promises import PROMISES
from protocol.generated.versions import AgreedVersion, agreed_versions
from protocol.model import Agreement, GateCheck, Partner, Treatment

_TEMPLATES = Path(__file__).parent / "pages"

INDEX = "index.html"
MATRIX = "who-sees-what.html"
REGISTER = "processing-register.html"
DICTIONARY = "dictionary.html"
"""Below the version's folder; the others lie at the top."""

_TREATED = (
    (Treatment.KEEP, "Kept as it is"),
    (Treatment.GENERALISE, "Made coarser"),
    (Treatment.PSEUDONYMISE, "Replaced by a pseudonym"),
    (Treatment.TOKENISE, "Compared as a keyed token, then deleted"),
    (Treatment.DROP, "Checked, then deleted"),
)

_CHECKS = {
    GateCheck.PARTNER: "it comes from somebody who is not a party",
    GateCheck.SIGNATURE: "the partner has not signed the text as it stands",
    GateCheck.TERM: "the agreement does not hold on that day",
    GateCheck.DPIA: "the impact assessment is not valid on that day",
    GateCheck.MEMBERSHIP: "the partner was no member in the period",
    GateCheck.PERIOD: "the calendar has no such period, or its window is not open",
    GateCheck.VERSION: "it was made to a version that is not taken for the period",
}


@dataclass(frozen=True)
class Party:
    """A partner and how it stands to the text as it is now."""

    partner: Partner
    signed: bool
    signature: str
    """``Director of Housing, 3 December 2025``; the last one, also where it was under an earlier text."""


def summary_page(agreement: Agreement) -> bytes:
    """What is shared, why, on which basis, who sees it, for how long and who has signed: one page for the lead."""
    columns = [column for table in agreement.contract.tables for column in table.columns]
    return _render(
        "summary.html",
        agreement,
        parties=[_party(agreement, partner) for partner in agreement.partners],
        treated=[
            (title, tuple(dict.fromkeys(column.label for column in treated)), len(treated))
            for treatment, title in _TREATED
            if (treated := [column for column in columns if column.treatment is treatment])
        ],
        column_count=len(columns),
        categories=register.categories(agreement),
        retention=register.retention_lines(agreement),
        point=register.contact_point(agreement),
        promises=PROMISES,
        register_people=register.people(agreement),
        roles=register.ROLES,
        granted_purposes=granted_purposes,
        checks=_CHECKS,
        here=INDEX,
    )


def _party(agreement: Agreement, partner: Partner) -> Party:
    last = partner.signatures[-1] if partner.signatures else None
    told = f"{last.by}, {words.day_in_words(last.on)}" if last else ""
    return Party(partner, is_signed(agreement, partner), told)


def matrix_page(agreement: Agreement) -> bytes:
    """The matrix of columns, purposes and viewers."""
    lines = matrix(agreement)
    return _render(
        "matrix.html",
        agreement,
        viewers=viewers(agreement),
        tables=[(table, [line for line in lines if line.table is table]) for table in agreement.contract.tables],
        classes=words.CLASSIFICATIONS,
        here=MATRIX,
    )


def register_page(agreement: Agreement) -> bytes:
    """The register of processing activities."""
    return _render(
        "register.html",
        agreement,
        register=register,
        point=register.contact_point(agreement),
        categories=register.categories(agreement),
        purposes=[
            (purpose, register.categories(agreement, purpose), register.recipients(agreement, purpose))
            for purpose in agreement.purposes
        ],
        promises=PROMISES,
        here=REGISTER,
    )


def dictionary_page(agreement: Agreement, version: AgreedVersion) -> bytes:
    """The data dictionary of one version."""
    return _render(
        "dictionary.html",
        agreement,
        version=version,
        codelists=words.used_codelists(version.codelists, version.contract.tables),
        codes_of=words.codes_of,
        refers_to=refers_to,
        up="../",
        here=f"{version.folder}/{DICTIONARY}",
    )


def _render(template: str, agreement: Agreement, *, here: str, up: str = "", **values: object) -> bytes:
    """One page; ``here`` is its place below the folder of all pages, and ``up`` leads from it to that folder."""
    versions = agreed_versions(agreement)
    links = [
        (INDEX, "Summary"),
        (MATRIX, "Who sees what"),
        (REGISTER, "Processing register"),
        *((f"{version.folder}/{DICTIONARY}", f"Data dictionary {version.contract.version}") for version in versions),
    ]
    page = _environment().get_template(template)
    return page.render(agreement=agreement, versions=versions, links=links, here=here, up=up, **values).encode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["day"] = words.day_in_words
    environment.globals |= {"words": words}
    return environment
