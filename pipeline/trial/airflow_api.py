"""The few things that the trial asks of Airflow's API (version 2), each as the coordinator or administrator would."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx

from protocol.errors import LinkarmsError, NotYet

FINISHED_RUN = frozenset({"success", "failed"})


@dataclass(frozen=True)
class TaskState:
    """One task of one run as it stands."""

    dag_id: str
    run_id: str
    task_id: str
    label: str
    """What Airflow's pages call it, with the submission's label where the task is mapped."""
    map_index: int
    mapped_label: str
    """The submission's label alone, empty where the task is not mapped."""
    try_number: int
    state: str | None
    seconds: float | None
    """How long it ran, or has run so far."""


class AirflowApi:
    """A logged-in client. Refused calls raise :class:`LinkarmsError` with Airflow's own words."""

    def __init__(self, client: httpx.Client, user: str) -> None:
        """Use :func:`log_in`; the client carries the token."""
        self._client = client
        self.user = user
        self._names: dict[str, dict[str, str]] = {}

    # --- DAGs and runs ----------------------------------------------------------------------------------------------

    def list_dags(self) -> list[str]:
        """Ids of all DAGs that the DAG processor has read."""
        return sorted(dag["dag_id"] for dag in self._get("dags", limit=100)["dags"])

    def list_import_errors(self) -> list[str]:
        """What is wrong with DAG files, as Airflow shows it on its home page."""
        return [f"{entry['filename']}: {entry['stack_trace']}" for entry in self._get("importErrors")["import_errors"]]

    def await_dags(self, wanted: set[str], *, seconds: float = 90) -> None:
        """Wait until these DAGs are there; :class:`NotYet` with what is missing if they never are."""
        deadline = time.monotonic() + seconds
        while missing := wanted - set(self.list_dags()):
            if errors := self.list_import_errors():
                raise LinkarmsError(f"A DAG file cannot be read. {errors[0]}")
            if time.monotonic() > deadline:
                raise NotYet(f"Airflow has not read these DAGs yet: {', '.join(sorted(missing))}.")
            time.sleep(0.5)

    def unpause(self, dag_id: str) -> None:
        """Let a DAG run."""
        self._send("PATCH", f"dags/{dag_id}", {"is_paused": False})

    def trigger(self, dag_id: str, *, conf: Mapping[str, Any] | None = None, note: str | None = None) -> str:
        """Start a run by hand and return its id. ``conf`` are the form's fields."""
        body = {"logical_date": None, "conf": dict(conf or {}), "note": note}
        return str(self._send("POST", f"dags/{dag_id}/dagRuns", body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """``queued``, ``running``, ``success`` or ``failed``."""
        return str(self._get(f"dags/{dag_id}/dagRuns/{run_id}")["state"])

    def list_unfinished_runs(self) -> list[tuple[str, str]]:
        """DAG and run ids of everything queued or running."""
        runs = self._get("dags/~/dagRuns", state=["queued", "running"], limit=100)["dag_runs"]
        return [(run["dag_id"], run["dag_run_id"]) for run in runs]

    def fail_run(self, dag_id: str, run_id: str) -> None:
        """End a run that nobody is going to finish."""
        self._send("PATCH", f"dags/{dag_id}/dagRuns/{run_id}", {"state": "failed"})

    def list_tasks(self, dag_id: str, run_id: str) -> list[TaskState]:
        """Every task of a run, mapped ones one by one."""
        names = self._task_names(dag_id)
        found: list[dict[str, Any]] = []
        while True:
            page = self._get(f"dags/{dag_id}/dagRuns/{run_id}/taskInstances", limit=100, offset=len(found))
            found += page["task_instances"]
            if len(found) >= page["total_entries"] or not page["task_instances"]:
                return [_read_task(entry, names) for entry in found]

    def _task_names(self, dag_id: str) -> dict[str, str]:
        """Display name by task id. Airflow 3.3 keeps the name of the first mapped task only in its own rows."""
        if dag_id not in self._names:
            tasks = self._get(f"dags/{dag_id}/tasks")["tasks"]
            self._names[dag_id] = {task["task_id"]: task["task_display_name"] for task in tasks}
        return self._names[dag_id]

    def read_xcom(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> Any:
        """What a task returned."""
        path = f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/return_value"
        return self._get(path, map_index=map_index, deserialize=True)["value"]

    def read_failure(self, task: TaskState) -> tuple[str, str]:
        """Name and message of the exception that ended a task, from its log; where it has none, its state."""
        path = f"dags/{task.dag_id}/dagRuns/{task.run_id}/taskInstances/{task.task_id}/logs/{max(task.try_number, 1)}"
        lines = self._get(path, map_index=task.map_index, full_content=True).get("content", [])
        for line in reversed(lines):
            if isinstance(line, dict) and line.get("error_detail"):
                cause = line["error_detail"][0]
                return str(cause["exc_type"]), str(cause["exc_value"])
        return str(task.state), "its log names no cause"

    # --- approvals and the audit log ----------------------------------------------------------------------------------

    def answer_request(self, dag_id: str, run_id: str, task_id: str, *, approve: bool, reason: str) -> dict[str, Any]:
        """Approve or reject with a reason, as the logged-in person."""
        body = {"chosen_options": ["Approve" if approve else "Reject"], "params_input": {"reason": reason}}
        return self._send("PATCH", f"dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/-1/hitlDetails", body)

    def list_audit_events(self, *, dag_id: str, event: str | None = None) -> list[dict[str, Any]]:
        """Entries of Airflow's audit log about a DAG, newest first."""
        wanted: dict[str, Any] = {"dag_id": dag_id, "order_by": "-when", "limit": 100}
        if event:
            wanted["event"] = event
        events: list[dict[str, Any]] = self._get("eventLogs", **wanted)["event_logs"]
        return events

    # --- transport ----------------------------------------------------------------------------------------------

    def _get(self, path: str, **query: Any) -> dict[str, Any]:
        return _read_answer(self._client.get(path, params=query))

    def _send(self, method: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return _read_answer(self._client.request(method, path, json=body))


@contextmanager
def log_in(url: str, user: str, password: str) -> Iterator[AirflowApi]:
    """Log in by name and password and yield the client, which is closed at the end.

    Raises:
        LinkarmsError: the name or password is wrong.
    """
    # Proxies of the environment are not asked: the trial's Airflow is on this machine.
    with httpx.Client(base_url=url, trust_env=False, timeout=30) as client:
        answer = _read_answer(client.post("/auth/token", json={"username": user, "password": password}))
        client.headers["Authorization"] = f"Bearer {answer['access_token']}"
        client.base_url = httpx.URL(f"{url}/api/v2/")
        yield AirflowApi(client, user)


def _read_answer(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        try:
            detail = response.json().get("detail", "")
        except ValueError:
            detail = ""
        raise LinkarmsError(f"Airflow refused {response.request.url.path} ({response.status_code}). {detail}")
    answer: dict[str, Any] = response.json()
    return answer


def _read_task(entry: Mapping[str, Any], names: Mapping[str, str]) -> TaskState:
    name = names.get(entry["task_id"], entry["task_id"])
    mapped = entry.get("rendered_map_index") or ""
    return TaskState(
        dag_id=entry["dag_id"],
        run_id=entry["dag_run_id"],
        task_id=entry["task_id"],
        label=f"{name} {mapped}" if mapped else name,
        map_index=entry["map_index"],
        mapped_label=mapped,
        try_number=entry["try_number"],
        state=entry["state"],
        seconds=entry["duration"],
    )
