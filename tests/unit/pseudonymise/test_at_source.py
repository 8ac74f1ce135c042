"""Inner layer at the source and outer layers at the hub give what both give at once, and the inner one hides values."""

from datetime import UTC, date, datetime

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from protocol.at_source import contract_at_hub, parent_column
from protocol.errors import DefectFound
from protocol.model import Contract
from protocol.pool import PERSON_REF, ROW_KEY
from pseudonymise.at_source import (
    InnerFrames,
    close_inner,
    close_row_keys,
    find_linked_refs,
    pack_encodings,
    pseudonymise_inner,
    unpack_encodings,
)
from pseudonymise.encoding import encode_inner
from pseudonymise.keys import KeyRing
from pseudonymise.normalise import normalise
from pseudonymise.output import Pseudonymised, derive_row_keys, pseudonymise_tables

PARTNER = "harbour_trust"
AS_OF = date(2026, 9, 30)
NOW = datetime(2026, 1, 1, tzinfo=UTC)
Tables = dict[str, pl.DataFrame]


def numbered(tables: Tables) -> Tables:
    return {
        name: frame.with_columns(_row=pl.int_range(2, frame.height + 2, dtype=pl.Int64))
        for name, frame in tables.items()
    }


def as_checked(inner: InnerFrames) -> Tables:
    """The tables as the hub's check accepts them."""
    return dict(inner.tables)


def both_ways(tables: Tables, contract: Contract, ring: KeyRing) -> tuple[Pseudonymised, Pseudonymised]:
    tables = dict(sorted(numbered(tables).items()))
    at_once = pseudonymise_tables(tables, contract, PARTNER, ring, as_of=AS_OF)
    inner = pseudonymise_inner(tables, contract, PARTNER, ring, as_of=AS_OF)
    closed = close_inner(as_checked(inner), inner.match_keys, inner.encodings, contract, ring, k1_id=ring.k1_id)
    return at_once, closed


def assert_same(one: Pseudonymised, other: Pseudonymised) -> None:
    assert list(one.tables) == list(other.tables)
    for name, frame in one.tables.items():
        assert_frame_equal(frame, other.tables[name])
    assert_frame_equal(one.match_keys, other.match_keys)
    assert_frame_equal(one.encodings, other.encodings)
    assert (one.counts, one.scheme, one.key_id) == (other.counts, other.scheme, other.key_id)


def test_both_ways_give_the_same_frames(accepted: Tables, contract: Contract, key_ring: KeyRing) -> None:
    one, other = both_ways(accepted, contract, key_ring)
    assert one.match_keys.height > 10
    assert_same(one, other)


def test_they_do_under_a_chain_of_outer_keys_and_for_a_delta_too(
    accepted: Tables, contract: Contract, key_ring: KeyRing
) -> None:
    longer = key_ring.with_new("K2", NOW).with_next_outer().marked(NOW)
    chain = longer.with_new("K2", NOW).with_next_outer()
    assert len(chain.outer_ids) == 3
    deletes = [True, False, False, False]
    accepted["person"] = accepted["person"].with_columns(_delete=pl.Series(deletes))
    one, other = both_ways(accepted, contract, chain)
    assert one.tables["person"]["_deleted"].to_list() == deletes
    assert_same(one, other)


_TEXTS = st.one_of(st.none(), st.text(min_size=1, max_size=12))
_PERSON = st.fixed_dictionaries(
    {
        "nhs_number": st.sampled_from([None, "9434765919", "943 476 5919", "1"]),
        "forename": _TEXTS,
        "surname": _TEXTS,
        "date_of_birth": st.one_of(st.none(), st.dates(date(1900, 1, 1), date(2026, 9, 1))),
        "postcode": st.sampled_from([None, "LU12 9XQ", "ZZ99 3VZ", "LU1", "x"]),
        "phone": st.sampled_from([None, "07700900123", "1"]),
        "email": st.sampled_from([None, "zebedee@example.org"]),
        "household_number": _TEXTS,
        "died_on": st.one_of(st.none(), st.dates(date(1990, 1, 1), date(2026, 9, 1))),
        "do_not_link": st.sampled_from([None, "no", "yes"]),
    }
)


