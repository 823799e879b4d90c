"""A metadata database that refuses the writes of one task's record for some seconds, with an error of its own."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

_POSTGRES = """
CREATE TABLE IF NOT EXISTS chaos_refusal (run_id text, map_index int, until double precision);
CREATE OR REPLACE FUNCTION chaos_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF EXISTS (SELECT 1 FROM chaos_refusal r WHERE r.run_id = NEW.run_id AND r.map_index = NEW.map_index
             AND r.until > extract(epoch FROM clock_timestamp())) THEN
    RAISE EXCEPTION 'chaos: the database refuses this write';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER chaos_refuse BEFORE INSERT OR UPDATE ON task_state_store
  FOR EACH ROW EXECUTE FUNCTION chaos_refuse();
"""
_SQLITE = "CREATE TABLE chaos_refusal (run_id text, map_index int, until double precision);" + "".join(
    f"""
CREATE TRIGGER chaos_refuse_{event} BEFORE {event} ON task_state_store
WHEN EXISTS (SELECT 1 FROM chaos_refusal r WHERE r.run_id = NEW.run_id AND r.map_index = NEW.map_index
             AND r.until > (julianday('now') - 2440587.5) * 86400.0)
BEGIN SELECT RAISE(ABORT, 'chaos: the database refuses this write'); END;
"""
    for event in ("INSERT", "UPDATE")
)


class Refusals:
    """Switches refusals on. The rule itself is a trigger in the database.

    :param database: a PostgreSQL DSN, or the path of an SQLite file.
    """

    def __init__(self, database: str) -> None:
        self._database = database
        self._is_postgres = database.startswith("postgresql:")

    def install(self) -> None:
        """Put the trigger into the database, after Airflow has made its tables."""
        with self._connection() as connection:
            if self._is_postgres:
                connection.cursor().execute(_POSTGRES)
            else:
                connection.executescript(_SQLITE)

    def refuse(self, run_id: str, map_index: int, seconds: float) -> None:
        """Refuse this task's writes from now on."""
        place = "%s" if self._is_postgres else "?"
        with self._connection() as connection:
            connection.cursor().execute(
                f"INSERT INTO chaos_refusal VALUES ({place}, {place}, {place})",
                (run_id, map_index, time.time() + seconds),
            )

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        if self._is_postgres:
            import psycopg2  # type: ignore[import-untyped]

            connection: Any = psycopg2.connect(self._database, connect_timeout=30)
        else:
            connection = sqlite3.connect(self._database, timeout=30)
        with contextlib.closing(connection), connection:
            yield connection
