"""The main job on one machine: extracts into inboxes, Airflow takes them in, a person approves, evidence is published.

Everything goes the way it would in production: the DAGs are triggered and the approval is given through Airflow's API
by the coordinator, and nothing here calls a step itself. A demo that was killed can be run again: the same extracts
change nothing, and runs that it left unfinished are ended first.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.files import read_json, remove_folder
from pipeline.set_up import set_up_trial
from pipeline.settings import Settings
from pipeline.summary import print_summary
from pipeline.trial.airflow_api import FINISHED_RUN, AirflowApi, TaskState, log_in
from pipeline.trial.supervisor import (
    Report,
    Trial,
    find_trial,
    measure_memory,
    start_airflow,
    start_database,
    stop_airflow,
)
from protocol import load_agreement
from protocol.errors import LinkarmsError, NotYet
from warehouse.server import EmbeddedServer

SEED = 20260401
PEOPLE = 3000
SYNTHETIC_PERIODS = 2
"""How many periods the synthetic extracts are of: the latest that may be submitted today."""
REASON = "Demonstration: the figures on the approval page were read and may be published."
RELEASE = "evidence_release"
POLL_SECONDS = 1.0
SECONDS_TO_READ = 4.0
"""How long the demo's coordinator looks at the approval page."""
WRITTEN = ("airflow", "compiled", "inbox", "logs", "outbox", "releases", "run", "secrets", "synthetic", "work")
"""Folders below the home that Linkarms makes; nothing else there is ever removed."""
LIMIT_SECONDS = 1800
"""After this long without an end the demo gives up, saying what it waits for."""

TOLD = {
    "success": "done",
    "failed": "FAILED",
    "up_for_retry": "will be tried again",
    "awaiting_input": "waits for a person",
    "skipped": "skipped",
}
"""The states of a task that are worth a line."""


@dataclass(frozen=True)
class DemoResult:
    """What the demo did."""

    release: Mapping[str, Any]
    """What the release's last step gave back: paths and identifiers of the published release."""
    refused: tuple[str, ...]
    """Submissions that were refused at their check, ``partner label``."""
    seconds: float


@dataclass(frozen=True)
class Staged:
    """An extract that is to be dropped."""

    partner: str
    source: Path
    """A folder or zip."""
    name: str
    """What it is called in the inbox."""


def run_demo(
    settings: Settings,
    *,
    extracts: Path | None = None,
    period: str | None = None,
    people: int = PEOPLE,
    seed: int = SEED,
    keep: bool = False,
    report: Report = print,
) -> DemoResult:
    """Run the whole way once.

    :param extracts: a folder with one subfolder per partner (each with what that partner drops), or one export (a
        folder or zip) that is dropped for every partner; a synthetic partnership is made where it is None.
    :param period: the period that one export for every partner is about; the agreement's only one by default.
    :param people: how many people the synthetic partnership has.
    :param seed: of the synthetic partnership; the same seed makes the same extracts.
    :param keep: leave Airflow and the database running at the end.
    :param report: takes each line of progress and of the summary.

    Raises:
        LinkarmsError: a run failed for another reason than a refused submission, or no audit entry names the approval.
        NotYet: something did not come up or end in time.
    """
    clock = _Clock(report)
    _claim_home(settings, synthetic=extracts is None)
    try:
        prepare(settings, report=clock.tell)
        with ThreadPoolExecutor(max_workers=1) as beside:
            # Making people takes one core and starting Airflow the other.
            starting = beside.submit(start_airflow, settings, report=clock.tell)
            staged = stage_extracts(settings, extracts, period, people, seed, clock.tell)
            trial = starting.result()
        drop_extracts(settings, staged, clock.tell)
        with log_in(trial.url, "coordinator", trial.logins["coordinator"]) as airflow:
            refused = _take_in(airflow, settings, sorted({extract.partner for extract in staged}), clock)
            release = _release(airflow, clock)
        clock.tell(f"Airflow used {measure_memory(settings.home) / 1e6:,.0f} MB of memory")
        truth = truth_folder(settings) if extracts is None else None
        print_summary(settings, truth=truth, say=report)
    finally:
        if not keep:
            stop_airflow(settings, report=clock.tell)
        _mark(settings).unlink(missing_ok=True)
    clock.tell("Finished")
    return DemoResult(release, refused, clock.seconds())


