"""Addresses, time-outs and the vendor's advice, as named constants.

Sources: the vendor's pages ``digital-human-create`` and ``digital-human-query``; where they are
silent (time-outs), what public clients of the same gateway settled on.
"""

from typing import Final
from urllib.parse import quote

DEFAULT_BASE_URL: Final = "https://zcbservice.aizfw.cn/kyyReactApiServer"
CREATE_PATH: Final = "/v1/digitalHuman/videos"
RESULT_PATH: Final = "/v1/result/"

DEFAULT_MODEL: Final = "kyy_digitalHuman"
RECOMMENDED_MODEL_VERSION: Final = 2

CONNECT_TIMEOUT: Final = 10.0
"""Seconds to reach the server."""
SUBMIT_TIMEOUT: Final = 180.0
"""Seconds for the answer to a create; long, because a time-out there is the most expensive event there is."""
QUERY_TIMEOUT: Final = 30.0
"""Seconds for the answer to a query."""
LONGEST_IDLE: Final = 45.0
"""Seconds after which a kept connection is not used again: servers close theirs after about a minute."""

TASK_RECORD_LIFETIME: Final = 86_400.0
"""Seconds for which the vendor keeps the record of a video task: about a day."""

MIN_POLL_INTERVAL: Final = 5.0
MAX_POLL_INTERVAL: Final = 10.0
"""Seconds between two queries for one task, as the vendor asks."""
DEFAULT_QUERIES_PER_SECOND: Final = 20.0
"""Ceiling of queries with one key from one triggerer; the vendor has a limit, but states no number."""


def create_url(base_url: str) -> str:
    """URL that a create is POSTed to."""
    return base_url.rstrip("/") + CREATE_PATH


def result_url(base_url: str, video_task_id: str) -> str:
    """URL that a task is queried at; the opaque ID is percent-encoded as one path segment."""
    segment = quote(video_task_id, safe="", errors="surrogatepass")
    if set(segment) == {"."}:  # "." and ".." would be resolved away by every HTTP client
        segment = segment.replace(".", "%2E")
    return base_url.rstrip("/") + RESULT_PATH + segment
