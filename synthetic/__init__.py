"""A made-up partnership with planted overlap, errors and faults, and the truth to hold results against.

Nothing here is about anybody: see :mod:`synthetic.people` for the ranges that numbers and addresses come from.
"""

from synthetic.faults import FileFault, PlantedFault, plant_faults, spoil_extract, spoil_file
from synthetic.generate import (
    Partnership,
    Persons,
    generate_partnership,
    generate_persons,
    write_extract,
    write_extracts,
)
from synthetic.hmis import HmisFacts, make_hmis_export
from synthetic.profile import CLEAN, DEFAULT, ROUGH, ErrorProfile
from synthetic.truth import (
    PlantedFacts,
    count_by_number_of_partners,
    count_overlap,
    count_people,
    count_people_by_partner,
    mark_assessments,
)

__all__ = [
    "CLEAN",
    "DEFAULT",
    "ROUGH",
    "ErrorProfile",
    "FileFault",
    "HmisFacts",
    "Partnership",
    "Persons",
    "PlantedFacts",
    "PlantedFault",
    "count_by_number_of_partners",
    "count_overlap",
    "count_people",
    "count_people_by_partner",
    "generate_partnership",
    "generate_persons",
    "make_hmis_export",
    "mark_assessments",
    "plant_faults",
    "spoil_extract",
    "spoil_file",
    "write_extract",
    "write_extracts",
]
