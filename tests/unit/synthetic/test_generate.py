"""The synthetic partnership: the same from the same seed, valid by the agreement, about nobody, and full of what it
is meant to hold."""

import hashlib
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import yaml

from protocol.loading import load_agreement
from protocol.model import Agreement
from synthetic import CLEAN, ROUGH, Partnership, generate_partnership, generate_persons, write_extracts
from synthetic.people import DRAMA_NUMBERS, NI_PREFIXES, check_nhs_number

ROOT = Path(__file__).parents[3]


def digest_of(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def people_of(partnership: Partnership) -> pl.DataFrame:
    """Person rows of all extracts with partner, period and who it truly is."""
    rows = pl.concat(
        [
            tables["person"].with_columns(pl.lit(partner).alias("partner_id"), pl.lit(period).alias("period"))
            for (partner, period), tables in partnership.extracts.items()
        ]
    )
    return rows.join(partnership.truth, on=["partner_id", "local_person_id"], maintain_order="left")


def test_same_seed_gives_the_same_bytes_in_another_process(agreement: Agreement, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from protocol.loading import *; from synthetic import *; "
        "a = load_agreement(default_agreement_folder()); "
        "write_extracts(generate_partnership(a, seed=7, people=150), Path(sys.argv[1]))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "4242", "PYTHONPATH": str(ROOT), "POLARS_MAX_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "other")], check=True, env=environment, cwd=ROOT)
    write_extracts(generate_partnership(agreement, seed=7, people=150), tmp_path / "here")
    assert digest_of(tmp_path / "here") == digest_of(tmp_path / "other")


def test_another_seed_gives_another_partnership(agreement: Agreement) -> None:
    one, two = (generate_partnership(agreement, seed=seed, people=150) for seed in (1, 2))
    key = ("harbour_trust", "2026-Q2")
    assert not one.extracts[key]["person"].equals(two.extracts[key]["person"])


def test_every_row_of_every_extract_is_valid_by_the_agreement(partnership: Partnership, check) -> None:
    for partner, period in partnership.extracts:
        result = check(partnership, partner, period)
        assert result.findings == ()
        assert all(counts.received == counts.accepted for counts in result.counts.values())


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_rough_records_are_valid_as_well(agreement: Agreement, check, seed: int) -> None:
    rough = generate_partnership(agreement, seed=seed, people=300, profile=ROUGH)
    for partner, period in rough.extracts:
        result = check(rough, partner, period)
        assert not result.refused
        assert result.held_back.is_empty()


def test_no_number_or_address_can_be_a_real_persons(partnership: Partnership) -> None:
    people = people_of(partnership)
    nhs = people["nhs_number"].drop_nulls().str.replace_all(" ", "")
    assert nhs.str.starts_with("999").all()
    assert sum(check_nhs_number(number) for number in nhs) / len(nhs) > 0.98
    assert {number[:2] for number in people["ni_number"].drop_nulls()} <= set(NI_PREFIXES)
    phones = people["phone"].drop_nulls().str.replace_all(r"[ ]", "").str.replace(r"^\+44", "0")
    assert {number[:8] for number in phones} <= set(DRAMA_NUMBERS)
    assert phones.str.len_chars().unique().to_list() == [11]
    assert people["email"].drop_nulls().str.contains(r"@example\.(org|net)$").all()


@pytest.mark.parametrize(
    ("number", "valid"),
    [
        ("9434765919", True),  # the worked example of the NHS Data Dictionary
        ("9434765918", False),
        ("9990000018", True),
        ("999000001", False),
        ("99900000A8", False),
    ],
)
def test_nhs_number_has_its_check_digit(number: str, valid: bool) -> None:
    assert check_nhs_number(number) is valid


def test_true_nhs_numbers_are_all_different_and_valid(agreement: Agreement) -> None:
    clean = generate_partnership(agreement, seed=5, people=4000, profile=CLEAN, partners=["riverside_nhs"])
    people = people_of(clean).drop_nulls("nhs_number").unique("truth_person")
    numbers = people["nhs_number"].str.replace_all(" ", "")
    assert numbers.n_unique() == len(numbers) > 3500
    assert all(check_nhs_number(number) for number in numbers)


def test_about_two_in_five_people_are_known_to_several_partners(partnership: Partnership) -> None:
    counts = partnership.facts.people_by_number_of_partners
    several = sum(people for partners, people in counts.items() if int(partners) > 1)
    assert 0.34 <= several / partnership.facts.people <= 0.42
    assert sum(people for partners, people in counts.items() if int(partners) >= 4) > 0
    assert partnership.facts.people == 1500
    assert partnership.facts.sum_of_partner_counts > 1.5 * partnership.facts.people


