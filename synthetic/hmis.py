"""A made-up export in the HMIS CSV format (FY2026): the same 24 files and headings, and rows about nobody.

Like a hashed export (HashStatus 4) it holds one constant for every name and Social Security number, so that only
PersonalID tells people apart; and like a real one it knows a client under the same PersonalID at several
organisations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from synthetic.draws import Draws, Integers, Texts, as_day, as_text

FIRST_DAY, LAST_DAY = as_day("2019-10-01"), as_day("2022-09-30")

_TAIL = ("DateCreated", "DateUpdated", "UserID", "DateDeleted", "ExportID")
_STAY = ("EnrollmentID", "PersonalID")

HEADINGS: Mapping[str, tuple[str, ...]] = {
    "Affiliation": ("AffiliationID", "ProjectID", "ResProjectID", *_TAIL),
    "Assessment": (
        *("AssessmentID", *_STAY, "AssessmentDate", "AssessmentLocation", "AssessmentType", "AssessmentLevel"),
        *("PrioritizationStatus", *_TAIL),
    ),
    "AssessmentQuestions": (
        *("AssessmentQuestionID", "AssessmentID", *_STAY, "AssessmentQuestionGroup", "AssessmentQuestionOrder"),
        *("AssessmentQuestion", "AssessmentAnswer", *_TAIL),
    ),
    "AssessmentResults": (
        *("AssessmentResultID", "AssessmentID", *_STAY, "AssessmentResultType", "AssessmentResult", *_TAIL),
    ),
    "CEParticipation": ("CEParticipationID", "ProjectID", "AccessPoint", "ReceivesReferrals", *_TAIL),
    "Client": (
        *("PersonalID", "FirstName", "MiddleName", "LastName", "NameSuffix", "NameDataQuality", "SSN"),
        *("SSNDataQuality", "DOB", "DOBDataQuality", "AmIndAKNative", "Asian", "BlackAfAmerican", "HispanicLatinao"),
        *("MidEastNAfrican", "NativeHIPacific", "White", "RaceNone", "AdditionalRaceEthnicity", "VeteranStatus"),
        *(*_TAIL, "Sex"),
    ),
    "CurrentLivingSituation": (
        *("CurrentLivingSitID", *_STAY, "InformationDate", "CurrentLivingSituation", "CLSSubsidyType", "VerifiedBy"),
        *("LocationDetails", *_TAIL),
    ),
    "Disabilities": (
        *("DisabilitiesID", *_STAY, "InformationDate", "DisabilityType", "DisabilityResponse", "DataCollectionStage"),
        *_TAIL,
    ),
    "EmploymentEducation": (
        *("EmploymentEducationID", *_STAY, "InformationDate", "LastGradeCompleted", "SchoolStatus", "Employed"),
        *("EmploymentType", "NotEmployedReason", "DataCollectionStage", *_TAIL),
    ),
    "Enrollment": (
        *("EnrollmentID", "PersonalID", "ProjectID", "EntryDate", "HouseholdID", "RelationshipToHoH"),
        *("LivingSituation", "DateOfEngagement", "MoveInDate", "ReferralSource", *_TAIL),
    ),
    "Event": (
        *("EventID", *_STAY, "EventDate", "Event", "ProbSolDivRRResult", "ReferralCaseManageAfter"),
        *("LocationCrisisOrPHHousing", "ReferralResult", "ResultDate", *_TAIL),
    ),
    "Exit": ("ExitID", *_STAY, "ExitDate", "Destination", "DestinationSubsidyType", "OtherDestination", *_TAIL),
    "Export": (
        *("ExportID", "SourceType", "SourceID", "SourceName", "ExportDate", "ExportStartDate", "ExportEndDate"),
        *("SoftwareName", "SoftwareVersion", "CSVVersion", "ExportPeriodType", "ExportDirective", "HashStatus"),
        "ImplementationID",
    ),
    "Funder": ("FunderID", "ProjectID", "Funder", "GrantID", "StartDate", "EndDate", *_TAIL),
    "HMISParticipation": ("HMISParticipationID", "ProjectID", "HMISParticipationType", *_TAIL),
    "HealthAndDV": (
        *("HealthAndDVID", *_STAY, "InformationDate", "DomesticViolenceSurvivor", "WhenOccurred", "CurrentlyFleeing"),
        *("GeneralHealthStatus", "DataCollectionStage", *_TAIL),
    ),
    "IncomeBenefits": (
        *("IncomeBenefitsID", *_STAY, "InformationDate", "IncomeFromAnySource", "TotalMonthlyIncome", "Earned"),
        *("BenefitsFromAnySource", "DataCollectionStage", *_TAIL),
    ),
    "Inventory": ("InventoryID", "ProjectID", "CoCCode", "HouseholdType", "BedInventory", *_TAIL),
    "Organization": (
        *("OrganizationID", "OrganizationName", "VictimServiceProvider", "OrganizationCommonName", *_TAIL),
    ),
    "Project": (
        *("ProjectID", "OrganizationID", "ProjectName", "ProjectCommonName", "OperatingStartDate"),
        *("OperatingEndDate", "ContinuumProject", "ProjectType", *_TAIL),
    ),
    "ProjectCoC": ("ProjectCoCID", "ProjectID", "CoCCode", "Geocode", *_TAIL),
    "Services": (
        *("ServicesID", *_STAY, "DateProvided", "RecordType", "TypeProvided", "FAAmount", "ReferralOutcome", *_TAIL),
    ),
    "User": ("UserID", "UserFirstName", "UserLastName", "UserEmail", *_TAIL),
    "YouthEducationStatus": (
        *("YouthEducationStatusID", *_STAY, "InformationDate", "CurrentSchoolAttend", "DataCollectionStage", *_TAIL),
    ),
}
"""File name without ``.csv`` -> headings. Those that no mapping here reads are cut short."""

DESTINATIONS = {"410": 5.0, "435": 2.0, "101": 1.0, "215": 0.5, "312": 1.0, "17": 0.6, "24": 0.2, "99": 0.5}
"""Codes of where people go, with their weights: for good, homeless, an institution, for a time, elsewhere, dead."""

HASHED = "0f" * 16
"""What a hashed export has for every name and number."""


@dataclass(frozen=True)
class HmisFacts:
    """What is in a made-up export."""

    clients: int
    clients_by_organization: dict[str, int]
    """OrganizationID -> clients with an enrolment in one of its projects."""
    shared_by_pair: dict[str, int]
    """``4+6`` -> clients enrolled at both."""
    enrollments: int
    placed_referrals: int
    """Referral events that name the project that was to take the person in."""


def make_hmis_export(
    folder: Path, *, clients: int = 200, seed: int = 1, organizations: Sequence[str] = ("4", "6", "96")
) -> HmisFacts:
    """Write an export to ``folder`` (made where it is missing) and say what is in it.

    :param organizations: OrganizationIDs; each gets three projects of different types.
    """
    draws = Draws(seed, "hmis")
    project_id, project_type, owner = _projects(organizations)
    weights = np.ones((clients, len(organizations)))
    weights[:, -1] = 2.0
    known = draws.pick_columns(weights, 1 + draws.positions([0.86, 0.11, 0.03], clients))
    person, organization = (found.astype(np.int64) for found in np.nonzero(known))
    again = np.flatnonzero(draws.chance(0.12, len(person)))
    person, organization = np.concatenate([person, person[again]]), np.concatenate([organization, organization[again]])
    n = len(person)
    project = organization * 3 + draws.integers(0, 2, n)
    personal_id = np.array([str(1_000_000 + 7 * number) for number in range(clients)], dtype=object)
    enrollment_id = np.array([str(800_000 + number) for number in range(n)], dtype=object)
    entry = draws.integers(FIRST_DAY - 200, LAST_DAY - 20, n)
    left = draws.chance(0.85, n)
    leaving = entry + draws.integers(0, 300, n)
    stay = {"EnrollmentID": enrollment_id, "PersonalID": personal_id[person]}

    files: dict[str, dict[str, Texts]] = {
        "Organization": {
            "OrganizationID": np.array(organizations, dtype=object),
            "OrganizationName": np.array([f"Organization {number}" for number in organizations], dtype=object),
            "VictimServiceProvider": _constant("0", len(organizations)),
        },
        "Project": {
            "ProjectID": project_id,
            "OrganizationID": np.array(organizations, dtype=object)[owner],
            "ProjectName": np.array([f"Project {number}" for number in project_id], dtype=object),
            "ProjectType": project_type,
        },
        "Client": _clients(draws, personal_id),
        "Enrollment": {
            **stay,
            "ProjectID": project_id[project],
            "EntryDate": as_text(entry),
            "HouseholdID": np.array([f"h_{number}" for number in enrollment_id], dtype=object),
            "RelationshipToHoH": _constant("1", n),
            "MoveInDate": as_text(entry + draws.integers(0, 20, n), draws.chance(0.25, n)),
        },
        "Exit": {
            name: values[left]
            for name, values in {
                "ExitID": enrollment_id,
                **stay,
                "ExitDate": as_text(leaving),
                "Destination": draws.choose(
                    {"410": 5, "435": 2, "101": 1, "215": 0.5, "312": 1, "17": 0.6, "24": 0.2, "99": 0.5}, n
                ),
            }.items()
        },
        "Export": {
            "ExportID": _constant("1", 1),
            "ExportDate": _constant("2022-10-05 08:00:00", 1),
            "ExportStartDate": _constant("2019-10-01", 1),
            "ExportEndDate": _constant("2022-09-30", 1),
            "CSVVersion": _constant("2026 v1", 1),
            "HashStatus": _constant("4", 1),
        },
    }
    files |= _interviews(draws, stay, entry, leaving, left)
    events, placed = _events(draws, stay, entry, project_id)
    files |= events
    for name, headings in HEADINGS.items():
        _write_file(folder / f"{name}.csv", headings, files.get(name, {}))

    at = {(int(p), organizations[int(o)]) for p, o in zip(person, organization, strict=True)}
    by_organization = {o: {p for p, other in at if other == o} for o in organizations}
    return HmisFacts(
        clients=clients,
        clients_by_organization={o: len(people) for o, people in by_organization.items()},
        shared_by_pair={
            f"{a}+{b}": len(by_organization[a] & by_organization[b])
            for place, a in enumerate(organizations)
            for b in organizations[place + 1 :]
        },
        enrollments=n,
        placed_referrals=placed,
    )


def _projects(organizations: Sequence[str]) -> tuple[Texts, Texts, Integers]:
    types = ("0", "12", "13")
    ids = [str(1000 + 10 * place + number) for place in range(len(organizations)) for number in range(3)]
    owner = np.repeat(np.arange(len(organizations)), 3)
    return np.array(ids, dtype=object), np.array(types * len(organizations), dtype=object), owner


def _clients(draws: Draws, personal_id: Texts) -> dict[str, Texts]:
    n = len(personal_id)
    birth = draws.integers(as_day("1940-01-01"), as_day("2015-12-31"), n)
    quality = draws.choose({"1": 95, "2": 2, "99": 3}, n)
    races = ("AmIndAKNative", "Asian", "BlackAfAmerican", "HispanicLatinao", "MidEastNAfrican", "NativeHIPacific")
    main = draws.positions([1, 1, 5, 3, 1, 1, 9], n)
    ticked = {
        name: np.where((main == place) | draws.chance(0.02, n), "1", "0").astype(object)
        for place, name in enumerate((*races, "White"))
    }
    return {
        "PersonalID": personal_id,
        "FirstName": _constant(HASHED, n),
        "LastName": _constant(HASHED, n),
        "NameDataQuality": _constant("1", n),
        "SSN": _constant(HASHED, n),
        "SSNDataQuality": _constant("1", n),
        "DOB": as_text(birth, np.array([value != "99" for value in quality], dtype=np.bool_)),
        "DOBDataQuality": quality,
        **ticked,
        "Sex": draws.choose({"0": 48, "1": 48, "8": 1, "9": 1, "99": 2}, n),
        "DateUpdated": _constant("03-11-21", n),
    }


def _interviews(
    draws: Draws, stay: dict[str, Texts], entry: Integers, leaving: Integers, left: np.ndarray
) -> dict[str, dict[str, Texts]]:
    """Income, work and health: at entry for all, at an update for some, at exit for those who left."""
    n = len(entry)
    updated = draws.chance(0.15, n)
    rows = np.concatenate([np.arange(n), np.flatnonzero(updated), np.flatnonzero(left)])
    stage = np.array(["1"] * n + ["2"] * int(updated.sum()) + ["3"] * int(left.sum()), dtype=object)
    day = np.where(stage == "1", entry[rows], np.where(stage == "3", leaving[rows], entry[rows] + 30))
    number = np.array([f"{s}_{place}" for place, s in enumerate(stage)], dtype=object)

    def answers(yes: float) -> Texts:
        return draws.choose({"1": yes, "0": 0.75 - yes, "99": 0.05, "": 0.2}, len(rows))

    common = {
        **{name: values[rows] for name, values in stay.items()},
        "InformationDate": as_text(day),
        "DataCollectionStage": stage,
    }
    return {
        "IncomeBenefits": {**common, "IncomeBenefitsID": number, "IncomeFromAnySource": answers(0.4)},
        "EmploymentEducation": {**common, "EmploymentEducationID": number, "Employed": answers(0.25)},
        "HealthAndDV": {**common, "HealthAndDVID": number, "DomesticViolenceSurvivor": answers(0.2)},
    }


def _events(
    draws: Draws, stay: dict[str, Texts], entry: Integers, project_id: Texts
) -> tuple[dict[str, dict[str, Texts]], int]:
    """Coordinated entry assessments and referrals, services and contacts in the street."""
    n = len(entry)

    def some(share: float) -> Integers:
        return np.flatnonzero(draws.chance(share, n))

    def about(rows: Integers) -> dict[str, Texts]:
        return {name: values[rows] for name, values in stay.items()}

    def numbers(rows: Integers, start: int) -> Texts:
        return np.array([str(start + place) for place in range(len(rows))], dtype=object)

    assessed, referred, served, met = some(0.12), some(0.2), np.repeat(some(0.4), 2), some(0.1)
    result = draws.choose({"1": 4, "2": 1, "3": 1, "": 3}, len(referred))
    answered = np.array([value != "" for value in result], dtype=np.bool_)
    kind = draws.choose({"2": 1, "3": 1, "4": 2, "10": 1, "13": 4}, len(referred))
    place = project_id[draws.integers(0, len(project_id) - 1, len(referred))]
    named = np.array([value in {"10", "13"} for value in kind], dtype=np.bool_) & draws.chance(0.7, len(referred))
    place[~named] = None
    files: dict[str, dict[str, Texts]] = {
        "Assessment": {
            **about(assessed),
            "AssessmentID": numbers(assessed, 4_100_000),
            "AssessmentDate": as_text(entry[assessed] + draws.integers(0, 15, len(assessed))),
            "AssessmentType": _constant("3", len(assessed)),
            "AssessmentLevel": draws.choose({"1": 1, "2": 5}, len(assessed)),
        },
        "Event": {
            **about(referred),
            "EventID": numbers(referred, 4_200_000),
            "EventDate": as_text(entry[referred]),
            "Event": kind,
            "LocationCrisisOrPHHousing": place,
            "ReferralResult": result,
            "ResultDate": as_text(entry[referred] + draws.integers(0, 30, len(referred)), answered),
        },
        "Services": {
            **about(served),
            "ServicesID": numbers(served, 4_600_000),
            "DateProvided": as_text(entry[served] + draws.integers(0, 60, len(served))),
            "RecordType": draws.choose({"144": 6, "152": 3, "200": 1}, len(served)),
            "TypeProvided": _constant("2", len(served)),
        },
        "CurrentLivingSituation": {
            **about(met),
            "CurrentLivingSitID": numbers(met, 1),
            "InformationDate": as_text(entry[met]),
            "CurrentLivingSituation": _constant("116", len(met)),
        },
    }
    return files, int(named.sum())


def _constant(value: str, n: int) -> Texts:
    return np.full(n, value, dtype=object)


def _write_file(path: Path, headings: tuple[str, ...], cells: Mapping[str, Texts]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = len(next(iter(cells.values()))) if cells else 0
    frame = pl.DataFrame(
        {
            name: pl.Series(cells[name].tolist() if name in cells else [None] * rows, dtype=pl.String)
            for name in headings
        }
    )
    partial = path.with_name(f".{path.name}.partial")
    frame.write_csv(partial)
    partial.rename(path)
