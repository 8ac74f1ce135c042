"""Alembic migrations of the fixed core. Run by :func:`warehouse.migrate.upgrade`, which needs no ini file."""
