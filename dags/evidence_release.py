"""The evidence release: link, mark repeats, measure, ask a person, publish."""

import json
import logging
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Asset, ExceptionRetryPolicy, Param, RetryAction, RetryRule, dag, task

COMPILED = Path(os.environ.get("LINKARMS_HOME", "var")) / "compiled" / "agreement.json"

EVIDENCE = Asset(name="evidence_release", uri="linkarms://evidence/release")

OUTAGES = [
    "protocol.errors.NotYet",
    "sqlalchemy.exc.OperationalError",
    "psycopg.OperationalError",
    "builtins.ConnectionError",
]
"""What passes by itself; everything else is for a person to look at."""

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
### Evidence release

Makes one release of pooled evidence from everything that the partners have loaded, and **waits for a person to approve
it** before anybody can read it.

| Step | What it does |
| --- | --- |
| **Link and mark repeats** | Records which submissions the release rests on, finds which records are the same person, and marks repeated assessments. |
| **Measure** | Works out every figure, withholds those that could point to a person, and writes the page for approval. |
| **Approve** | Waits for you. Shows protected figures only. A reason is needed and is published with the release. |
| **Publish** | Puts the release into the database for readers in one go, and writes the report and the data package. |

#### How to approve

The run shows **Awaiting Input**, and an entry waits under **Browse > Required Actions**. Open it, read the figures,
write a reason, then **Approve** or **Reject**. Rejecting publishes nothing: the run ends green with *Publish* skipped,
and you can trigger another.

Only one release is made at a time: a second run waits until the first has been approved or rejected.

#### When a step is red

1. Open the red square, then **Logs**. The line under *Task failed with exception* says what is wrong.
2. **Publish is red**: the submissions changed after the figures were worked out (for instance a person withdrew), or
   no reason was given. The approval no longer holds. Trigger a new release.
3. **Up For Retry**: something was out of reach, or nothing has been loaded for these periods yet. It tries again by
   itself every 20 seconds, five times.
4. **Upstream Failed**: a step before this one stopped. There is nothing to do here.
5. **Any other red**: nothing has been published. Clear the red task to try again; if it turns red once more, send
   its log to your administrator. The log holds no personal data.
"""  # noqa: E501  a Markdown table's row is one line


def open_settings() -> Any:
    """The installation's settings; keys named ``secret:<name>`` are the password of Airflow's connection of that name,
    which a secrets backend may hold."""
    from airflow.sdk import Connection

    from pipeline.settings import Settings

    return Settings.from_environment(os.environ, resolve_secret=lambda name: Connection.get(name).password)


def read_agreement() -> dict[str, Any] | None:
    """The compiled agreement, or nothing (and a message) before it has been compiled."""
    try:
        return json.loads(COMPILED.read_text(encoding="utf-8"))
    except FileNotFoundError:
        logging.getLogger(__name__).warning("No DAGs: run `linkarms agreement compile` to write %s.", COMPILED)
        return None


def ask_for(agreement: dict[str, Any]) -> dict[str, Param]:
    """The fields of the form that starts a release."""
    periods = {
        period["id"]: f"{period['id']} ({period['starts']} to {period['ends']})" for period in agreement["periods"]
    }
    partners = {p["id"]: p["name"] for p in agreement["partners"]}
    return {
        "periods": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "enum": list(periods)},
            examples=list(periods),
            values_display=periods,
            uniqueItems=True,
            title="Periods",
            description="Which periods the figures are about. Left empty: every period that a partner has loaded.",
        ),
        "leave_out": Param(
            None,
            type=["null", "array"],
            items={"type": "string", "enum": list(partners)},
            examples=list(partners),
            values_display=partners,
            uniqueItems=True,
            title="Partners to leave out",
            description="Only where a partner is late or in doubt. The release says so on its first page.",
        ),
        "leave_out_reason": Param(
            None,
            type=["null", "string"],
            maxLength=500,
            title="Why they are left out",
            description="Needed when a partner is left out. It is published; name no person.",
        ),
    }


def define_release(agreement: dict[str, Any]) -> DAG:
    """The release DAG of the partnership."""

    @dag(
        dag_id="evidence_release",
        dag_display_name="Evidence release",
        description=f"Makes a release of pooled evidence and waits for its approval: {agreement['title']}",
        doc_md=GUIDE,
        schedule=None,
        catchup=False,
        max_active_runs=1,
        params=ask_for(agreement),
        tags=["release"],
        default_args={
            "owner": "coordinator",
            "retries": 5,
            "retry_delay": timedelta(seconds=20),
            "retry_policy": RETRY_OUTAGES_ONLY,
            "execution_timeout": timedelta(hours=12),
        },
    )
    def evidence_release() -> None:
        @task(task_display_name="Link and mark repeats")
        def link_and_mark(params: dict[str, Any], run_id: str) -> dict[str, Any]:
            from pipeline.release_steps import link_and_mark as step

            return step(
                params["periods"] or [],
                open_settings(),
                run_id,
                leave_out=params["leave_out"] or [],
                leave_out_reason=params["leave_out_reason"],
            )

        @task(task_display_name="Measure")
        def measure(linked: dict[str, Any]) -> dict[str, Any]:
            from pipeline.release_steps import measure as step

            return step(linked["snapshot_id"], open_settings(), linked=linked)

        approve = ApprovalOperator(
            task_id="approve",
            task_display_name="Approve",
            subject="Publish this release of pooled evidence?",
            body="{{ ti.xcom_pull(task_ids='measure')['approval_text'] }}",
            execution_timeout=None,
            params={
                # No least length: Airflow would hold the empty form itself to it. Publishing refuses an empty reason.
                "reason": Param(
                    "",
                    type="string",
                    maxLength=500,
                    title="Reason",
                    description="Why this release may be published, or why not. Kept with the release; name no person.",
                )
            },
        )

        @task(task_display_name="Publish", outlets=[EVIDENCE])
        def publish(draft: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
            from pipeline.release_steps import publish as step

            return step(
                draft["release_id"],
                draft["figures_digest"],
                approver=answer["responded_by_user"]["name"],
                reason=answer["params_input"].get("reason", ""),
                settings=open_settings(),
                approval_digest=draft["approval_digest"],
            )

        draft = measure(link_and_mark())
        draft >> approve
        publish(draft, approve.output)

    return evidence_release()


if signed_agreement := read_agreement():
    evidence_release = define_release(signed_agreement)
