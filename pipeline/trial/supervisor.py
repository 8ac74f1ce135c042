"""Starts and stops the trial's services: PostgreSQL and Airflow's four components.

Each component is a process of its own with a session of its own, so it outlives the command that started it. What was
started is recorded in ``run/airflow.json`` by process number *and* start time, and every process below it carries the
start's own mark in its environment. Only such processes are ever stopped: a number that has since gone to a stranger is
left alone, and the children of a scheduler that was killed are found.
"""

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil

from pipeline.files import read_json, write_json
from pipeline.settings import Settings
from pipeline.trial.airflow_home import component_environment, dags_folder, ensure_logins
from protocol.errors import LinkarmsError, NotYet
from warehouse.server import EmbeddedServer

Report = Callable[[str], None]
"""Takes one line of progress."""

COMPONENTS: Mapping[str, tuple[str, ...]] = {
    "api-server": ("api-server",),
    "dag-processor": ("dag-processor",),
    # Logs of tasks are read from the disk; a second server for them would listen on every address of the machine.
    "scheduler": ("scheduler", "--skip-serve-logs"),
    # Nothing here waits for it: approvals need none since Airflow 3.3. Without it the home page shows a red light.
    "triggerer": ("triggerer", "--skip-serve-logs"),
}
MARK = "LINKARMS_TRIAL"
"""Variable in the environment of all processes of one start."""
NEEDED = frozenset({"api-server", "dag-processor", "scheduler"})
"""The components without which no run moves; the rest is started when these are up, so as not to slow them."""
METADATA = "airflow"
"""Name of Airflow's own database and of the role that owns it."""
USUAL_PORT = 8080
HEALTHY_SECONDS = 180
SECONDS_TO_FINISH = 20
"""How long the scheduler may let running tasks finish. What is cut off is done again: every step may run twice."""
SECONDS_TO_END = 8
"""How long the others may take. An API server with an open connection would wait for two minutes."""


@dataclass(frozen=True)
class Component:
    """One running process of Airflow."""

    name: str
    pid: int
    started: float
    """Start time as the operating system tells it, in seconds since 1970: with the number it names one process."""

    def process(self) -> psutil.Process | None:
        """The process if it still runs."""
        return _find(self.pid, self.started)


@dataclass(frozen=True)
class Trial:
    """A running trial: where Airflow's pages are, and who may log in."""

    home: Path
    port: int
    agreement_folder: str
    components: tuple[Component, ...]
    logins: Mapping[str, str] = field(repr=False)
    """Password by name."""

    @property
    def url(self) -> str:
        """Address of Airflow's pages and of its API."""
        return f"http://127.0.0.1:{self.port}"

    def serves(self, settings: Settings) -> bool:
        """Whether all of it runs, and for that very agreement: a component keeps what it was started with."""
        alive = {component.name for component in self.components if component.process()}
        return alive == set(COMPONENTS) and self.agreement_folder == str(settings.agreement_folder)


def start_database(settings: Settings) -> EmbeddedServer:
    """Start the trial's PostgreSQL (does nothing if it runs) with Airflow's own database in it."""
    server = EmbeddedServer(settings.home)
    server.start()
    server.create_database(METADATA, METADATA)
    return server


def start_airflow(settings: Settings, *, report: Report = print, environment: Mapping[str, str] | None = None) -> Trial:
    """Start what is missing of PostgreSQL and Airflow, wait until it is healthy, and return where it is.

    Safe to call again: a healthy trial is returned as it is, and the remains of one that was killed are stopped first.

    Raises:
        LinkarmsError: a component ended by itself; the message names its log.
        NotYet: the components run and are not healthy after three minutes.
    """
    base = os.environ if environment is None else environment
    with _locked(settings.home):
        running = find_trial(settings.home)
        if running is not None and running.serves(settings):
            start_database(settings)
            report(f"Airflow already runs at {running.url}")
            _await_health(running, report)
            return running
        _stop_components(settings.home, report)
        server = start_database(settings)
        report("PostgreSQL runs")
        port = _free_port()
        component_settings = component_environment(
            settings,
            database_url=server.url(METADATA, METADATA),
            port=port,
            dags=dags_folder(),
            base=base,
        )
        _migrate(settings.home, component_settings)
        report("Airflow's own database is ready")
        for needed in (True, False):
            trial = _launch(
                settings.home, component_settings, [name for name in COMPONENTS if (name in NEEDED) is needed]
            )
            if needed:
                _await_health(trial, report)
        return trial


def stop_airflow(settings: Settings, *, report: Report = print) -> None:
    """Stop Airflow's components and then PostgreSQL, in order; does nothing if nothing runs."""
    with _locked(settings.home):
        _stop_components(settings.home, report)
        EmbeddedServer(settings.home).stop()


def find_trial(home: Path) -> Trial | None:
    """The trial that was last started here, whether or not all of it still runs."""
    recorded = _read_record(home)
    if recorded is None:
        return None
    components = tuple(Component(**entry) for entry in recorded["components"])
    return Trial(home, recorded["port"], recorded["agreement"], components, ensure_logins(home))


