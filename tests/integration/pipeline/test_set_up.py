"""Setting up an installation that is in use."""

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from protocol.errors import NotYet
from tests.integration.pipeline.world import World, set_up
from warehouse import migrate


def test_setting_up_does_not_hang_behind_a_reader_and_goes_through_when_the_reader_has_ended(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(migrate, "LOCK_PATIENCE", "200ms")
    engine = create_engine(world.server.url(database=world.database), poolclass=NullPool)
    with engine.begin() as reader:
        reader.execute(text("select count(*) from pool.person"))
        with pytest.raises(NotYet, match="reading"):
            set_up(world)
    set_up(world)
