"""Every level of every comparison is reached by encodings of made-up people, and told in the right words."""

import polars as pl
import pytest

from linkage.comparisons import COMPARISONS, TOLD, splink_settings, token_schema
from linkage.review import describe_pairs, name_pairs
from linkage.vectors import CODES, compare_pairs, duckdb_engine
from pseudonymise.encoding import encoding_schema
from tests.unit.linkage.conftest import MARGARET, Records, encode, make_scored

OTHER_PLACE = {"postcode": "BS8 1TH"}
OTHER_BIRTH = {"date_of_birth": "1951-11-29"}
NOTHING_SAID = None

CHANGES: dict[str, tuple[tuple[dict[str, str | None], str | None], ...]] = {
    "forename": (
        ({}, "forename"),
        ({"forename": "Maggie"}, "forename"),  # one family of names
        ({"date_of_birth": "1951-03-17", **OTHER_PLACE}, "forename"),  # met by the day and month of birth
        ({"forename": "Thornbury", "surname": "Margaret"}, "forename and surname in each other's place"),
        ({"forename": "Margarte"}, "forename within one letter"),
        ({"forename": "Margarette"}, "forename much alike"),
        ({"forename": "Margarette", **OTHER_BIRTH}, "forename much alike"),  # compared over the postcode
        ({"forename": "Marguerite"}, "forename somewhat alike"),
        ({"forename": "Olivia"}, "not forename"),
        ({"forename": None}, NOTHING_SAID),
        ({**OTHER_BIRTH, **OTHER_PLACE}, NOTHING_SAID),  # no salt agrees, so that nobody can say
        ({"forename": "Olivia", "date_of_birth": None, **OTHER_PLACE}, NOTHING_SAID),
    ),
    "surname": (
        ({}, "surname"),
        ({"surname": "Thornbury-Cole"}, "surname"),
        ({"surname": "Cole", "previous_surname": "Thornbury"}, "surname"),
        ({"date_of_birth": "1984-11-29", **OTHER_PLACE}, "surname"),  # met by the year of birth
        ({"forename": "Thornbury", "surname": "Margaret"}, "surname and forename in each other's place"),
        ({"surname": "Thornbuy"}, "surname within one letter"),
        ({"surname": "Thornberry"}, "surname much alike"),
        ({"surname": "Thorne"}, "surname somewhat alike"),
        ({"surname": "Ellwood"}, "not surname"),
        ({"surname": None}, NOTHING_SAID),
        ({**OTHER_BIRTH, **OTHER_PLACE}, NOTHING_SAID),
    ),
    "date_of_birth": (
        ({}, "date of birth"),
        ({"forename": None}, "date of birth"),  # met by the other name's initial
        ({"forename": "Olivia", "surname": "Ellwood"}, "date of birth"),  # met by the neighbourhood
        ({"date_of_birth": "1984-03-18"}, "date of birth but for one digit"),
        ({"date_of_birth": "1984-12-25"}, "year, or day and month, of birth"),
        ({"date_of_birth": "1951-03-17"}, "year, or day and month, of birth"),
        ({**OTHER_BIRTH}, "not date of birth"),
        ({"date_of_birth": None}, NOTHING_SAID),
        # No birthday, but what is written where only the year is known.
        ({"date_of_birth": "1984-01-01"}, "year, or day and month, of birth"),
        ({"date_of_birth": "1951-01-01"}, NOTHING_SAID),
    ),
    "postcode": (
        ({}, "postcode"),
        ({"forename": "Olivia", "surname": "Ellwood"}, "postcode"),  # met by the date of birth
        ({"postcode": "LU1 2AC"}, "postcode but for one character"),
        ({"postcode": "LU1 2XY"}, "postcode sector"),
        (OTHER_PLACE, "not postcode"),
        ({"postcode": None}, NOTHING_SAID),
        ({"postcode": "ZZ99 3VZ"}, NOTHING_SAID),
    ),
    "phone": (({}, "telephone"), ({"phone": "07700 900456"}, "not telephone"), ({"phone": None}, NOTHING_SAID)),
    "email": (({}, "e-mail"), ({"email": "else@mail.test.uk"}, "not e-mail"), ({"email": None}, NOTHING_SAID)),
    "nhs_number": (
        ({}, "NHS number"),
        ({"nhs_number": "9434765870"}, "not NHS number"),
        ({"nhs_number": None}, NOTHING_SAID),
        ({"nhs_number": "9434765918"}, NOTHING_SAID),  # its check digit is wrong
    ),
    "ni_number": (
        ({}, "NI number"),
        ({"ni_number": "AB123956C"}, "NI number but for one character"),
        ({"ni_number": "CE771204D"}, "not NI number"),
        ({"ni_number": None}, NOTHING_SAID),
    ),
    "shared_person_number": (
        ({}, "shared number"),
        ({"shared_person_number": "S-4712"}, "not shared number"),
        ({"shared_person_number": None}, NOTHING_SAID),
    ),
}
DAY_FOR_MONTH = ({"date_of_birth": "1984-03-07"}, {"date_of_birth": "1984-07-03"})


