"""What the agreement's readers see when they log in: released figures, for some the pool under pseudonyms, no more."""

import pytest
from sqlalchemy import Engine, create_engine, make_url, text
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.pool import NullPool

from pipeline.files import read_json
from pipeline.set_up import explain_connection, readers_file
from tests.integration.pipeline.world import NOW, World, set_up

ANALYST, BOARD = "evaluation_analyst", "board_reader"


@pytest.fixture(scope="module")
def readers(published: World) -> dict[str, Engine]:
    """Engines of the two readers, by the passwords that setting up wrote down."""
    set_up(published)  # logins belong to the cluster, which other tests use as well
    passwords = read_json(readers_file(published.settings))
    url = make_url(published.settings.database_url())
    return {
        login: create_engine(url.set(username=login, password=passwords[login]), poolclass=NullPool)
        for login in (ANALYST, BOARD)
    }


def rows(engine: Engine, statement: str) -> list[tuple[object, ...]]:
    with engine.connect() as conn:
        return [tuple(row) for row in conn.execute(text(statement))]


@pytest.mark.parametrize("login", [ANALYST, BOARD])
def test_every_reader_sees_the_released_figures(published: World, readers: dict[str, Engine], login: str) -> None:
    where = "breakdown = 'all' and statistic = 'unique_people'"
    seen = rows(readers[login], f"select value from evidence.reach where {where}")
    assert seen == [(published.figure("reach", "unique_people"),)]
    withheld = "select count(*), count(value) from evidence.current_figure where status = 'withheld'"
    ((figures, values),) = rows(readers[login], withheld)
    assert isinstance(figures, int)
    assert figures > 0
    assert values == 0


@pytest.mark.parametrize("login", [ANALYST, BOARD])
def test_no_reader_sees_rows_tokens_or_receipts(published: World, readers: dict[str, Engine], login: str) -> None:
    closed = [name for name in published.relations() if not name.startswith(("evidence.", "pool."))]
    assert {name.split(".")[0] for name in closed} >= {"facts", "linkage", "governance"}
    for name in closed:
        with pytest.raises(ProgrammingError, match="permission denied"):
            rows(readers[login], f"select * from {name} limit 1")


def test_the_board_does_not_see_the_pool(published: World, readers: dict[str, Engine]) -> None:
    views = [f"pool.{table}" for table in published.agreement.contract.table_names]
    for view in views:
        with pytest.raises(ProgrammingError, match="permission denied"):
            rows(readers[BOARD], f"select * from {view} limit 1")


def test_the_analyst_sees_the_pool_under_pseudonyms_of_its_grant(published: World, readers: dict[str, Engine]) -> None:
    seen = {str(value) for (value,) in rows(readers[ANALYST], "select distinct published_id from pool.assessment")}
    seen -= {"None"}
    known = published.query("select distinct person_id::text, published_id::text from linkage.published_id")
    assert seen
    assert seen <= {published_id for _, published_id in known}
    assert not seen & {person_id for person_id, _ in known}
    references = {value for (value,) in published.query("select person_ref from facts.person")}
    references |= {value for (value,) in published.query("select row_key from facts.person")}
    shown = {str(cell) for row in rows(readers[ANALYST], "select * from pool.person") for cell in row}
    assert not shown & references


def test_setting_up_again_keeps_the_passwords_and_the_file_private(published: World) -> None:
    path = readers_file(published.settings)
    before = path.read_bytes()
    set_up(published)
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o077 == 0
    assert path.parent.stat().st_mode & 0o077 == 0
    told = explain_connection(published.settings, published.agreement)
    passwords = read_json(path)
    assert {login for _, url in told for login in passwords if f"//{login}@" in url} == {ANALYST, BOARD}
    assert not any(password in url for _, url in told for password in passwords.values())
    assert NOW.date() <= published.agreement.term.ends