def test_partner_that_has_not_signed_has_no_extract_unless_named(agreement: Agreement) -> None:
    signed = generate_partnership(agreement, seed=1, people=60)
    assert "lantern_youth" not in {partner for partner, _ in signed.extracts}
    named = generate_partnership(agreement, seed=1, people=60, partners=["harbour_trust", "lantern_youth"])
    assert {partner for partner, _ in named.extracts} == {"harbour_trust", "lantern_youth"}


def test_health_knows_nhs_numbers_and_others_mostly_do_not(partnership: Partnership) -> None:
    people = people_of(partnership)
    missing = dict(
        people.group_by("partner_id")
        .agg(pl.col("nhs_number").is_null().mean(), pl.len())
        .select("partner_id", "nhs_number")
        .iter_rows()
    )
    assert missing.pop("riverside_nhs") < 0.1
    assert all(share > 0.8 for share in missing.values())


def test_only_partners_that_do_not_vouch_for_their_file_have_a_person_twice(
    partnership: Partnership, agreement: Agreement
) -> None:
    twice = partnership.truth.group_by("partner_id", "truth_person").len().filter(pl.col("len") > 1)
    assert not twice.is_empty()
    vouching = {partner.id for partner in agreement.partners if partner.duplicate_free}
    assert vouching
    assert not vouching & set(twice["partner_id"])


def test_records_of_one_person_differ_as_real_ones_do(partnership: Partnership) -> None:
    people = people_of(partnership)
    pairs = people.join(people, on="truth_person", suffix="_b").filter(pl.col("partner_id") < pl.col("partner_id_b"))

    def differ(column: str) -> float:
        both = pairs.drop_nulls([column, f"{column}_b"])
        unequal = both[column].str.to_lowercase() != both[f"{column}_b"].str.to_lowercase()
        return float(unequal.mean())  # type: ignore[arg-type]

    assert 0.02 < differ("date_of_birth") < 0.15
    assert 0.05 < differ("forename") < 0.35
    assert 0.03 < differ("surname") < 0.3
    assert 0.03 < differ("postcode") < 0.35
    swapped = pairs.filter(
        (pl.col("date_of_birth") != pl.col("date_of_birth_b"))
        & (pl.col("date_of_birth").str.slice(5, 2) == pl.col("date_of_birth_b").str.slice(8, 2))
        & (pl.col("date_of_birth").str.slice(8, 2) == pl.col("date_of_birth_b").str.slice(5, 2))
    )
    assert not swapped.is_empty()
    assert not pairs.filter(pl.col("surname") == pl.col("previous_surname_b")).is_empty()


def test_people_move_between_periods(partnership: Partnership) -> None:
    people = people_of(partnership)
    wide = people.pivot("period", index=["partner_id", "local_person_id"], values="postcode")
    moved = wide.drop_nulls().filter(pl.col("2026-Q2") != pl.col("2026-Q3"))
    assert 0.005 < len(moved) / len(wide) < 0.1


def test_clean_profile_writes_every_identifier_as_it_is(agreement: Agreement) -> None:
    clean = generate_partnership(agreement, seed=8, people=600, profile=CLEAN)
    people = people_of(clean).filter(pl.col("period") == "2026-Q3")
    for column in ("date_of_birth", "sex", "postcode"):
        spellings = people.drop_nulls(column).group_by("truth_person").agg(pl.col(column).n_unique())
        assert spellings[column].max() == 1


def test_twins_share_birthday_and_surname_but_not_forename(partnership: Partnership) -> None:
    known = people_of(partnership).unique(["truth_person"], maintain_order=True)
    alike = known.join(known, on=["surname", "date_of_birth", "postcode"], suffix="_b").filter(
        (pl.col("truth_person") < pl.col("truth_person_b")) & (pl.col("forename") != pl.col("forename_b"))
    )
    assert not alike.is_empty()


def test_strangers_share_names_in_a_name_dense_community(partnership: Partnership) -> None:
    known = people_of(partnership).join(partnership.subgroups, on="truth_person")
    dense = known.filter(pl.col("origin").is_in(["pakistani", "bangladeshi"])).unique("truth_person")
    named = dense.group_by(pl.col("forename").str.to_lowercase(), pl.col("surname").str.to_lowercase()).len()
    assert named["len"].max() >= 3  # type: ignore[operator]


