"""Further accesses to a store that has failed."""

import logging
import time
from collections.abc import Callable
from typing import Final, TypeVar

from airflow_provider_digitalhuman.exceptions import LedgerError

T = TypeVar("T")

STORE_BACKOFF: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds before each further access to a store that failed: a database that restarts must not cost an ID."""

log = logging.getLogger(__name__)


def with_backoff(done: str, access: Callable[[], T], known: str = "") -> T:
    """Return what ``access`` returns, tried again after growing pauses.

    Also where Airflow has given up this try: it ends the process meanwhile, before Airflow 2 takes its end for the
    task's.

    :param done: "read" or "written".
    :param known: a sentence for each message, with the ID that would be lost.
    :raises LedgerError: if the last attempt fails, too.
    """
    for delay in STORE_BACKOFF:
        try:
            return access()
        except Exception as error:
            log.warning(
                "The record of the submission could not be %s (%s). Trying again in %g s.%s", done, error, delay, known
            )
            time.sleep(delay)
    try:
        return access()
    except Exception as error:
        raise LedgerError(f"The record of the submission could not be {done}: {error}.{known}") from error
