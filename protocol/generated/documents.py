"""All that is made from an agreement, as files: the same agreement gives the same bytes."""

import hashlib

from protocol.generated import pages
from protocol.generated.dictionary import codes_csv, dictionary_csv, rules_csv
from protocol.generated.matrix import matrix_csv
from protocol.generated.register import register_csv
from protocol.generated.schemas import data_package, manifest_schema, row_schema, write_json
from protocol.generated.templates import csv_template, manifest_template
from protocol.generated.versions import AgreedVersion, agreed_versions
from protocol.generated.workbook import make_workbook
from protocol.model import Agreement, Partner
from protocol.versions import partner_under

CONTENTS = "contents.json"
"""What was made from which text: the digest of the agreement and of each file."""
ANY_PARTNER = "any_partner"
"""The folder of templates that name no partner."""


def make_documents(agreement: Agreement, partner_id: str | None = None) -> dict[str, bytes]:
    """Every document of the agreement: path below the folder of all documents -> content.

    ``index.html``, ``who-sees-what`` and ``processing-register`` (HTML and CSV); for each accepted version a folder
    ``v1`` with the data dictionary, JSON Schemas, a Data Package descriptor and templates: a set for each partner that
    sends the agreed files (one that has a mapping sends its own export and needs none) and one without a name; with
    ``partner_id`` that partner's only. ``contents.json`` has the digest of each.

    KeyError where the agreement has no such partner; AgreementError where a table has a name that Excel does not
    allow for a sheet.
    """
    documents = {
        pages.INDEX: pages.summary_page(agreement),
        pages.MATRIX: pages.matrix_page(agreement),
        "who-sees-what.csv": matrix_csv(agreement),
        pages.REGISTER: pages.register_page(agreement),
        "processing-register.csv": register_csv(agreement),
    }
    for version in agreed_versions(agreement):
        of_version = {
            pages.DICTIONARY: pages.dictionary_page(agreement, version),
            "dictionary.csv": dictionary_csv(agreement, version),
            "codes.csv": codes_csv(version),
            "rules.csv": rules_csv(version),
            "schema/datapackage.json": write_json(data_package(agreement, version)),
            "schema/manifest.schema.json": write_json(manifest_schema(agreement, version)),
            **{
                f"schema/{table.name}.schema.json": write_json(row_schema(agreement, version, table))
                for table in version.contract.tables
            },
        }
        for partner in _who_needs_templates(agreement, version, partner_id):
            of_version |= make_templates(agreement, partner, version)
        documents |= {f"{version.folder}/{name}": content for name, content in of_version.items()}
    documents[CONTENTS] = write_json(_contents(agreement, documents))
    return documents


def make_templates(agreement: Agreement, partner: Partner | None, version: AgreedVersion) -> dict[str, bytes]:
    """The templates of one version for one partner, or for any: a CSV file a table, the manifest, and the workbook."""
    name = partner.id if partner else ANY_PARTNER
    files = {f"{table.name}.csv": csv_template(table.column_names) for table in version.contract.tables}
    files["manifest.yaml"] = manifest_template(agreement, partner, version)
    files = {f"csv/{file}": content for file, content in files.items()}
    files[f"{name}-{version.folder}.xlsx"] = make_workbook(agreement, partner, version)
    return {f"templates/{name}/{file}": content for file, content in files.items()}


def sends_agreed_files(agreement: Agreement, partner: Partner, version: AgreedVersion) -> bool:
    """True where the partner sends the version's agreed files and no export that a mapping turns into them."""
    mapping = partner_under(agreement, partner, version.contract.version).mapping
    return not (mapping.tables or mapping.sql or mapping.manifest_from_name)


def _who_needs_templates(
    agreement: Agreement, version: AgreedVersion, partner_id: str | None
) -> tuple[Partner | None, ...]:
    if partner_id is not None:
        return (agreement.partner(partner_id),)
    return (None, *(partner for partner in agreement.partners if sends_agreed_files(agreement, partner, version)))


def _contents(agreement: Agreement, documents: dict[str, bytes]) -> dict[str, object]:
    return {
        "agreement": agreement.id,
        "version": agreement.version,
        "digest": agreement.digest,
        "files": {name: hashlib.sha256(documents[name]).hexdigest() for name in sorted(documents)},
    }
