"""What each task process needs, loaded once in the process that they are forked from.

Airflow forks a process for every task and every parsing of a DAG file. Each would import this provider and read the CA
file anew, and be as long about it as about all else that it does for a video.
"""

import logging
import os
from functools import cache
from importlib import import_module
from typing import Any, Final

from airflow.providers.common.compat.sdk import AirflowPlugin

MODULES: Final = (
    "operators.digitalhuman",
    "sensors.digitalhuman",
    "hooks.recorded_submission",
    "ledger.fingerprint_legacy",
    "ledger.signature_warning",
    "connection.outcome",
    "connection.settings",
    "connection.transport",
    "triggers.digitalhuman",
    "triggers.events",
    "support.metrics",
)
"""With what they import: whatever of this provider a task loads that makes a video or waits for one. Not what reads and
writes files: it brings large libraries, and takes much longer than to import them."""
_log = logging.getLogger(__name__)


class DigitalHumanPreloadPlugin(AirflowPlugin):
    """Loads before the first fork. A process that forks none, as a task's own mostly does, is spared."""

    name = "digitalhuman_preload"

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Have :func:`preload` called in time (Airflow calls this; 3.x once for each of its two plugin managers)."""
        _preload_before_forks()


@cache
def _preload_before_forks() -> None:
    os.register_at_fork(before=preload)


@cache
def preload() -> None:
    """Load the modules, and the CA file that connections trust which name none. Trouble in here fails nothing."""
    try:
        for name in MODULES:
            import_module(f"airflow_provider_digitalhuman.{name}")
        from airflow_provider_digitalhuman.connection.tls import tls_context

        tls_context(verify=True)
    except Exception as error:
        _log.warning("airflow-provider-digitalhuman could not be loaded in advance, so each task will try: %s", error)