def compare(found: Records) -> pl.DataFrame:
    """Codes of all pairs of the records."""
    encodings = found.records.with_row_index("record").join(found.encodings, on=["partner_id", "person_ref"])
    numbers = encodings.select(left="record")
    pairs = numbers.join(numbers.rename({"left": "right"}), how="cross").filter(pl.col("left") < pl.col("right"))
    return compare_pairs(encodings, pairs, duckdb_engine())


def tell(name: str, code: int) -> str | None:
    level = next(comparison for comparison in COMPARISONS if comparison.name == name).level(code)
    return None if level is None else level.words if level.agrees else f"not {level.words}"


@pytest.fixture(scope="module")
def reached() -> dict[tuple[str, int], str | None]:
    """What is told of Margaret beside each changed Margaret: by comparison and place in its list."""
    cases = [(name, place, change) for name, rows in CHANGES.items() for place, (change, _) in enumerate(rows)]
    people = {f"b{number:03}": MARGARET | change for number, (_, _, change) in enumerate(cases)}
    codes = compare(encode({"a": MARGARET, **people})).filter(pl.col("left") == 0).sort("right")
    return {(name, place): tell(name, codes[name][number]) for number, (name, place, _) in enumerate(cases)}


@pytest.mark.parametrize(
    ("name", "place"), [(name, place) for name, rows in CHANGES.items() for place in range(len(rows))]
)
def test_a_changed_record_is_at_the_level_that_the_change_calls_for(
    reached: dict[tuple[str, int], str | None], name: str, place: int
) -> None:
    assert reached[name, place] == CHANGES[name][place][1]


def test_day_and_month_that_were_exchanged_are_told_as_such() -> None:
    one, other = DAY_FOR_MONTH
    (code,) = compare(encode({"a1": MARGARET | one, "b1": MARGARET | other}))["date_of_birth"]
    assert tell("date_of_birth", code) == "date of birth with day and month exchanged"


def test_long_names_are_not_alike_where_no_salt_shows_it() -> None:
    """Any two filters have some bits in common: likeness is asked only where a salt shows that it can be told."""
    one = MARGARET | {"forename": "Wolfeschlegelsteinhausbergerdorff"}
    other = MARGARET | {"forename": "Quintapyxvumotkazijonyrelhudcewab", **OTHER_BIRTH, **OTHER_PLACE}
    (code,) = compare(encode({"a1": one, "b1": other}))["forename"]
    assert tell("forename", code) is NOTHING_SAID


def test_every_level_is_reached_by_one_of_these_changes() -> None:
    told = {words for rows in CHANGES.values() for _, words in rows} - {None}
    told |= {"date of birth with day and month exchanged"}
    levels = {level.words if level.agrees else f"not {level.words}" for c in TOLD for level in c.levels}
    assert told == levels