def _mark(settings: Settings) -> Path:
    """There while a demo runs, and after one that was killed."""
    return settings.home / "run" / "demo"


def _claim_home(settings: Settings, *, synthetic: bool) -> None:
    """Refuse a home that somebody works in: the demo ends runs, drops extracts and stops Airflow as if alone there."""
    running = find_trial(settings.home)
    if running is not None and running.serves(settings) and not _mark(settings).exists():
        raise LinkarmsError(
            f"Airflow runs here already, at {running.url}. Stop it first with `make down`, or give the demo a home of "
            "its own: LINKARMS_HOME=<folder> make demo."
        )
    if synthetic and not truth_folder(settings).exists() and any((settings.home / "outbox").glob("*/*")):
        raise LinkarmsError(
            f"{settings.home} holds submissions that are not the demo's. Give the demo a home of its own: "
            "LINKARMS_HOME=<folder> make demo."
        )
    _mark(settings).parent.mkdir(parents=True, exist_ok=True)
    _mark(settings).touch()


def start_trial(settings: Settings, *, report: Report = print) -> Trial:
    """Start everything and leave it running; tells the address and the log-in."""
    prepare(settings, report=report)
    trial = start_airflow(settings, report=report)
    with log_in(trial.url, "coordinator", trial.logins["coordinator"]) as airflow:
        airflow.await_dags(_expected_dags(settings))
    report(f"Airflow: {trial.url}")
    for name, password in trial.logins.items():
        report(f"  log in as {name} with the password {password}")
    report(f"Inboxes: {settings.home / 'inbox'}/<partner>/")
    return trial


def wipe_trial(settings: Settings, *, report: Report = print) -> None:
    """Stop everything and delete all that Linkarms has written below its home."""
    stop_airflow(settings, report=report)
    EmbeddedServer(settings.home).wipe()
    for name in WRITTEN:
        remove_folder(settings.home / name)
    report(f"Removed what Linkarms has written below {settings.home}")


def prepare(settings: Settings, *, report: Report = print) -> None:
    """Start the database and set it up as the agreement says, and compile the DAGs; twice changes nothing."""
    start_database(settings)
    agreement = set_up_trial(settings, today=datetime.now(UTC).date())
    report(f"PostgreSQL runs and is set up for agreement {agreement.version}: {agreement.title}")


# --- the parts ----------------------------------------------------------------------------------------------------


def _take_in(airflow: AirflowApi, settings: Settings, partners: Sequence[str], clock: "_Clock") -> tuple[str, ...]:
    """Trigger every partner's intake, follow them to the end, and return what was refused."""
    airflow.await_dags(_expected_dags(settings))
    for dag_id, run_id in airflow.list_unfinished_runs():
        clock.tell(f"Ending a run that an earlier demo left unfinished: {dag_id}")
        airflow.fail_run(dag_id, run_id)
    names = {partner["id"]: partner["name"] for partner in read_json(settings.compiled_agreement)["partners"]}
    runs = {}
    for partner in partners:
        dag_id = f"intake_{partner}"
        airflow.unpause(dag_id)
        runs[dag_id] = airflow.trigger(dag_id, note="Started by the demo.")
    clock.tell(f"Airflow takes in the submissions of {len(runs)} partners")
    titles = {f"intake_{partner}": names[partner] for partner in partners}
    _follow(airflow, runs, titles, clock)

    refused = []
    for dag_id, run_id in runs.items():
        for task in airflow.list_tasks(dag_id, run_id):
            if task.state == "failed":
                kind, message = airflow.read_failure(task)
                if kind != "SubmissionRefused":
                    raise LinkarmsError(f"{titles[dag_id]}, {task.label}: {kind}. {message}")
                clock.tell(f"{titles[dag_id]}: refused. {message}")
                refused.append(f"{dag_id.removeprefix('intake_')} {task.mapped_label}")
    return tuple(refused)


