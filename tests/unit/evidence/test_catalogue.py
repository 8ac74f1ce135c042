"""Measures as files: their headers, and what is refused."""

from decimal import Decimal
from pathlib import Path

import pytest

from evidence.catalogue import explain_missing, load_measures, read_measure
from evidence.model import Figure, Kind, Status, digest_figures, write_number
from evidence.report import shorten_labels
from protocol.errors import DefectFound
from protocol.model import Agreement

HEADER = """/*
id: visits
title: Visits
question: How many people visit?
unit: people
numerator: People.
denominator: None.
needs: []
breakdowns: {all: {label: Everybody}, area: {label: By area, dims: {area: text}}}
statistics:
  people: {label: People, kind: count, unit: people}
  share: {label: Share, kind: share, unit: share, over: people}
*/
select 1
"""


def test_every_measure_says_what_it_asks_counts_and_leaves_out() -> None:
    measures = load_measures()
    assert len(measures) >= 9
    for measure in measures:
        assert measure.question.endswith("?"), measure.id
        assert measure.caveats, measure.id
        shares = [statistic for statistic in measure.statistics if statistic.kind is Kind.SHARE]
        assert all(statistic.of and statistic.over for statistic in shares), measure.id


def test_the_example_agreement_shares_what_every_measure_needs(agreement: Agreement) -> None:
    assert [explain_missing(measure.needs, agreement) for measure in load_measures()] == [None] * len(load_measures())


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("/*", "--", "starts with its header"),
        ("unit: people\nnumerator", "unti: people\nnumerator", "does not declare a measure"),
        ("over: people", "over: peopel", "no statistic peopel"),
        ("dims: {area: text}", "dims: {status: text}", "cannot be called status"),
        ("id: visits", "id: visitors", "header's id is visitors"),
    ],
)
def test_a_header_that_does_not_fit_is_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    assert read_measure(HEADER, "visits.sql").id == "visits"
    (tmp_path / "visits.sql").write_text(HEADER.replace(old, new, 1))
    with pytest.raises(DefectFound, match=complaint):
        load_measures(tmp_path)


def test_equal_numbers_are_written_and_digested_alike() -> None:
    assert [write_number(Decimal(text)) for text in ("120", "120.00", "0.250", "0.0", "1E+2")] == [
        "120",
        "120",
        "0.25",
        "0",
        "100",
    ]

    def figure(value: str) -> Figure:
        return Figure(
            measure="visits",
            breakdown="all",
            dims={},
            statistic="people",
            value=Decimal(value),
            unit="people",
            status=Status.PUBLISHED,
        )

    assert digest_figures([figure("120")]) == digest_figures([figure("120.000")])
    assert digest_figures([figure("120")]) != digest_figures([figure("125")])


def test_charts_shorten_a_label_only_where_it_stays_unmistakable() -> None:
    assert shorten_labels(["Jobcentre (DWP)", "Trust (North)", "Trust (South)"]) == {
        "Jobcentre (DWP)": "Jobcentre",
        "Trust (North)": "Trust (North)",
        "Trust (South)": "Trust (South)",
    }