def test_repeats_reviews_and_passed_on_assessments_are_planted(partnership: Partnership) -> None:
    facts = partnership.facts
    assert 0.05 < facts.repeats / facts.assessments < 0.3
    assert facts.reviews > 0


def test_referrals_are_accepted_declined_lost_and_passed_on_to_a_third_partner(partnership: Partnership) -> None:
    statuses = partnership.facts.referrals_by_direction_and_status
    for state in ("sent accepted", "sent declined", "sent sent", "received accepted", "received declined"):
        assert statuses[state] > 0
    referrals = pl.concat(
        [
            tables["referral"].with_columns(pl.lit(partner).alias("partner_id"))
            for (partner, _), tables in partnership.extracts.items()
        ]
    ).join(partnership.truth, on=["partner_id", "local_person_id"])
    sent = referrals.filter(pl.col("direction") == "sent").with_columns(pl.col("sent_on").str.to_date())
    known = partnership.truth.select(pl.col("partner_id").alias("other_partner"), "truth_person").unique()
    lost = sent.filter(pl.col("other_partner") != "other").join(known, on=["other_partner", "truth_person"], how="anti")
    assert not lost.is_empty()
    onward = sent.join(
        sent, left_on=["truth_person", "other_partner"], right_on=["truth_person", "partner_id"], suffix="_next"
    )
    days = (pl.col("sent_on_next") - pl.col("sent_on")).dt.total_days()
    bounced = onward.filter(days.is_between(0, 30) & (pl.col("other_partner_next") != pl.col("partner_id")))
    assert not bounced.is_empty()


def test_enrolment_comes_again_when_it_has_ended(partnership: Partnership) -> None:
    first = partnership.extracts["harbour_trust", "2026-Q2"]["enrolment"]
    second = partnership.extracts["harbour_trust", "2026-Q3"]["enrolment"]
    again = first.join(second, on="enrolment_number", suffix="_later")
    assert not again.is_empty()
    assert again["ended_on"].is_null().all()
    assert again["ended_on_later"].is_not_null().all()
    assert (again["started_on"] == again["started_on_later"]).all()


def test_stages_are_reached_in_order_with_some_steps_back(partnership: Partnership, agreement: Agreement) -> None:
    order = {code: place for place, code in enumerate(agreement.codelist("stage").values)}
    rows = pl.concat(
        [
            tables["stage_event"].with_columns(pl.lit(partner).alias("partner_id"))
            for (partner, _), tables in partnership.extracts.items()
        ]
    ).with_columns(pl.col("stage").replace_strict(order).alias("place"))
    steps = rows.sort("partner_id", "local_person_id", "programme", "entered_on").with_columns(
        (pl.col("place") - pl.col("place").shift(1).over("partner_id", "local_person_id", "programme")).alias("step")
    )
    forward, back = (steps["step"] == 1).sum(), (steps["step"] == -1).sum()
    assert forward > 10 * back > 0
    assert (forward + back) / steps["step"].drop_nulls().len() > 0.95


def test_total_of_a_whole_swemwbs_form_is_the_sum_of_its_items(partnership: Partnership) -> None:
    tables = partnership.extracts["riverside_nhs", "2026-Q3"]
    forms = tables["assessment"].filter(pl.col("tool") == "swemwbs")
    items = tables["assessment_item"].filter(pl.col("item").str.starts_with("swemwbs"))
    sums = items.group_by("assessment_number").agg(pl.col("score").cast(pl.Int64).sum(), pl.len().alias("items"))
    joined = forms.join(sums, on="assessment_number")
    whole = joined.filter(pl.col("items") == 7)
    assert (whole["total_score"].cast(pl.Int64) == whole["score"]).all()
    assert joined.filter(pl.col("items") < 7)["total_score"].is_null().all()
    assert 0 < len(whole) < len(joined)


def test_nothing_happens_to_the_dead(partnership: Partnership) -> None:
    people = people_of(partnership).drop_nulls("died_on")
    assert not people.is_empty()
    died = people.group_by("partner_id", "local_person_id").agg(pl.col("died_on").min())
    for table, column in (("service_contact", "contacted_on"), ("assessment", "assessed_on")):
        for (partner, _), tables in partnership.extracts.items():
            rows = tables[table].with_columns(pl.lit(partner).alias("partner_id"))
            late = rows.join(died, on=["partner_id", "local_person_id"]).filter(pl.col(column) > pl.col("died_on"))
            assert late.is_empty()


