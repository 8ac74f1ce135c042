"""One planted fault for every row rule of the small agreement: (rule, table, place of the row, cells to change).

A place is counted from 0; the spreadsheet's row is two more. The rows chosen have no children, or children that the
test leaves out, so that nothing else is held back with them.
"""

TEXT_FAULTS: tuple[tuple[str, str, int, dict[str, str | None]], ...] = (
    ("person.local_person_id.required", "person", 5, {"local_person_id": None}),
    ("person.local_person_id.length", "person", 5, {"local_person_id": "C-" + "9" * 30}),
    ("person.nhs_number.pattern", "person", 5, {"nhs_number": "48577734"}),
    ("person.nhs_number.length", "person", 5, {"nhs_number": "4" * 201}),
    ("person.surname.required", "person", 5, {"surname": None}),
    ("person.surname.length", "person", 5, {"surname": "é" * 36}),
    ("person.date_of_birth.type", "person", 5, {"date_of_birth": "31/02/1985"}),
    ("person.sex.code", "person", 5, {"sex": "x"}),
    ("person.recorded_on.type", "person", 5, {"recorded_on": "2026-02-30"}),
    ("assessment.assessment_number.required", "assessment", 5, {"assessment_number": None}),
    ("assessment.assessment_number.length", "assessment", 5, {"assessment_number": "A" * 201}),
    ("assessment.local_person_id.required", "assessment", 5, {"local_person_id": None}),
    ("assessment.local_person_id.length", "assessment", 5, {"local_person_id": "C" * 201}),
    ("assessment.tool.code", "assessment", 5, {"tool": "ruler"}),
    ("assessment.assessed_on.required", "assessment", 5, {"assessed_on": None}),
    ("assessment.assessed_on.type", "assessment", 5, {"assessed_on": "46023"}),
    ("assessment.valid_to.type", "assessment", 5, {"valid_to": "3 Apr 2027"}),
    ("assessment.minutes.type", "assessment", 5, {"minutes": "4.5"}),
    ("assessment.total_score.type", "assessment", 5, {"total_score": "12,5"}),
    ("assessment.points.type", "assessment", 5, {"points": "eight"}),
    ("item.assessment_number.required", "item", 11, {"assessment_number": None}),
    ("item.assessment_number.length", "item", 11, {"assessment_number": "A" * 201}),
    ("item.question.required", "item", 11, {"question": None}),
    ("item.question.type", "item", 11, {"question": "two"}),
    ("item.score.type", "item", 11, {"score": "1e3"}),
)
"""Faults in the text of one cell."""

TYPED_FAULTS: tuple[tuple[str, str, int, dict[str, str | None]], ...] = (
    ("person.date_of_birth.range", "person", 5, {"date_of_birth": "1899-12-31"}),
    ("person.recorded_on.not_after_extract", "person", 5, {"recorded_on": "2026-07-07"}),
    ("assessment.tool.code", "assessment", 5, {"tool": "star_one"}),
    ("assessment.minutes.range", "assessment", 5, {"minutes": "601"}),
    ("assessment.total_score.range", "assessment", 5, {"total_score": "100.5001"}),
    ("assessment.local_person_id.reference", "assessment", 5, {"local_person_id": "C-99"}),
    ("assessment.assessed_on.within_period", "assessment", 5, {"assessed_on": "2026-07-01"}),
    ("assessment.assessed_on+valid_to.date_order", "assessment", 5, {"valid_to": "2026-06-29"}),
    ("assessment.valid_to.date_order_across", "assessment", 5, {"local_person_id": "C-1", "valid_to": "2026-12-30"}),
    ("assessment.long_has_score.condition", "assessment", 5, {"minutes": "301", "total_score": None}),
    ("item.assessment_number.reference", "item", 11, {"assessment_number": "A-99"}),
)
"""Faults that show once cells are read, or beside other rows."""

KEY_FAULTS: tuple[tuple[str, str, int, dict[str, str | None]], ...] = (
    ("person.local_person_id.unique", "person", 5, {"local_person_id": "C-4"}),
    ("assessment.assessment_number.unique", "assessment", 5, {"assessment_number": "A-4"}),
    ("item.assessment_number+question.unique", "item", 11, {"question": "1", "score": "5"}),
)
"""Keys that an earlier row (the one before) has as well."""

TOTAL_FAULTS: tuple[tuple[str, str, int, dict[str, str | None]], ...] = (
    ("assessment.points.total", "assessment", 4, {"points": "9"}),
    ("assessment.points.total", "item", 9, {"score": "3"}),
)
"""Totals that are not the sum of what belongs to them; the rows that belong to them wait with them."""

ALSO: dict[str, str] = {
    "person.nhs_number.length": "person.nhs_number.pattern",
    "assessment.local_person_id.length": "assessment.local_person_id.reference",
    "item.assessment_number.length": "item.assessment_number.reference",
}
"""Faults whose over-long cell rightly breaks a second rule as well."""
