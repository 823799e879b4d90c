"""Many videos at once, each with what the dice say."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any, Final

from tests.chaos.cases.faults import DOUBT, ODD, PROOF
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
    """Fifty videos, each with faults and kills by the dice; the fourth try is left alone."""
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


def _random(_number: int, dice: random.Random) -> Video:
    steps = [
        Step(dice.choice(RANDOM_POINTS), dice.choices([KILL_TASK, KILL_BOTH], weights=[8, 1])[0])
        for _ in range(3)
        if dice.random() < 0.5
    ]
    plays: list[Mapping[str, Any]] = []
    if dice.random() < 0.6:
        kinds = [
            *({**one, "when": dice.choice(["before", "after"])} for one in DOUBT),
            *PROOF,
            *ODD,
            *({"fault": "rate_limited", "times": times} for times in (1, 2, 4, 6)),
        ]
        plays.append({"on": "create", **dice.choice(kinds)})
    connection = (dice.choice(["default", "default", "closed", "impatient"]), "impatient")
    return Video(steps, plays, connection=connection, certain=False)
