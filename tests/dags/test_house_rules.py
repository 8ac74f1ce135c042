"""What every DAG keeps to, so that a coordinator can rely on it and Airflow stays quick."""

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol import default_agreement_folder, load_agreement

DAGS = Path(__file__).resolve().parents[2] / "dags"
FILES = sorted(DAGS.glob("*.py"))
LIGHT = {"airflow", "datetime", "json", "logging", "os", "pathlib", "typing"}
HEAVY = {"altair", "duckdb", "great_expectations", "pandas", "polars", "pyarrow", "scipy", "splink"}
RELEASE = "evidence_release"


def intakes(described: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {dag_id: dag for dag_id, dag in described["dags"].items() if dag_id.startswith("intake_")}


def test_every_dag_file_is_read_without_error(described: dict[str, Any]) -> None:
    assert described["errors"] == {}
    assert RELEASE in described["dags"]


def test_each_partner_of_the_agreement_has_its_own_intake(described: dict[str, Any]) -> None:
    partners = load_agreement(default_agreement_folder()).partners
    assert set(intakes(described)) == {f"intake_{partner.id}" for partner in partners}
    for partner in partners:
        dag = described["dags"][f"intake_{partner.id}"]
        assert partner.name in dag["name"]
        assert ("signed" if partner.signatures else "not signed") in dag["tags"]
        assert dag["tasks"]["load_and_receipt"]["outlets"] == [f"linkarms://pool/{partner.id}"]


def test_without_a_compiled_agreement_there_are_no_dags_and_a_message_says_why(
    describe: Callable[[Path], tuple[dict[str, Any], str]], tmp_path: Path
) -> None:
    described, said = describe(tmp_path)
    assert described["dags"] == {}
    assert described["errors"] == {}
    assert "linkarms agreement compile" in said


def test_reading_the_dag_files_takes_less_than_a_second_and_loads_nothing_heavy(described: dict[str, Any]) -> None:
    assert set(described["seconds"]) == {path.name for path in FILES}
    assert max(described["seconds"].values()) < 1
    assert not HEAVY & set(described["imported"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_dag_file_imports_its_own_packages_only_inside_tasks(path: Path) -> None:
    imported = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            imported |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= LIGHT


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_dag_file_hides_a_package_of_the_same_name(path: Path) -> None:
    # Airflow puts the folder at the front of the import path of every task.
    found = importlib.util.find_spec(path.stem)
    assert found is None or Path(str(found.origin)).parent == DAGS


def test_every_dag_tells_a_coordinator_what_it_does_and_what_to_do_when_it_is_red(described: dict[str, Any]) -> None:
    for dag_id, dag in described["dags"].items():
        assert "#### When a step is red" in dag["doc_md"], dag_id
        for task in dag["tasks"].values():
            assert f"**{task['name']}**" in dag["doc_md"], (dag_id, task["name"])
        assert dag["description"], dag_id
        assert dag["tags"], dag_id
        assert dag["owner"] == "coordinator", dag_id


def test_every_dag_runs_once_at_a_time_and_never_for_the_past(described: dict[str, Any]) -> None:
    for dag_id, dag in described["dags"].items():
        assert dag["max_active_runs"] == 1, dag_id
        assert dag["catchup"] is False, dag_id
        assert dag["schedule"] == "None", dag_id


def test_outages_are_tried_again_and_refusals_and_defects_are_not(described: dict[str, Any]) -> None:
    for dag_id, dag in described["dags"].items():
        for task_id, task in dag["tasks"].items():
            assert task["retries"] == 5, (dag_id, task_id)
            assert task["actions"] == {
                "protocol.errors.SubmissionRefused": "fail",
                "protocol.errors.NotYet": "retry",
                "protocol.errors.DefectFound": "fail",
                "protocol.errors.ReleaseRefused": "fail",
                "sqlalchemy.exc.OperationalError": "retry",
                "psycopg.OperationalError": "retry",
                "builtins.ConnectionResetError": "retry",
                "builtins.ValueError": "fail",
            }, (dag_id, task_id)


def test_a_submission_costs_three_tasks_and_none_waits_for_another_submission(described: dict[str, Any]) -> None:
    for dag_id, dag in intakes(described).items():
        tasks = dag["tasks"]
        assert set(tasks) == {"receive", "check", "pseudonymise", "load_and_receipt"}, dag_id
        before = {"check": set(), "pseudonymise": {"check"}, "load_and_receipt": {"pseudonymise"}}
        for task_id, earlier in before.items():
            assert set(tasks[task_id]["upstream"]) == earlier | {"receive"}, (dag_id, task_id)
            # Mapped as a group, each submission has a chain of its own; mapped one by one, a refusal would stop all.
            assert tasks[task_id]["mapped_with_its_group"], (dag_id, task_id)
            assert "label" in tasks[task_id]["label"], (dag_id, task_id)


def test_an_intake_asks_for_a_tick_at_most_and_never_for_words(described: dict[str, Any]) -> None:
    # Airflow keeps parameters in clear, so there is no field into which anybody could write about a person.
    for dag_id, dag in intakes(described).items():
        assert set(dag["params"]) == {"fewer_rows_confirmed"}, dag_id


def test_nothing_is_published_before_a_person_has_approved_with_a_reason(described: dict[str, Any]) -> None:
    tasks = described["dags"][RELEASE]["tasks"]
    assert set(tasks) == {"link_and_mark", "measure", "approve", "publish"}
    assert tasks["approve"]["operator"] == "ApprovalOperator"
    assert "approve" in tasks["publish"]["upstream"]
    assert tasks["approve"]["upstream"] == ["measure"]
    # A field that may not be null is one that Airflow's page insists on.
    assert tasks["approve"]["params"]["reason"]["type"] == "string"
    assert tasks["publish"]["outlets"] == ["linkarms://evidence/release"]


def test_the_form_of_a_release_offers_the_agreements_periods_and_partners(described: dict[str, Any]) -> None:
    agreement = load_agreement(default_agreement_folder())
    params = described["dags"][RELEASE]["params"]
    assert params["periods"]["items"]["enum"] == [period.id for period in agreement.calendar.periods]
    assert params["leave_out"]["values_display"] == {partner.id: partner.name for partner in agreement.partners}
    assert set(described["dags"][RELEASE]["defaults"].values()) == {None}
    for name, schema in params.items():
        assert schema["title"], name
        assert "null" in schema["type"], name
