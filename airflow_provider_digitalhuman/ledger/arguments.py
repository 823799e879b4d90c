"""The commands of the ledger and their arguments: one table for ``digitalhuman-ledger`` and ``airflow digitalhuman``.

Every ``airflow`` command imports this module, so it imports nothing of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

DEFAULT_URL: Final = "http://localhost:8080"
DESCRIPTION: Final = "See which submissions are stuck, release or adopt them, and clear their tasks."


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument, as ``argparse`` takes it.

    :param name: with its hyphens, where it is an option.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Command:
    """One command."""

    name: str
    help: str
    arguments: tuple[Argument, ...]


CONNECTION: Final = (
    Argument("--url", {"help": f"API server (2.11: webserver); default: AIRFLOW_API_URL, else {DEFAULT_URL}"}),
    Argument("--token", {"help": "bearer token; better in the environment variable AIRFLOW_API_TOKEN"}),
    Argument("--user", {"help": "user name in place of a token; default: AIRFLOW_API_USER"}),
    Argument("--password", {"help": "its password; better in the environment variable AIRFLOW_API_PASSWORD"}),
)
LOCAL: Final = Argument(
    "--local",
    {
        "action": "store_true",
        "help": "Airflow 2.11 only: use the database of the Airflow installed here instead of its REST API",
    },
)
_OUTPUT: Final = Argument("--output", {"choices": ("text", "json"), "default": "text", "help": "default: text"})
_MAP_INDEX: Final = Argument("--map-index", {"type": int, "default": -1, "help": "of an instance of a mapped task"})
_WHERE: Final = (Argument("dag_id"), Argument("run_id"), Argument("task_id"))
_CLEAR: Final = Argument("--clear", {"action": "store_true", "help": "clear the task in the same call"})

COMMANDS: Final = (
    Command(
        "list",
        "the submissions whose outcome is not known",
        (
            Argument("--dag-id", {"help": "of this DAG only"}),
            Argument("--all", {"action": "store_true", "help": "every submission on record"}),
            _OUTPUT,
        ),
    ),
    Command("show", "one record", (*_WHERE, _MAP_INDEX, _OUTPUT)),
    Command(
        "release",
        "nothing was accepted: let the next try submit",
        (
            *_WHERE,
            _MAP_INDEX,
            _CLEAR,
            Argument(
                "--force",
                {
                    "action": "store_true",
                    "help": "also give up a video that was accepted, of a failed task: if it exists, the next try pays"
                    " again",
                },
            ),
            _OUTPUT,
        ),
    ),
    Command(
        "adopt",
        "the vendor has accepted it under this ID: let the next try go on with it",
        (*_WHERE, Argument("video_task_id"), _MAP_INDEX, _CLEAR, _OUTPUT),
    ),
)
