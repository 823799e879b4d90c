"""What several cases expect, and what several of them are made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.chaos.plan import (
    UNKNOWN_TEXT,
    Expected,
    exactly,
)

ONE_VIDEO: Final = Expected("success", posts=exactly(1), charges=exactly(1), tries=exactly(1))
GOES_ON: Final = ONE_VIDEO.in_tries(2)
"""The second try does what the first one could not."""
NOTHING_SENT: Final = Expected("failed", posts=exactly(0), charges=exactly(0), tries=exactly(2), log_text=UNKNOWN_TEXT)
PAID_AND_UNKNOWN: Final = Expected(
    "failed", posts=exactly(1), charges=exactly(1), tries=exactly(2), known=False, log_text=UNKNOWN_TEXT
)
"""The answer was lost with the process: only the vendor knows the ID."""
ID_IN_THE_LOG: Final = replace(PAID_AND_UNKNOWN, known=True)

HANGS: Final = {"on": "create", "fault": "hang", "when": "after", "seconds": 120}
