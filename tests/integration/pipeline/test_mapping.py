"""A partner whose own export has other headings, file names and codes, mapped by its folder of the agreement."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from protocol.digest import sign_again
from tests.integration.pipeline.world import World, set_up, with_agreement

PARTNER = "harbour_trust"
HEADINGS = {"local_person_id": "Client ref", "forename": "First name", "surname": "Last name", "sex": "Gender"}
CODES = {"F": "female", "M": "male", "?": "unknown"}


def make_partners_mapping(world: World, folder: Path) -> World:
    """The example's agreement, signed again, in which one partner keeps its own words."""
    shutil.copytree(world.settings.agreement_folder, folder)
    partner = folder / "partners" / f"{PARTNER}.yaml"
    agreed = {column: column for column in world.agreement.contract.table("person").column_names}
    person = {"file": "clients.csv", "columns": agreed | HEADINGS, "codes": {"sex": CODES}}
    mapping = {"tables": {"person": person}}
    entries = partner.read_text(encoding="utf-8") + yaml.safe_dump({"mapping": mapping}, sort_keys=False)
    partner.write_text(entries, encoding="utf-8")
    sign_again(folder)
    mapped = with_agreement(world, folder)
    set_up(mapped)
    return mapped


def in_own_words(person: pl.DataFrame) -> pl.DataFrame:
    own = {agreed: code for code, agreed in CODES.items()}
    return person.with_columns(pl.col("sex").replace_strict(own, default=None)).rename(HEADINGS)


def drop_own_export(world: World, small: dict[str, Any], person: pl.DataFrame) -> None:
    folder = world.drop(PARTNER, {**small["tables"], "person": person}, small["manifest"])
    (folder / "person.csv").rename(folder / "clients.csv")


def test_an_own_export_becomes_the_same_rows_as_the_agreed_one(
    world: World, small: dict[str, Any], tmp_path: Path, copy_of: Any
) -> None:
    plain = copy_of(world)
    plain.load(PARTNER, **small)
    mapped = make_partners_mapping(world, tmp_path / "agreement")
    drop_own_export(mapped, small, in_own_words(small["tables"]["person"]))
    (outcome,) = mapped.take_in(PARTNER)
    assert outcome.loaded is not None
    columns = "row_key, person_ref, sex, birth_year_band, postcode_district, do_not_link"
    assert mapped.rows_in_force("person", columns) == plain.rows_in_force("person", columns)
    tokens = "select person_ref, key_name, token from linkage.match_key order by 1, 2, 3"
    assert mapped.query(tokens) == plain.query(tokens)
    assert mapped.work() == []


def test_a_code_that_the_mapping_does_not_know_holds_its_row_back(
    world: World, small: dict[str, Any], tmp_path: Path
) -> None:
    mapped = make_partners_mapping(world, tmp_path / "agreement")
    own = in_own_words(small["tables"]["person"])
    first = pl.int_range(pl.len()) == 0
    drop_own_export(
        mapped, small, own.with_columns(pl.when(first).then(pl.lit("X9")).otherwise(pl.col("Gender")).alias("Gender"))
    )
    (outcome,) = mapped.take_in(PARTNER)
    receipt = mapped.receipt(PARTNER, outcome.submission_id)
    line = next(line for line in receipt["tables"] if line["table"] == "person")
    assert line["held_back"] == 1
    assert "X9" not in str(receipt)


def test_agreed_headings_are_not_those_of_a_partner_that_has_its_own(
    world: World, small: dict[str, Any], tmp_path: Path
) -> None:
    mapped = make_partners_mapping(world, tmp_path / "agreement")
    drop_own_export(mapped, small, small["tables"]["person"])
    (outcome,) = mapped.take_in(PARTNER)
    assert outcome.refusal is not None
    assert mapped.in_force_anywhere() == 0
