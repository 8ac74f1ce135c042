"""Pool-ready frames hold what the agreement lets through, in its form, and nothing else."""

from datetime import date
from decimal import Decimal

import polars as pl
import pytest

from protocol.errors import DefectFound
from protocol.model import Contract
from protocol.pool import DELETED, PERSON_REF, ROW_KEY, pool_columns
from pseudonymise.keys import KeyRing
from pseudonymise.output import Pseudonymised, derive_row_keys, pseudonymise_tables
from pseudonymise.publish import publish_ids

AS_OF = date(2026, 9, 30)
Tables = dict[str, pl.DataFrame]


@pytest.fixture
def made(accepted: Tables, contract: Contract, key_ring: KeyRing) -> Pseudonymised:
    return pseudonymise_tables(accepted, contract, "harbour_trust", key_ring, as_of=AS_OF)


def test_every_frame_has_exactly_the_columns_of_the_allow_list(made: Pseudonymised, contract: Contract) -> None:
    assert set(made.tables) == set(contract.table_names)
    for table in contract.tables:
        reference = [PERSON_REF] if table.person_column else []
        expected = [ROW_KEY, *reference, *(column.name for column in pool_columns(table))]
        assert made.tables[table.name].columns == expected


def test_a_column_that_is_not_agreed_does_not_pass(
    accepted: Tables, contract: Contract, key_ring: KeyRing, made: Pseudonymised
) -> None:
    accepted["person"] = accepted["person"].with_columns(secret=pl.lit("surplus"))
    again = pseudonymise_tables(accepted, contract, "harbour_trust", key_ring, as_of=AS_OF)
    assert again.tables["person"].equals(made.tables["person"])


def test_values_are_kept_generalised_or_replaced_as_agreed(made: Pseudonymised) -> None:
    person = made.tables["person"]
    assert person["birth_year_band"].to_list() == ["1980-1984", "1975-1979", "1975-1979", None]
    assert person["postcode_district"].to_list() == ["LU12", None, None, None]
    assert person["died_on_month"].to_list() == [None, date(2026, 5, 1), None, None]
    assert person["do_not_link"].to_list() == ["no", None, "yes", None]
    assert person["household_number"].str.contains("^[0-9a-f]{32}$").to_list() == [True, None, None, None]
    assessment = made.tables["assessment"]
    assert assessment["minutes"].to_list() == [45, None]
    assert assessment["minutes"].dtype == pl.Int64
    assert assessment["total_score"].to_list() == [Decimal("23.5000"), None]
    assert assessment["total_score"].dtype == pl.Decimal(18, 4)
    assert assessment["assessed_on"].dtype == pl.Date


def test_one_person_has_one_reference_in_all_tables_of_a_partner(made: Pseudonymised) -> None:
    person, assessment = made.tables["person"], made.tables["assessment"]
    assert assessment[PERSON_REF].to_list() == person[PERSON_REF].to_list()[:2]
    assert person[PERSON_REF].str.contains("^[0-9a-f]{32}$").all()
    assert person[PERSON_REF].n_unique() == 4
    assert not set(person[PERSON_REF]) & set(person[ROW_KEY])


def test_a_reference_has_the_pseudonym_of_what_it_refers_to(made: Pseudonymised) -> None:
    number = made.tables["assessment"]["assessment_number"][0]
    assert made.tables["assessment_item"]["assessment"].to_list() == [number, number]
    assert made.tables["assessment_item"][ROW_KEY].n_unique() == 2


def test_two_partners_with_the_same_numbers_have_different_pseudonyms(
    accepted: Tables, contract: Contract, key_ring: KeyRing, made: Pseudonymised
) -> None:
    other = pseudonymise_tables(accepted, contract, "castle_borough", key_ring, as_of=AS_OF)
    for name, columns in (("person", [ROW_KEY, PERSON_REF]), ("assessment", [ROW_KEY, "assessment_number"])):
        for column in columns:
            assert not set(other.tables[name][column]) & set(made.tables[name][column])
    tokens = set(made.match_keys["token"])
    assert tokens == set(other.match_keys["token"])


