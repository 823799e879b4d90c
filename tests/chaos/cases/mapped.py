"""Many videos at once, each with random faults and kills."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

from tests.chaos.cases.faults import NO_USABLE_ANSWER, REFUSED, UNUSUAL_FORM
from tests.chaos.plan import (
    AFTER_INTENT,
    AFTER_RECORD,
    AFTER_RELEASE,
    ANSWERED,
    BEFORE_INTENT,
    BEFORE_RECORD,
    BEFORE_UNKNOWN,
    CREATE,
    KILL_BOTH,
    KILL_TASK,
    QUERY,
    RETURNING,
    Case,
    Expected,
    Least,
    Range,
    Step,
    Video,
)


def mapped(seed: int, dag_id: str = CREATE) -> Case:
    """Fifty videos with random faults and kills; the fourth try of each is not disturbed."""
    anything = Expected(None, posts=Range(0, 20), charges=Range(0, 1), tries=Range(1, 4), known=False)
    return Case(
        f"50 mapped videos, random faults and kills ({dag_id})",
        anything,
        _random,
        50,
        dag_id,
        seed,
        phase="mapped",
        least=Least(steps=20, faults=10),
    )


RANDOM_POINTS: Final = (
    *(BEFORE_INTENT, AFTER_INTENT, ANSWERED, BEFORE_RECORD, AFTER_RECORD, AFTER_RELEASE, BEFORE_UNKNOWN),
    *(QUERY, RETURNING),
)


def _random(_number: int, rng: random.Random) -> Video:
    steps = [
        Step(rng.choice(RANDOM_POINTS), rng.choices([KILL_TASK, KILL_BOTH], weights=[8, 1])[0])
        for _ in range(3)
        if rng.random() < 0.5
    ]
    create_faults: list[Mapping[str, Any]] = []
    if rng.random() < 0.6:
        kinds = [
            *({**one, "when": rng.choice(["before", "after"])} for one in NO_USABLE_ANSWER),
            *REFUSED,
            *UNUSUAL_FORM,
            *({"fault": "rate_limited", "times": times} for times in (1, 2, 4, 6)),
        ]
        create_faults.append({"on": "create", **rng.choice(kinds)})
    connection = (rng.choice(["default", "default", "closed", "short_timeouts"]), "short_timeouts")
    return Video(steps, create_faults, connection=connection, certain=False)
