"""Prints, as JSON, what Airflow itself makes of the DAG files. Run in a process of its own, since Airflow reads its
settings once for all when it is first imported.

Usage: ``describe_dags.py <dags folder>``, with ``AIRFLOW_HOME`` and ``LINKARMS_HOME`` in the environment.
"""

import contextlib
import importlib
import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

FAILURES = (
    "protocol.errors.SubmissionRefused",
    "protocol.errors.NotYet",
    "protocol.errors.DefectFound",
    "protocol.errors.ReleaseRefused",
    "sqlalchemy.exc.OperationalError",
    "psycopg.OperationalError",
    "builtins.ConnectionResetError",
    "builtins.ValueError",
)


def describe_task(task: Any) -> dict[str, Any]:
    """The properties of one task that the house rules are about."""
    partial = getattr(task, "partial_kwargs", {})
    policy = partial.get("retry_policy") if partial else task.retry_policy
    return {
        "operator": type(task).__name__,
        "name": task.task_display_name,
        "owner": task.owner,
        "retries": task.retries,
        "actions": {path: evaluate(policy, path) for path in FAILURES},
        "outlets": [outlet.uri for outlet in task.outlets],
        "upstream": sorted(task.upstream_task_ids),
        "mapped_with_its_group": task.get_closest_mapped_task_group() is not None,
        "label": partial.get("map_index_template") if partial else task.map_index_template,
        "params": {name: task.params.get_param(name).schema for name in task.params}
        if type(task).__name__ == "ApprovalOperator"
        else {},
    }


def evaluate(policy: Any, path: str) -> str:
    """What the policy decides about an exception of that class."""
    from airflow.sdk.module_loading import import_string

    cls = import_string(path)
    error = cls("select 1", {}, Exception("gone")) if path.startswith("sqlalchemy") else cls("made up")
    return str(policy.evaluate(error, 1, 5).action.value)


def time_import(path: Path) -> float:
    """Processor seconds of a first import of the file, Airflow itself being there already."""
    spec = importlib.util.spec_from_file_location(f"timed_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    began = time.process_time()
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return time.process_time() - began


def main(folder: Path) -> dict[str, Any]:
    """Everything about the folder's DAGs."""
    importlib.import_module("airflow.providers.standard.operators.hitl")
    from airflow.dag_processing.dagbag import DagBag

    before = set(sys.modules)
    seconds = {path.name: time_import(path) for path in sorted(folder.glob("*.py"))}
    bag = DagBag(dag_folder=str(folder))
    imported = sorted({name.partition(".")[0] for name in set(sys.modules) - before})
    return {
        "errors": {Path(path).name: text for path, text in bag.import_errors.items()},
        "seconds": seconds,
        "imported": imported,
        "dags": {
            dag_id: {
                "name": dag.dag_display_name,
                "description": dag.description,
                "doc_md": dag.doc_md,
                "tags": sorted(dag.tags),
                "owner": dag.owner,
                "catchup": dag.catchup,
                "max_active_runs": dag.max_active_runs,
                "schedule": str(dag.schedule),
                "params": {name: dag.params.get_param(name).schema for name in dag.params},
                "defaults": {name: dag.params.get_param(name).value for name in dag.params},
                "tasks": {task.task_id: describe_task(task) for task in dag.tasks},
            }
            for dag_id, dag in sorted(bag.dags.items())
        },
    }


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        described = main(Path(sys.argv[1]))
    sys.stdout.write(json.dumps(described))
