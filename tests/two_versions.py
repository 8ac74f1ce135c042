"""An agreement with two versions at once, made from the example: what version 2.0 renames, splits, adds and ends."""

import shutil
from pathlib import Path

from protocol.digest import sign_again
from protocol.loading import default_agreement_folder, load_agreement
from protocol.model import Agreement

OLD, NEW = "1.0", "2.0"
CONTRACT = "v2/casework.odcs.yaml"
UPGRADE = "v2/upgrade.yaml"

_VERSIONS = """
versions:
  - {{version: "2.0", first_period: {first_period}}}
  - {{version: "1.0", first_period: 2026-Q1, sunset: {sunset}}}
"""

_ROUTE = """
      - name: entry_route
        businessName: How the client came
        description: Who brought the client to the programme.
        logicalType: string
        required: true
        classification: operational
        examples: [self]
        quality:
          - {type: library, metric: nullValues, unit: percent, mustBeLessOrEqualTo: 5}
        customProperties:
          - {property: treatment, value: keep}
          - {property: codelist, value: entry_route}
          - {property: purposes, value: [joint_evidence]}
          - {property: why, value: Shows by which ways people find help.}
      - name: planned_weeks
        businessName: Planned weeks
        description: Length of the programme as planned at its start.
        logicalType: integer
        logicalTypeOptions: {minimum: 1, maximum: 260}
        required: true
        classification: operational
        examples: [26]
        customProperties:
          - {property: treatment, value: keep}
          - {property: purposes, value: [joint_evidence]}
          - {property: why, value: Shows whether plans are kept.}
"""

_ROUTES = """title: Ways into a programme
codes:
  - {code: self, label: Came by themselves}
  - {code: referred, label: Referred by another organisation}
  - {code: unknown, label: Not known}
  - {code: not_collected, label: Not collected before version 2.0}
"""

_WELLBEING = """
  - name: wellbeing
    businessName: Well-being scores
    description: Scores that clients gave for their own well-being.
    customProperties:
      - {property: personColumn, value: local_person_id}
      - {property: eventDate, value: asked_on}
      - {property: optional, value: true}
    properties:
      - name: wellbeing_number
        businessName: Score number
        description: The partner's own number of the score.
        logicalType: string
        logicalTypeOptions: {maxLength: 40, pattern: '[A-Za-z0-9][A-Za-z0-9/_-]*'}
        primaryKey: true
        primaryKeyPosition: 1
        required: true
        classification: operational
        examples: [W-1]
        customProperties:
          - {property: treatment, value: pseudonymise}
          - {property: form, value: 'a number of letters, digits, hyphens, strokes or underscores, without blanks'}
          - {property: purposes, value: [joint_evidence]}
          - {property: why, value: Tells two scores of one client apart when both are counted.}
      - name: local_person_id
        businessName: Client number
        description: The partner's own number of the client, as in person.
        logicalType: string
        logicalTypeOptions: {maxLength: 40}
        required: true
        classification: direct_identifier
        examples: [HT-004711]
        relationships: [{to: person.local_person_id}]
        customProperties:
          - {property: treatment, value: pseudonymise}
          - {property: purposes, value: [joint_evidence]}
          - {property: why, value: Ties the score to the client it is about.}
      - name: asked_on
        businessName: Asked on
        description: Day on which the client was asked.
        logicalType: date
        required: true
        classification: operational
        examples: ['2026-09-30']
        customProperties:
          - {property: treatment, value: keep}
          - {property: purposes, value: [joint_evidence]}
          - {property: why, value: Places the score in time.}
"""

_UPGRADE = """# How rows of version 1.0 become rows of version 2.0.
from: "1.0"
to: "2.0"
tables:
  enrolment:
    columns:
      end_reason:
        codes: {disengaged: lost_contact}
        others: same
      entry_route: not_collected
      planned_weeks: not_collected
  service_contact:
    columns:
      duration_minutes: minutes
    left_out: [channel]
  wellbeing: not_collected
"""


def write_two_versions(folder: Path, *, first_period: str = "2026-Q3", sunset: str = "2026-11-30") -> Path:
    """Write the agreement, signed by those who signed the example, and return its folder.

    Version 2.0 renames ``service_contact.minutes`` to ``duration_minutes`` (at most 600), ends ``channel``, splits the
    end reason ``disengaged``, adds the required ``entry_route`` (a code) and ``planned_weeks`` (a number) to
    ``enrolment``, and the table ``wellbeing``.
    """
    shutil.copytree(default_agreement_folder(), folder)
    (folder / "v2").mkdir()
    contract = (folder / "v1/casework.odcs.yaml").read_text(encoding="utf-8")
    contacts = contract.index("  - name: service_contact\n")
    contract = contract[:contacts] + _contacts(contract[contacts:])
    place = contract.index("  - name: assessment\n")
    contract = contract[:place].rstrip() + _ROUTE + "\n" + contract[place:] + _WELLBEING
    contract = _once(contract, 'version: "1.0"', 'version: "2.0"')
    (folder / CONTRACT).write_text(contract, encoding="utf-8")
    (folder / UPGRADE).write_text(_UPGRADE, encoding="utf-8")
    (folder / "codelists/entry_route.yaml").write_text(_ROUTES, encoding="utf-8")
    own = folder / "v1/codelists"
    own.mkdir()
    (folder / "codelists/channel.yaml").rename(own / "channel.yaml")
    reasons = folder / "codelists/end_reason.yaml"
    shutil.copy(reasons, own / "end_reason.yaml")
    edit(
        reasons,
        "  - {code: disengaged, label: No longer in contact}\n",
        "  - {code: lost_contact, label: Contact was lost, valid_from: 2026-10-01}\n"
        "  - {code: asked_to_stop, label: Asked to stop}\n",
    )
    edit(
        folder / "agreement.yaml",
        'version: "1.0"\n',
        'version: "2.0"\n' + _VERSIONS.format(first_period=first_period, sunset=sunset),
    )
    sign_again(folder)
    return folder


def load_two_versions(folder: Path, **window: str) -> Agreement:
    """The agreement of :func:`write_two_versions`."""
    return load_agreement(write_two_versions(folder, **window))


def _contacts(contract: str) -> str:
    """The contract from the table of contacts on: one column renamed and narrowed, one gone."""
    starts, ends = contract.index("      - name: channel\n"), contract.index("      - name: minutes\n")
    contract = contract[:starts] + contract[ends:]
    contract = _once(contract, "      - name: minutes\n", "      - name: duration_minutes\n")
    return _once(contract, "{minimum: 0, maximum: 1440}", "{minimum: 0, maximum: 600}").replace(
        "businessName: Minutes\n", "businessName: Length in minutes\n", 1
    )


def edit(path: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file."""
    path.write_text(_once(path.read_text(encoding="utf-8"), old, new), encoding="utf-8")


def _once(text: str, old: str, new: str) -> str:
    assert old in text, old
    return text.replace(old, new, 1)
