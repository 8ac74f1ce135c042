"""The pages: whole, linked, and made of the agreement's text alone."""

import re
from html.parser import HTMLParser
from pathlib import PurePosixPath

from protocol.generated.documents import CONTENTS, make_documents
from protocol.generated.pages import summary_page
from protocol.generated.versions import agreed_versions
from protocol.model import Agreement, Mapping, TableMapping


class Page(HTMLParser):
    """Ids, links, tags and text of a page."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(content.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = {name: value or "" for name, value in attrs}
        if "id" in values:
            self.ids.append(values["id"])
        if "href" in values:
            self.links.append(values["href"])

    def handle_data(self, data: str) -> None:
        self.text += data


def pages(documents: dict[str, bytes]) -> dict[str, Page]:
    return {name: Page(content) for name, content in documents.items() if name.endswith(".html")}


def test_every_link_leads_to_a_page_and_a_place_that_are_there(documents: dict[str, bytes]) -> None:
    found = pages(documents)
    followed = 0
    for name, page in found.items():
        for link in page.links:
            target, _, place = link.partition("#")
            parts: list[str] = []
            for part in (*PurePosixPath(name).parent.parts, *PurePosixPath(target).parts) if target else (name,):
                parts = parts[:-1] if part == ".." else [*parts, part]
            path = "/".join(parts)
            assert path in documents, f"{name}: {link}"
            assert not place or place in found[path].ids, f"{name}: {link}"
            followed += 1
    assert followed > 50


def test_no_id_stands_twice_and_nothing_runs_or_is_fetched(documents: dict[str, bytes]) -> None:
    for name, page in pages(documents).items():
        assert len(page.ids) == len(set(page.ids)), name
        assert not {"script", "img", "link", "iframe", "form"} & set(page.tags), name
        assert page.tags.count("h1") == 1


def test_the_dictionary_has_every_column_code_and_rule(any_agreement: Agreement, documents: dict[str, bytes]) -> None:
    for version in agreed_versions(any_agreement):
        page = Page(documents[f"{version.folder}/dictionary.html"])
        for table in version.contract.tables:
            assert all(f"{table.name}.{column.name}" in page.ids for column in table.columns)
            assert all(rule.sentence in page.text and rule.code in page.text for rule in table.rules)
            assert all(column.why in page.text for column in table.columns)
        used = {column.codelist for table in version.contract.tables for column in table.columns}
        for codelist in version.codelists:
            assert (f"codes-{codelist.name}" in page.ids) == (codelist.name in used)


def test_the_summary_says_who_has_signed_and_who_has_not(agreement: Agreement) -> None:
    rows = re.findall(r"<tr><th scope=\"row\">([^<]+)</th>.*?</tr>", summary_page(agreement).decode(), re.DOTALL)
    assert {partner.name for partner in agreement.partners} <= set(rows)
    text = summary_page(agreement).decode()
    row = text[text.index(">Lantern Youth<") :]
    assert "Not signed" in row[: row.index("</tr>")]
    row = text[text.index(">Bridge Housing<") :]
    assert "Signed</span> by" in row[: row.index("</tr>")]


def test_a_signature_under_an_earlier_text_is_not_shown_as_one_under_this(agreement: Agreement) -> None:
    text = summary_page(agreement.model_copy(update={"digest": "0" * 64})).decode()
    assert "Signed</span>" not in text
    assert "signed an earlier text (" in text


def test_text_of_the_agreement_never_becomes_markup(agreement: Agreement) -> None:
    title = "<script>alert(1)</script> & 'more'"
    documents = make_documents(agreement.model_copy(update={"title": title}))
    for name, page in pages(documents).items():
        assert "script" not in page.tags, name
        assert title in page.text, name


def test_a_formula_in_the_agreement_is_made_harmless_in_every_csv(agreement: Agreement) -> None:
    table = agreement.contract.tables[0]
    column = table.columns[0].model_copy(update={"label": "=1+1", "why": "@SUM(A1)"})
    first = table.model_copy(update={"columns": (column, *table.columns[1:])})
    contract = agreement.contract.model_copy(update={"tables": (first, *agreement.contract.tables[1:])})
    documents = make_documents(agreement.model_copy(update={"contract": contract}))
    seen = 0
    for name, content in documents.items():
        if name.endswith(".csv"):
            text = content.decode("utf-8-sig")
            assert not re.search(r'(^|,)"?[=@]', text, re.MULTILINE), name
            seen += "'=1+1" in text
    assert seen == 2  # the dictionary and the matrix


def test_the_same_agreement_gives_the_same_documents(agreement: Agreement) -> None:
    assert make_documents(agreement) == make_documents(agreement)


def test_two_versions_have_a_folder_each(two_versions: Agreement) -> None:
    documents = make_documents(two_versions)
    for folder in ("v1", "v2"):
        assert f"{folder}/dictionary.html" in documents
        assert f"{folder}/templates/harbour_trust/harbour_trust-{folder}.xlsx" in documents
    assert "taken until 30 November 2026" in Page(documents["v1/dictionary.html"]).text
    assert CONTENTS in documents


def test_a_mapping_of_one_version_spares_its_partner_that_versions_templates_alone(two_versions: Agreement) -> None:
    mapping = Mapping(tables=(TableMapping(table="person", file="Clients.csv"),), version="1.0")
    first, *others = two_versions.partners
    mapped = two_versions.model_copy(update={"partners": (first.model_copy(update={"mapping": mapping}), *others)})
    documents = make_documents(mapped)
    assert f"v2/templates/{first.id}/csv/person.csv" in documents
    assert f"v1/templates/{first.id}/csv/person.csv" not in documents