def test_free_text_names_the_person_so_that_a_leak_would_show(partnership: Partnership) -> None:
    tables = partnership.extracts["northgate_skills", "2026-Q3"]
    notes = tables["service_contact"].drop_nulls("notes")
    assert not notes.is_empty()
    assert not notes["notes"].str.contains("{name}", literal=True).any()


def test_written_extract_reads_back_as_it_was_made(partnership: Partnership, tmp_path: Path) -> None:
    folders = write_extracts(partnership, tmp_path / "extracts", tmp_path / "truth")
    assert {(folder.parent.name, folder.name) for folder in folders} == set(partnership.extracts)
    for folder in folders:
        key = (folder.parent.name, folder.name)
        manifest = yaml.safe_load((folder / "manifest.yaml").read_text(encoding="utf-8"))
        assert list(manifest) == ["partner", "period", "agreement_version", "kind", "extracted_on", "tables"]
        for name, frame in partnership.extracts[key].items():
            again = pl.read_csv(folder / f"{name}.csv", infer_schema=False)
            assert again.equals(frame)
            assert manifest["tables"][name] == len(frame)
    assert not list((tmp_path / "extracts").glob("truth*"))
    assert json.loads((tmp_path / "truth" / "facts.json").read_text())["people"] == partnership.facts.people


def test_writing_twice_changes_nothing_and_leaves_nothing_half_done(partnership: Partnership, tmp_path: Path) -> None:
    write_extracts(partnership, tmp_path)
    before = digest_of(tmp_path)
    half = tmp_path / "harbour_trust" / ".2026-Q2.partial"
    half.mkdir()
    (half / "person.csv").write_text("torn")
    write_extracts(partnership, tmp_path)
    assert digest_of(tmp_path) == before
    assert not [path for path in tmp_path.rglob("*") if path.name.endswith(".partial")]


def test_another_agreement_gets_extracts_in_its_own_tables_and_codes(check) -> None:
    other = load_agreement(ROOT / "examples" / "hmis")
    made = generate_partnership(other, seed=3, people=120, periods=["FY2020-22"])
    tables = made.extracts["organization_b", "FY2020-22"]
    assert tuple(tables) == other.contract.table_names
    assert tables["person"].columns == list(other.contract.table("person").column_names)
    people = people_of(made)
    assert (
        people.group_by("truth_person").agg(pl.col("shared_person_number").n_unique())["shared_person_number"].max()
        == 1
    )
    assert people["shared_person_number"].n_unique() == made.facts.people


def test_unknown_period_and_impossible_size_are_refused(agreement: Agreement) -> None:
    with pytest.raises(KeyError):
        generate_partnership(agreement, seed=1, people=10, periods=["1999-Q1"])
    with pytest.raises(ValueError, match="number of people"):
        generate_partnership(agreement, seed=1, people=0)
    with pytest.raises(ValueError, match="at least one"):
        generate_partnership(agreement, seed=1, people=10, periods=[])


def test_three_thousand_people_take_less_than_ten_seconds(agreement: Agreement) -> None:
    start = time.perf_counter()
    generate_partnership(agreement, seed=1, people=3000)
    assert time.perf_counter() - start < 10


def test_package_says_nothing_of_people_in_its_repr(partnership: Partnership) -> None:
    # A frame's repr shows cells, so the facts are what a log may hold; they are counts.
    assert not re.search(r"[0-9]{10}|@", repr(partnership.facts))


def test_persons_alone_are_those_that_the_whole_partnership_has(agreement: Agreement) -> None:
    whole = generate_partnership(agreement, seed=9, people=400)
    alone = generate_persons(agreement, seed=9, people=400)
    latest: dict[tuple[str, str], dict[str, str | None]] = {}
    for (partner, _), tables in whole.extracts.items():
        for row in tables["person"].iter_rows(named=True):
            latest[partner, row["local_person_id"]] = row
    made = {
        (row["partner_id"], row["local_person_id"]): {name: row[name] for name in row if name != "partner_id"}
        for row in alone.rows.iter_rows(named=True)
    }
    assert made == latest
    assert alone.truth.equals(whole.truth)
    assert alone.subgroups.equals(whole.subgroups)


def test_subgroups_say_who_is_a_twin_and_whose_community_shares_few_names(agreement: Agreement) -> None:
    groups = generate_persons(agreement, seed=2, people=4000).subgroups
    twins = groups.filter("twin")
    assert 40 < twins.height < 600
    assert (twins.group_by("household", "birth_year").len()["len"] > 1).mean() > 0.8  # the other may be no client
    dense = set(groups.filter("name_dense")["origin"])
    assert dense == {"pakistani", "bangladeshi", "punjabi", "somali"}
