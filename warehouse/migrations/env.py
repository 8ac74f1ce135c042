"""Alembic's entry: runs the migrations on the connection that :mod:`warehouse.migrate` hands over."""

from alembic import context

from warehouse.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    include_schemas=True,
    version_table_schema="governance",
)
with context.begin_transaction():
    context.run_migrations()