def test_the_same_submission_twice_gives_the_same_frames(
    accepted: Tables, contract: Contract, key_ring: KeyRing, made: Pseudonymised
) -> None:
    again = pseudonymise_tables(accepted, contract, "harbour_trust", key_ring, as_of=AS_OF)
    assert all(again.tables[name].equals(frame) for name, frame in made.tables.items())
    assert again.match_keys.equals(made.match_keys)
    assert again.counts == made.counts


def test_a_person_who_must_not_be_linked_has_no_match_keys(made: Pseudonymised) -> None:
    references = made.tables["person"][PERSON_REF].to_list()
    assert set(made.match_keys["person_ref"]) == set(references[:2])
    assert made.counts["persons"] == 4
    assert made.counts["persons_not_to_link"] == 1
    assert made.counts["persons_without_match_key"] == 1
    assert made.counts["match_keys"] == made.match_keys.height


def test_deletions_are_tombstones_without_match_keys(accepted: Tables, contract: Contract, key_ring: KeyRing) -> None:
    accepted["person"] = accepted["person"].with_columns(_delete=pl.Series([True, False, None, False]))
    made = pseudonymise_tables({"person": accepted["person"]}, contract, "harbour_trust", key_ring, as_of=AS_OF)
    person = made.tables["person"]
    assert person.columns[-1] == DELETED
    assert person[DELETED].to_list() == [True, False, False, False]
    assert person[PERSON_REF][0] not in set(made.match_keys["person_ref"])
    assert made.counts["persons"] == 3


def test_row_keys_of_named_keys_are_those_of_the_frames(
    contract: Contract, key_ring: KeyRing, made: Pseudonymised
) -> None:
    keys = pl.DataFrame({"item": ["q2"], "assessment": ["A-55001"]})
    row_keys = derive_row_keys(keys, contract.table("assessment_item"), "harbour_trust", key_ring)
    assert row_keys.to_list() == [made.tables["assessment_item"][ROW_KEY][1]]
    with pytest.raises(DefectFound, match="lack"):
        derive_row_keys(keys.drop("item"), contract.table("assessment_item"), "harbour_trust", key_ring)


def test_empty_tables_have_their_columns(accepted: Tables, contract: Contract, key_ring: KeyRing) -> None:
    empty = {name: frame.clear() for name, frame in accepted.items()}
    made = pseudonymise_tables(empty, contract, "harbour_trust", key_ring, as_of=AS_OF)
    for table in contract.tables:
        assert made.tables[table.name].height == 0
        assert ROW_KEY in made.tables[table.name].columns
    assert made.match_keys.height == 0


def test_a_table_unlike_the_contract_is_our_defect(accepted: Tables, contract: Contract, key_ring: KeyRing) -> None:
    with pytest.raises(DefectFound, match="lacks the agreed columns phone"):
        pseudonymise_tables({"person": accepted["person"].drop("phone")}, contract, "p", key_ring, as_of=AS_OF)
    with pytest.raises(DefectFound, match="not in the agreement"):
        pseudonymise_tables({"other": accepted["person"]}, contract, "p", key_ring, as_of=AS_OF)


def test_each_audience_has_published_ids_of_its_own(key_ring: KeyRing) -> None:
    persons = pl.Series("person_id", ["0b5e8e0c-6f6e-4a0b-9a3c-111111111111", None])
    analysts, public = publish_ids(persons, "analysts", key_ring), publish_ids(persons, "public", key_ring)
    assert analysts.str.contains("^[0-9a-f]{32}$").to_list() == [True, None]
    assert analysts[0] != public[0]
    assert analysts.equals(publish_ids(persons, "analysts", key_ring))
    for wrong in ("", "not a uuid"):
        with pytest.raises(DefectFound, match="UUID"):
            publish_ids(pl.Series([wrong]), "analysts", key_ring)
    with pytest.raises(DefectFound, match="audience"):
        publish_ids(persons, "", key_ring)