def measure_memory(home: Path) -> int:
    """Bytes that Airflow's processes below this home use together (PSS: shared pages are counted once)."""
    recorded = _read_record(home)
    total = 0
    for process in _marked(recorded["mark"]) if recorded else ():
        try:
            total += getattr(process.memory_full_info(), "pss", 0) or process.memory_info().rss
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return total


# --- starting -----------------------------------------------------------------------------------------------------


def _migrate(home: Path, environment: Mapping[str, str]) -> None:
    """Bring Airflow's own database up to date: five seconds on an empty one."""
    log = _log_file(home, "migrate")
    with log.open("ab") as output:
        ended = subprocess.run(
            [*_airflow(), "db", "migrate"], env=dict(environment), stdout=output, stderr=subprocess.STDOUT, cwd=home
        )
    if ended.returncode:
        raise LinkarmsError(f"Airflow could not set up its own database; see {log}.")


def _launch(home: Path, environment: Mapping[str, str], names: Sequence[str]) -> Trial:
    """Start components beside those recorded. The mark is recorded first, so none is lost if we are killed here."""
    record = _read_record(home) or {
        "port": int(environment["AIRFLOW__API__PORT"]),
        "agreement": environment["LINKARMS_AGREEMENT"],
        "mark": secrets.token_hex(16),
        "components": [],
    }
    write_json(_record_file(home), record)
    for name in names:
        with _log_file(home, name).open("ab") as output:
            process = subprocess.Popen(
                [*_airflow(), *COMPONENTS[name]],
                env={**environment, MARK: record["mark"]},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=home,
                start_new_session=True,
            )
        started = psutil.Process(process.pid).create_time()
        record["components"].append(asdict(Component(name, process.pid, started)))
        write_json(_record_file(home), record)
    trial = find_trial(home)
    assert trial is not None
    return trial


def _airflow() -> list[str]:
    """Airflow's command line with this very Python, so that no other installation on the path is met."""
    return [sys.executable, "-m", "airflow"]


def _await_health(trial: Trial, report: Report) -> None:
    """Wait until the API server answers and both the scheduler and the DAG processor have sent a heartbeat."""
    begin = time.monotonic()
    missing = "api_server"
    with httpx.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() - begin < HEALTHY_SECONDS:
            for component in trial.components:
                if component.process() is None:
                    log = _log_file(trial.home, component.name)
                    raise LinkarmsError(f"Airflow's {component.name} ended by itself; see {log}.")
            try:
                answer = client.get(f"{trial.url}/api/v2/monitor/health").raise_for_status().json()
            except httpx.HTTPError:
                answer = {}
            waits = [
                part for part in ("scheduler", "dag_processor") if (answer.get(part) or {}).get("status") != "healthy"
            ]
            if answer and not waits:
                report(f"Airflow is up after {time.monotonic() - begin:.0f} s: {trial.url}")
                return
            missing = " and ".join(waits) if answer else "api_server"
            time.sleep(0.5)
    raise NotYet(f"Airflow's {missing} did not become healthy in {HEALTHY_SECONDS} s; see {trial.home / 'logs'}.")


def _free_port() -> int:
    """The usual port if nobody listens there, else one that the system picks."""
    for wanted in (USUAL_PORT, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", wanted))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise LinkarmsError("No free port on 127.0.0.1.")


# --- stopping -----------------------------------------------------------------------------------------------------


def _stop_components(home: Path, report: Report) -> None:
    """Ask each component to end, the scheduler first so that nothing new begins; then insist, children included."""
    recorded = _read_record(home)
    if recorded is None:
        return
    components = [Component(**entry) for entry in recorded["components"]]
    if _marked(recorded["mark"]):
        report("Stopping Airflow")
    for component in sorted(components, key=lambda entry: entry.name != "scheduler"):
        if (process := component.process()) is not None:
            # A component ends its own children in order; the scheduler lets running tasks finish.
            _send(process, signal.SIGINT)
            if component.name == "scheduler":
                psutil.wait_procs([process], timeout=SECONDS_TO_FINISH)
    psutil.wait_procs([process for entry in components if (process := entry.process())], timeout=SECONDS_TO_END)
    for sent in (signal.SIGTERM, signal.SIGKILL):
        remains = _marked(recorded["mark"])
        for process in remains:
            _send(process, sent)
        psutil.wait_procs(remains, timeout=5)
    _record_file(home).unlink(missing_ok=True)


def _marked(mark: str) -> list[psutil.Process]:
    """All processes of one start, whoever their parent is now."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def _send(process: psutil.Process, sent: signal.Signals) -> None:
    try:
        # psutil compares the start time before it sends, so a reused number is never hit.
        process.send_signal(sent)
    except psutil.NoSuchProcess:
        return


def _find(pid: int, started: float) -> psutil.Process | None:
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE or abs(process.create_time() - started) > 1:
            return None
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return process


# --- places -------------------------------------------------------------------------------------------------------


def _record_file(home: Path) -> Path:
    return home / "run" / "airflow.json"


def _read_record(home: Path) -> dict[str, Any] | None:
    try:
        recorded: dict[str, Any] = read_json(_record_file(home))
    except FileNotFoundError:
        return None
    return recorded


def _log_file(home: Path, name: str) -> Path:
    path = home / "logs" / f"{name}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    """One supervisor at a time below this home."""
    lock = home / "run" / "trial.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