@settings(max_examples=25, deadline=None)
@given(people=st.lists(_PERSON, max_size=6))
def test_both_ways_give_the_same_frames_whatever_the_persons(
    people: list[dict[str, object]], contract: Contract, key_ring: KeyRing
) -> None:
    types = {
        column.name: pl.Date if column.type.value == "date" else pl.String
        for column in contract.table("person").columns
    }
    rows = [{"local_person_id": f" L-{number}", **person} for number, person in enumerate(people)]
    assert_same(*both_ways({"person": pl.DataFrame(rows, schema=types)}, contract, key_ring))


def test_inner_output_has_the_columns_of_the_hubs_contract_and_no_value(
    accepted: Tables, contract: Contract, key_ring: KeyRing, canaries: tuple[str, ...]
) -> None:
    inner = pseudonymise_inner(numbered(accepted), contract, PARTNER, key_ring, as_of=AS_OF)
    for table in contract_at_hub(contract).tables:
        assert inner.tables[table.name].columns == list(table.column_names)
    frames = [*inner.tables.values(), inner.match_keys, inner.encodings]
    written = "\n".join(frame.write_csv() for frame in frames).lower() + repr(inner).lower()
    for canary in canaries:
        assert canary.lower() not in written
        assert canary.lower().replace(" ", "") not in written


def test_inner_tokens_are_not_what_is_stored(accepted: Tables, contract: Contract, key_ring: KeyRing) -> None:
    inner = pseudonymise_inner(numbered(accepted), contract, PARTNER, key_ring, as_of=AS_OF)
    stored = pseudonymise_tables(accepted, contract, PARTNER, key_ring, as_of=AS_OF)
    outer = set(stored.match_keys["token"]) | set(stored.tables["person"][PERSON_REF])
    assert not outer & set(inner.match_keys["token"])
    assert not outer & set(inner.tables["person"][PERSON_REF].str.head(32))


def test_a_row_that_is_referred_to_is_found_by_the_same_token(
    accepted: Tables, contract: Contract, key_ring: KeyRing
) -> None:
    inner = pseudonymise_inner(numbered(accepted), contract, PARTNER, key_ring, as_of=AS_OF)
    person, assessment = inner.tables["person"], inner.tables["assessment"]
    assert assessment[parent_column(1)].to_list() == person[ROW_KEY].to_list()[:2]
    stored = derive_row_keys(accepted["person"], contract.table("person"), PARTNER, key_ring)
    assert close_row_keys(person[ROW_KEY], "person", key_ring).to_list() == stored.to_list()


def test_those_who_are_not_to_be_linked_have_no_tokens(accepted: Tables, contract: Contract, key_ring: KeyRing) -> None:
    inner = pseudonymise_inner(numbered(accepted), contract, PARTNER, key_ring, as_of=AS_OF)
    refs = inner.tables["person"][PERSON_REF].to_list()
    assert find_linked_refs(as_checked(inner), contract).to_list() == [refs[0], refs[1], refs[3]]
    assert refs[2] not in inner.match_keys[PERSON_REF]
    assert inner.encodings[PERSON_REF].to_list() == [refs[0], refs[1], refs[3]]


def test_tokens_of_another_k1_are_not_closed(
    accepted: Tables, contract: Contract, key_ring: KeyRing, other_key_ring: KeyRing
) -> None:
    inner = pseudonymise_inner(numbered(accepted), contract, PARTNER, other_key_ring, as_of=AS_OF)
    with pytest.raises(DefectFound, match="another K1"):
        close_inner(
            as_checked(inner), inner.match_keys, inner.encodings, contract, key_ring, k1_id=other_key_ring.k1_id
        )


def test_encodings_survive_packing(accepted: Tables, contract: Contract, key_ring: KeyRing) -> None:
    identifiers = {column.identifier: column.name for column in contract.table("person").columns if column.identifier}
    normal = normalise(accepted["person"], identifiers, AS_OF)
    inner = encode_inner(normal, accepted["person"]["local_person_id"], key_ring)
    packed = pack_encodings(inner)
    assert set(packed.dtypes) == {pl.String}
    assert_frame_equal(unpack_encodings(packed), inner)


@pytest.mark.parametrize("cell", ["no base64!", "AAAA", "QUJD"])
def test_what_is_no_encoding_is_told_without_its_cells(
    cell: str, accepted: Tables, contract: Contract, key_ring: KeyRing
) -> None:
    packed = pseudonymise_inner(numbered(accepted), contract, PARTNER, key_ring, as_of=AS_OF).encodings
    with pytest.raises(ValueError, match="a cell") as failure:
        unpack_encodings(packed.with_columns(forename=pl.lit(cell)))
    assert cell not in str(failure.value)