def _release(airflow: AirflowApi, clock: "_Clock") -> dict[str, Any]:
    """Trigger the release, approve it as the coordinator, check the audit log, and return what publishing gave."""
    airflow.unpause(RELEASE)
    runs = {RELEASE: airflow.trigger(RELEASE, note="Started by the demo.")}
    titles = {RELEASE: "Evidence release"}
    run_id = runs[RELEASE]
    told: dict[tuple[str, str, int], str] = {}
    answered = 0
    while True:
        asked = _follow(airflow, runs, titles, clock, until=partial(_asks, answered), told=told)
        if asked is None:
            break
        # Airflow 3.3 takes an answer that comes before its executor has put the task away for a fault, and asks again.
        time.sleep(SECONDS_TO_READ)
        airflow.answer_request(RELEASE, run_id, "approve", approve=True, reason=REASON)
        answered = asked.try_number
        clock.tell(f"Approved through Airflow's API as {airflow.user}")
    for task in airflow.list_tasks(RELEASE, run_id):
        if task.state == "failed":
            kind, message = airflow.read_failure(task)
            raise LinkarmsError(f"The release stopped at {task.label}: {kind}. {message}")
    approvals = [
        event
        for event in airflow.list_audit_events(dag_id=RELEASE, event="update_hitl_detail")
        if event["run_id"] == run_id and event["owner"] == airflow.user and REASON in (event["extra"] or "")
    ]
    if not approvals:
        raise LinkarmsError("Airflow's audit log does not hold the approval.")
    clock.tell(f"Airflow's audit log has it as entry {approvals[0]['event_log_id']}, by {approvals[0]['owner']}")
    published: dict[str, Any] = airflow.read_xcom(RELEASE, run_id, "publish")
    return published


def _asks(answered: int, task: TaskState) -> bool:
    """Whether the task waits for an approval that was not given at an earlier try."""
    return task.task_id == "approve" and task.state == "awaiting_input" and task.try_number > answered


def _follow(
    airflow: AirflowApi,
    runs: Mapping[str, str],
    titles: Mapping[str, str],
    clock: "_Clock",
    *,
    until: Callable[[TaskState], bool] = lambda _task: False,
    told: dict[tuple[str, str, int], str] | None = None,
) -> TaskState | None:
    """Tell each change of a task's state until all runs have ended, or ``until`` holds for a task, which is returned.

    ``told`` are the states told so far, kept between calls.
    """
    told = {} if told is None else told
    deadline = time.monotonic() + LIMIT_SECONDS
    open_runs = dict(runs)
    while open_runs:
        for dag_id, run_id in list(open_runs.items()):
            # The run's state first: what it then shows of its tasks is final if the run is.
            ended = airflow.run_state(dag_id, run_id) in FINISHED_RUN
            reached = None
            for task in airflow.list_tasks(dag_id, run_id):
                key = (dag_id, task.task_id, task.map_index)
                if task.state in TOLD and told.get(key) != task.state:
                    told[key] = task.state
                    took = f" ({task.seconds:.1f} s)" if task.state == "success" and task.seconds else ""
                    title = titles[dag_id] if len(titles[dag_id]) <= 26 else titles[dag_id][:25] + "…"
                    clock.tell(f"{title:<26}  {task.label:<34}  {TOLD[task.state]}{took}")
                if until(task):
                    reached = task
            if reached is not None:
                return reached
            if ended:
                del open_runs[dag_id]
        if time.monotonic() > deadline:
            raise NotYet(f"Still running after {LIMIT_SECONDS} s: {', '.join(open_runs)}.")
        if open_runs:
            time.sleep(POLL_SECONDS)
    return None


def _expected_dags(settings: Settings) -> set[str]:
    partners = read_json(settings.compiled_agreement)["partners"]
    return {RELEASE} | {f"intake_{partner['id']}" for partner in partners}


