"""Setting up an installation: the warehouse's schema and roles, the readers' logins, the compiled agreement."""

import secrets
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import create_engine, make_url, text

from pipeline.files import make_private, read_json, write_json
from pipeline.resources import open_keys, open_sealing, read_agreement
from pipeline.settings import PIPELINE_LOGIN, Settings
from protocol.compiled import write_compiled
from protocol.errors import LinkarmsError
from protocol.model import Agreement


def readers_file(settings: Settings) -> Path:
    """Where the trial keeps the readers' passwords (mode 0600)."""
    return settings.home / "secrets" / "readers.json"


def known_passwords(settings: Settings) -> dict[str, str]:
    """Passwords of the readers by login, as far as they were made."""
    path = readers_file(settings)
    return dict(read_json(path)) if path.exists() else {}


def read_or_make_passwords(settings: Settings, agreement: Agreement) -> Mapping[str, str]:
    """Passwords of the agreement's readers by login, made at random at the first call and kept."""
    path = readers_file(settings)
    known = known_passwords(settings)
    missing = {login for grant in agreement.grants for login in grant.logins} - known.keys()
    if missing:
        known |= {login: secrets.token_urlsafe(18) for login in sorted(missing)}
        make_private(path.parent)  # the keys lie there as well, and are made in a private folder only
        write_json(path, known)
    return dict(known)


def set_up_warehouse(settings: Settings, owner_url: str, pipeline_password: str | None, *, today: date) -> Agreement:
    """Bring the database to the present schema and give everyone exactly the agreement's rights. Twice changes nothing.

    ``owner_url`` is the database's owner; the pipeline's own login is made where ``pipeline_password`` is given. The
    readers' passwords are in :func:`readers_file`.

    Raises:
        NotYet: somebody keeps a relation open that is made anew; nothing but the schema has changed.
    """
    from evidence.catalogue import load_measures
    from evidence.views import create_views
    from warehouse.migrate import altering, upgrade
    from warehouse.plan import apply_plan, plan_columns, record_agreement
    from warehouse.pool_views import ensure_pool_views
    from warehouse.roles import PIPELINE, apply_grants, ensure_groups, ensure_logins, ensure_service_login
    from warehouse.upgrade import upgrade_rows

    agreement = read_agreement(settings)
    _refuse_another_partnership(settings, agreement)
    upgrade(owner_url)
    engine = create_engine(owner_url)
    try:
        with engine.begin() as conn, altering(conn):
            ensure_groups(conn)
            record_agreement(conn, agreement)
            apply_plan(conn, plan_columns(conn, agreement), agreement.digest)
            upgrade_rows(conn, agreement)
            ensure_pool_views(conn, agreement)
            create_views(conn, load_measures())
            apply_grants(conn)
            if pipeline_password is not None:
                ensure_service_login(conn, PIPELINE_LOGIN, PIPELINE, pipeline_password)
            ensure_logins(conn, agreement, read_or_make_passwords(settings, agreement), today)
            # Keys are made once: beside pseudonyms that are there, new ones would match nothing.
            is_new = conn.scalar(text("select not exists (select from governance.submission where key_id is not null)"))
            open_keys(settings, now=datetime.now(UTC), create=bool(is_new))
            open_sealing(settings, now=datetime.now(UTC), create=True)
    finally:
        engine.dispose()
    write_compiled(agreement, settings.compiled_agreement, settings.inbox_check_minutes)
    for folder in (settings.home / "inbox", settings.home / "outbox"):
        if not folder.exists():
            make_private(folder)
    for partner in agreement.partners:
        settings.inbox(partner.id).mkdir(parents=True, exist_ok=True)
        settings.outbox(partner.id).mkdir(parents=True, exist_ok=True)
    return agreement


def _refuse_another_partnership(settings: Settings, agreement: Agreement) -> None:
    """Two partnerships in one home would be counted as one."""
    if not settings.compiled_agreement.exists():
        return
    known = read_json(settings.compiled_agreement)
    if known["id"] != agreement.id:
        raise LinkarmsError(
            f"{settings.home} is the home of another partnership ({known['title']}). "
            "Set LINKARMS_HOME to another folder, or remove what is there with `make clean`."
        )


def set_up_trial(settings: Settings, *, today: date) -> Agreement:
    """Set up the trial's own database, which has to run."""
    from warehouse.server import EmbeddedServer

    server = EmbeddedServer(settings.home)
    return set_up_warehouse(settings, server.url(), server.password(PIPELINE_LOGIN), today=today)


def explain_connection(settings: Settings, agreement: Agreement) -> tuple[tuple[str, str], ...]:
    """How each reader connects: (team, URL without its password), for the summary on the terminal."""
    url = make_url(settings.database_url())
    return tuple(
        (grant.team, f"postgresql://{quote(login)}@{url.host}:{url.port}/{url.database}")
        for grant in agreement.grants
        for login in grant.logins
    )
