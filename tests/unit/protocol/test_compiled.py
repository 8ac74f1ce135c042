import json
from pathlib import Path

from protocol.compiled import compile_for_dags, write_compiled
from protocol.model import Agreement


def test_compiled_agreement_says_who_has_signed_and_when_a_period_is_open(example: Agreement) -> None:
    compiled = compile_for_dags(example)
    assert {partner["id"]: partner["signed"] for partner in compiled["partners"]} == {
        "bridge_housing": True,
        "castle_borough": True,
        "harbour_trust": True,
        "jobcentre_east": True,
        "lantern_youth": False,
        "northgate_skills": True,
        "riverside_nhs": True,
    }
    assert compiled["periods"][1] == {
        "id": "2026-Q2",
        "starts": "2026-04-01",
        "ends": "2026-06-30",
        "opens": "2026-06-30",
        "closes": "2027-06-30",
    }
    assert compiled["digest"] == example.digest


def test_compiled_file_is_small_plain_json_and_the_same_every_time(example: Agreement, tmp_path: Path) -> None:
    path = tmp_path / "compiled" / "agreement.json"
    write_compiled(example, path)
    first = path.read_bytes()
    write_compiled(example, path)
    assert path.read_bytes() == first
    assert json.loads(first) == compile_for_dags(example)
    assert len(first) < 10_000
    assert [entry.name for entry in path.parent.iterdir()] == ["agreement.json"]


def test_compiled_file_names_nobody_to_write_to(example: Agreement) -> None:
    text = json.dumps(compile_for_dags(example))
    assert "@" not in text
    assert "contacts" not in text
