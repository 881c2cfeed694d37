"""Read models in PostgreSQL: projections of the record, their runner, migrations, queries and the scheduler."""
