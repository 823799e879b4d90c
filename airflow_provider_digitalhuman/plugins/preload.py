"""Loads this provider once in the process that task processes are forked from.

Airflow forks a process for every task and every parsing of a DAG file. Each would import this provider and read the CA
file anew, and take as long for it as for all else that it does for a video.
"""

import logging
import os
from functools import cache
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin, conf

_log = logging.getLogger(__name__)


class DigitalHumanPreloadPlugin(AirflowPlugin):
    """Loads before the first fork. A process that forks none, as a task's own mostly does, loads nothing.

    ``[digitalhuman] preload = False`` in Airflow's configuration turns it off; each task process then loads by itself.
    """

    name = "digitalhuman_preload"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Have :func:`preload` called in time (Airflow calls this; 3.x once for each of its two plugin managers)."""
        if conf.getboolean("digitalhuman", "preload", fallback=True):
            _preload_before_forks()


@cache
def _preload_before_forks() -> None:
    os.register_at_fork(before=preload)


@cache
def preload() -> None:
    """Import :mod:`~airflow_provider_digitalhuman.plugins.preloaded`. A failure in there is only logged."""
    try:
        from airflow_provider_digitalhuman.plugins import preloaded  # noqa: F401  # not before the first fork
    except Exception as error:
        _log.warning("airflow-provider-digitalhuman could not be loaded in advance, so each task will try: %s", error)