# --- extracts -----------------------------------------------------------------------------------------------------


def stage_extracts(
    settings: Settings, extracts: Path | None, period: str | None, people: int, seed: int, tell: Report
) -> list[Staged]:
    """The extracts to drop. The parameters are :func:`run_demo`'s; the agreement has to be compiled.

    Raises:
        LinkarmsError: nothing is there, or it does not follow which period an export is about.
    """
    if extracts is None:
        return make_synthetic_extracts(settings, people=people, seed=seed, tell=tell)
    agreement = read_json(settings.compiled_agreement)
    signed = [partner["id"] for partner in agreement["partners"] if partner["signed"]]
    if not extracts.exists():
        raise LinkarmsError(f"There is nothing at {extracts}.")
    own = [Staged(partner, path, path.name) for partner in signed for path in _visible(extracts / partner)]
    if own:
        tell(f"Extracts of {len({staged.partner for staged in own})} partners in {extracts}")
        return own
    periods = [entry["id"] for entry in agreement["periods"]]
    if period is None and len(periods) != 1:
        raise LinkarmsError(f"Say which period the export is about: one of {', '.join(periods)}.")
    name = period or periods[0]
    if name not in periods:
        raise LinkarmsError(f"The agreement has no period {name}. It has {', '.join(periods)}.")
    tell(f"One export for {len(signed)} partners: {extracts.name} as {name}")
    return [Staged(partner, extracts, f"{name}.zip" if extracts.is_file() else name) for partner in signed]


def make_synthetic_extracts(settings: Settings, *, people: int, seed: int, tell: Report) -> list[Staged]:
    """Make the synthetic partnership, its last partner's last extract faulty, and the truth kept out of every inbox."""
    import synthetic

    agreement = load_agreement(settings.agreement_folder)
    today = datetime.now(UTC).date()
    calendar = agreement.calendar
    open_now = [period.id for period in calendar.periods if period.ends < today <= calendar.closes_on(period)]
    periods = tuple(open_now[-SYNTHETIC_PERIODS:])
    if not periods:
        raise LinkarmsError(f"No period of {agreement.title} may be submitted today; give an agreement that holds now.")
    made = synthetic.generate_partnership(agreement, seed=seed, people=people, periods=periods)
    partner, period = max(made.extracts)
    made, planted = synthetic.spoil_extract(made, agreement, partner, period, seed)
    written = synthetic.write_extracts(made, settings.home / "synthetic" / "extracts", truth_folder(settings))
    tell(
        f"Made {people:,} people and {len(written)} extracts of {len({path.parent for path in written})} partners; "
        f"{len(planted)} faults in that of {agreement.partner(partner).name} for {period}"
    )
    return [Staged(path.parent.name, path, path.name) for path in written]


def truth_folder(settings: Settings) -> Path:
    """Where the synthetic partnership's truth is kept: who is who, which no partner knows."""
    return settings.home / "synthetic" / "truth"


def drop_extracts(settings: Settings, staged: Sequence[Staged], tell: Report) -> None:
    """Put each extract into its partner's inbox in one move, flagged as ready, as a careful partner would."""
    for extract in staged:
        target = settings.inbox(extract.partner) / extract.name
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.parent / f".{target.name}.partial"
        _remove(partial)
        _copy(extract.source, partial)
        _remove(target)
        partial.rename(target)
        target.with_name(f"{target.name}.ready").touch()
    tell(f"{len(staged)} extracts lie in the inboxes below {settings.home / 'inbox'}")


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith(".")) if folder.is_dir() else []


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target)
    else:
        shutil.copyfile(source, target)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


class _Clock:
    """Tells each line with the seconds since the beginning."""

    def __init__(self, report: Report) -> None:
        self._begin = time.monotonic()
        self._report = report

    def seconds(self) -> float:
        return time.monotonic() - self._begin

    def tell(self, line: str) -> None:
        self._report(f"{self.seconds():5.0f} s  {line}")
