"""One intake DAG per partner of the compiled agreement: receive, check, pseudonymise, load.

A partner that joins, leaves or signs changes the agreement's folder and not this file.
"""

import json
import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, Asset, ExceptionRetryPolicy, Param, RetryAction, RetryRule, dag, task, task_group

COMPILED = Path(os.environ.get("LINKARMS_HOME", "var")) / "compiled" / "agreement.json"

OUTAGES = [
    "protocol.errors.NotYet",
    "sqlalchemy.exc.OperationalError",
    "psycopg.OperationalError",
    "builtins.ConnectionError",
]
"""What passes by itself. A refusal does not: the same file would be refused again."""

RETRY_OUTAGES_ONLY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=OUTAGES,
            action=RetryAction.RETRY,
            retry_delay=timedelta(seconds=20),
            reason="Something that this step needs did not answer; it is tried again.",
        )
    ],
    default=RetryAction.FAIL,
)

GUIDE = """
### Intake of {name}

Takes in whatever **{name}** has dropped into its inbox: one folder, zip or workbook for each period, sealed or not.
Run it by hand with **Trigger** at any time. The same drop twice changes nothing.

| Step | What it does |
| --- | --- |
| **Receive** | Looks into the inbox and lists what is waiting. Nothing waiting is fine: the other steps are skipped. |
| **Check** | Is the partner signed up and the period open? Does every row keep the agreed rules? Writes the receipt. |
| **Pseudonymise** | Replaces every identifier by a keyed pseudonym and lets only agreed columns through. |
| **Load and receipt** | Puts the rows into the pool in one go, ends the receipt, and clears the working copy. |

Each waiting submission goes its own way, so one that is refused does not hold up another.

#### When a step is red

1. Open the red square, then **Logs**. The line under *Task failed with exception* says what is wrong.
2. **Receive or Check is red, "SubmissionRefused"**: the partner has to mend the extract and drop it again. Its outbox
   already holds the receipt with every fault and how to mend it. There is nothing to do here; do not clear the task.
   Only if the partner tells you that a large fall in rows is right: trigger the intake with **Fewer rows are right**
   after it has dropped the extract once more.
3. **Up For Retry**: something was out of reach, for instance the database or the partner's server. It tries again by
   itself every 20 seconds, five times.
4. **Upstream Failed**: a step before this one stopped. There is nothing to do here.
5. **Receive is red and its line names a connection, a host key or a sealing key**: the line says what to set. Send it
   to your administrator, and clear the task when that is done; what the partner dropped stays where it is.
6. **Any other red**: nothing has been half loaded. Clear the red task to try again; if it turns red once more,
   send its log to your administrator. The log holds no personal data.
"""


def open_settings() -> Any:
    """The installation's settings; keys named ``secret:<name>`` are the password of Airflow's connection of that name,
    which a secrets backend may hold; a partner's channel finds its connection there as well."""
    from airflow.sdk import Connection

    from pipeline.settings import Settings

    return Settings.from_environment(
        os.environ,
        resolve_secret=lambda name: Connection.get(name).password,
        resolve_connection=lambda name: Connection.get(name).get_uri(),
    )


def read_agreement() -> dict[str, Any] | None:
    """The compiled agreement, or nothing (and a message) before it has been compiled."""
    try:
        return json.loads(COMPILED.read_text(encoding="utf-8"))
    except FileNotFoundError:
        logging.getLogger(__name__).warning("No DAGs: run `linkarms agreement compile` to write %s.", COMPILED)
        return None


def define_intake(partner: dict[str, Any], agreement: dict[str, Any]) -> DAG:
    """The intake DAG of one partner."""
    pool = Asset(name=f"pool_{partner['id']}", uri=f"linkarms://pool/{partner['id']}")
    minutes = agreement.get("inbox_check_minutes")

    @dag(
        dag_id=f"intake_{partner['id']}",
        dag_display_name=f"Intake: {partner['name']}",
        description=f"Takes in what {partner['name']} has dropped into its inbox",
        doc_md=GUIDE.format(name=partner["name"]),
        schedule=timedelta(minutes=minutes) if minutes else None,
        catchup=False,
        max_active_runs=1,
        tags=["intake", partner["tier"], "signed" if partner["signed"] else "not signed"],
        default_args={
            "owner": "coordinator",
            "retries": 5,
            "retry_delay": timedelta(seconds=20),
            "retry_policy": RETRY_OUTAGES_ONLY,
            "execution_timeout": timedelta(hours=4),
        },
        params={
            "fewer_rows_confirmed": Param(
                False,
                type="boolean",
                title="Fewer rows are right",
                description="Set this after the partner has told you that a fall in rows against its last extract is "
                "right. Otherwise such a submission is refused.",
            )
        },
    )
    def intake() -> None:
        label = "{{ task.op_kwargs['waiting']['label'] }}"

        @task(task_display_name="Receive")
        def receive() -> list[dict[str, str]]:
            from pipeline.intake_steps import receive_submissions

            return receive_submissions(partner["id"], open_settings())

        @task(task_display_name="Check", map_index_template=label)
        def check(waiting: dict[str, str], params: dict[str, Any]) -> dict[str, Any]:
            from pipeline.intake_steps import check_submission

            return check_submission(
                waiting["submission_id"], open_settings(), fewer_rows_confirmed=params["fewer_rows_confirmed"]
            )

        @task(task_display_name="Pseudonymise", map_index_template=label)
        def pseudonymise(waiting: dict[str, str]) -> None:
            from pipeline.intake_steps import pseudonymise_submission

            pseudonymise_submission(waiting["submission_id"], open_settings())

        @task(task_display_name="Load and receipt", map_index_template=label, outlets=[pool])
        def load_and_receipt(waiting: dict[str, str]) -> dict[str, Any]:
            from pipeline.intake_steps import load_submission

            return load_submission(waiting["submission_id"], open_settings())

        @task_group(group_id="submission", group_display_name="Submissions", prefix_group_id=False)
        def take_in(waiting: dict[str, str]) -> None:
            check(waiting=waiting) >> pseudonymise(waiting=waiting) >> load_and_receipt(waiting=waiting)

        take_in.expand(waiting=receive())

    return intake()


if signed_agreement := read_agreement():
    for member in signed_agreement["partners"]:
        globals()[f"intake_{member['id']}"] = define_intake(member, signed_agreement)
