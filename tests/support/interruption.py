"""Interruptions as Airflow's time-out makes them: out of nowhere, before any line of Python."""

import sys
from types import FrameType, TracebackType
from typing import Any, Self


class InterruptedAt:
    """Raises an error before one line that is executed while this is entered.

    :param number: which line, counted over ``places``; :attr:`has_come` says whether there were so many.
    :param error: what is raised.
    :param places: parts of the paths of the files whose lines count.
    """

    def __init__(self, number: int, error: type[BaseException], places: tuple[str, ...]) -> None:
        self.has_come = False
        self._left, self._error, self._places = number, error, places

    def __enter__(self) -> Self:
        self._tracer_before = sys.gettrace()  # such as that of a coverage measurement
        sys.settrace(self._trace)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        sys.settrace(self._tracer_before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not any(place in frame.f_code.co_filename for place in self._places):
            return None
        self._left -= 1
        if self._left < 0 and not self.has_come:
            self.has_come = True
            raise self._error("execution_timeout")
        return self._trace if event != "return" else None