def test_records_of_one_partner_are_told_to_the_model_and_to_nobody_else() -> None:
    codes = compare(encode({"a1": MARGARET, "a2": MARGARET, "b1": MARGARET}))
    assert codes.select("left", "right", "one_file").rows() == [(0, 1, 2), (0, 2, 1), (1, 2, 1)]
    scored = make_scored({("a1", "a2"): 0.9}, **{name: pl.lit(0) for name in CODES} | {"one_file": pl.lit(2)})
    (row,) = describe_pairs(name_pairs(scored, scored.pairs), 0.5).iter_rows(named=True)
    assert (row["agreed_on"], row["differs_on"]) == ([], [])


def test_a_pair_is_compared_alike_whichever_record_comes_first() -> None:
    people = [MARGARET | change for rows in CHANGES.values() for change, _ in rows]
    last = len(people) - 1
    forwards = compare(encode({f"a{number:03}": person for number, person in enumerate(people)}))
    backwards = compare(encode({f"a{number:03}": person for number, person in enumerate(people[::-1])}))
    turned = backwards.with_columns(left=last - pl.col("right").cast(pl.Int64), right=last - pl.col("left"))
    assert forwards.rows() == turned.select(forwards.columns).sort("left", "right").rows()


def test_pairs_are_compared_in_parts_as_they_are_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    people = {f"a{number:03}": MARGARET | change for number, (change, _) in enumerate(CHANGES["forename"])}
    at_once = compare(encode(people))
    monkeypatch.setattr("linkage.vectors._PAIRS_AT_ONCE", 25)
    assert at_once.height == 66
    assert compare(encode(people)).equals(at_once)


def test_several_values_of_one_record_agree_where_one_of_them_does() -> None:
    one = encode({"a1": MARGARET, "b1": MARGARET})
    moved = encode({"b1": MARGARET | OTHER_PLACE | {"nhs_number": "9434765870"}})
    both = pl.concat([one.encodings, moved.encodings]).group_by("partner_id", "person_ref", maintain_order=True)
    lists = [name for name, kind in token_schema().items() if isinstance(kind, pl.List)]
    merged = both.agg(pl.col(lists).explode().drop_nulls().unique(), pl.exclude(*lists).last())
    (row,) = compare(Records(one.match_keys, merged, one.records)).iter_rows(named=True)
    assert tell("postcode", row["postcode"]) == "postcode"
    assert tell("nhs_number", row["nhs_number"]) == "NHS number"


def test_an_empty_list_is_not_known_and_differs_from_nothing() -> None:
    found = encode({"a1": MARGARET, "b1": MARGARET | {"nhs_number": None}})
    emptied = found.encodings.with_columns(pl.col("nhs_number").fill_null([]))
    assert emptied["nhs_number"].list.len().to_list() == [1, 0]
    assert compare(Records(found.match_keys, emptied, found.records))["nhs_number"].to_list() == [0]


def test_records_of_which_nothing_is_known_are_compared_and_nothing_is_said() -> None:
    nobody = dict.fromkeys(MARGARET)
    (row,) = compare(encode({"a1": nobody, "b1": nobody})).iter_rows(named=True)
    assert {row[comparison.name] for comparison in TOLD} == {0}


def test_the_conditions_read_what_the_encoding_holds() -> None:
    held = {name: kind for name, kind in encoding_schema().items() if name != "person_ref"}
    assert token_schema() == held


def test_a_code_is_one_digit() -> None:
    assert max(len(comparison.levels) for comparison in COMPARISONS) <= 9


def test_levels_that_agree_have_words_of_their_own() -> None:
    for comparison in COMPARISONS:
        agreeing = [level.words for level in comparison.levels if level.agrees]
        assert len(set(agreeing)) == len(agreeing) == len(comparison.levels) - 1
        assert comparison.level(0) is None


@pytest.mark.parametrize(("engine", "function"), [("duckdb", "list_has_any"), ("spark", "arrays_overlap")])
def test_both_engines_get_the_same_conditions_but_for_one_function(engine: str, function: str) -> None:
    settings = str(splink_settings(engine).create_settings_dict(sql_dialect_str=engine)["comparisons"])
    other = {"duckdb": "arrays_overlap", "spark": "list_has_any"}[engine]
    assert function in settings
    assert other not in settings
    assert "lists_meet" not in settings
