"""The operator that archives a finished video."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import BaseOperator

from airflow_provider_digitalhuman.archive.destination import check_destination
from airflow_provider_digitalhuman.exceptions import InvalidRequestError
from airflow_provider_digitalhuman.support.arguments import (
    DEFAULT_CONN_ID,
    checked_video_task_id,
    errors_name_task,
    path_text,
    refuse_multiple_outputs,
)
from airflow_provider_digitalhuman.support.lineage import OpenLineageMixin
from airflow_provider_digitalhuman.support.lineage_facts import LineageFacts
from airflow_provider_digitalhuman.support.metrics import report, video_metrics
from airflow_provider_digitalhuman.support.retries import airflow_retries
from airflow_provider_digitalhuman.support.templates import (
    RenderedAsText,
    is_rendered_later,
    refuse_number_of_native_rendering,
)

# What a run needs, and parsing a DAG file does not, is imported by `execute`.
if TYPE_CHECKING:
    from os import PathLike

    from airflow.providers.common.compat.sdk import Context, ObjectStoragePath

    from airflow_provider_digitalhuman.operators.delivery import Delivery


class DownloadDigitalHumanVideoOperator(RenderedAsText, OpenLineageMixin, BaseOperator):
    """Store a finished video in your own storage, whole and verified.

    Asks the API for a fresh URL, streams the file in constant memory, verifies its MD5 and publishes it in one step.
    Running it again finds the file and does nothing. Nothing in here is charged, and nothing is ever submitted.

    Returns the final path (a string that ``ObjectStoragePath`` takes). Pushes the XComs ``archive`` (path, size, md5,
    seconds, video_task_id, already_there) and ``metrics``. Outlets get the asset event's extra ``id``, ``md5``,
    ``size`` and ``uri``; an ``AssetAlias`` among them gets the file as an asset.

    :param video_task_id: the vendor's task ID, as ``CreateDigitalHumanVideoOperator`` returns it. (templated)
    :param destination: absolute path or URI of the file, or of a folder if it ends with ``/``; besides Jinja it may
        hold ``{video_task_id}``, ``{model}`` and ``{created:%Y-%m-%d}`` in single braces. (templated)
    :param storage_conn_id: the Airflow connection of the store; None for the store's own default. (templated)
    :param overwrite: replace a different file at the destination; else that is an error.
    :param max_bytes: the largest file that is stored; None: 10 GiB.
    :param digitalhuman_conn_id: the Airflow connection of the API. (templated)
    :raises InvalidRequestError: when the DAG is parsed, for a literal that cannot be used.
    """

    template_fields: Sequence[str] = ("video_task_id", "destination", "storage_conn_id", "digitalhuman_conn_id")
    text_fields = ("video_task_id",)
    ui_color = "#e8def8"

    def __init__(
        self,
        *,
        video_task_id: str,
        destination: "str | PathLike[str] | ObjectStoragePath",
        storage_conn_id: str | None = None,
        overwrite: bool = False,
        max_bytes: int | None = None,
        digitalhuman_conn_id: str = DEFAULT_CONN_ID,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.video_task_id = video_task_id
        self.destination = path_text(destination)
        self.storage_conn_id = storage_conn_id
        self.overwrite = overwrite
        self.max_bytes = max_bytes
        self.digitalhuman_conn_id = digitalhuman_conn_id
        self._delivery: Delivery | None = None
        with errors_name_task(self.task_id):
            self._refuse_bad_literals()

    def execute(self, context: "Context") -> str:
        """Store the video and return its final path."""
        from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook
        from airflow_provider_digitalhuman.operators.delivery import Delivery

        with airflow_retries(), DigitalHumanHook(self.digitalhuman_conn_id) as hook:
            ti = context["ti"]
            refuse_number_of_native_rendering(self, "video_task_id", ti.map_index)
            delivery = Delivery(hook, checked_video_task_id(self.video_task_id))
            self._delivery = delivery
            try:
                archived = delivery.run(
                    context,
                    path_text(self.destination),
                    outlets=self.outlets,
                    storage_conn_id=self.storage_conn_id,
                    overwrite=self.overwrite,
                    max_bytes=self.max_bytes,
                )
            except Exception:
                report(ti, video_metrics(ti.try_number, "failed", delivery.task, **delivery.known()), "downloads")
                raise
            report(ti, video_metrics(ti.try_number, "success", delivery.task, **delivery.known()), "downloads")
            return archived.path

    def lineage_facts(self) -> LineageFacts:
        """Return what is known of the video's lineage."""
        if self._delivery is None:
            return LineageFacts(video_task_id=self.video_task_id)
        return LineageFacts(
            video_task_id=self._delivery.video_task_id,
            task=self._delivery.task,
            archived=self._delivery.archived,
            base_url=self._delivery.hook.settings.base_url,
        )

    def _refuse_bad_literals(self) -> None:
        refuse_multiple_outputs(self)
        if not is_rendered_later(self.destination):
            check_destination(self.destination)
        most = self.max_bytes
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most <= 0):
            raise InvalidRequestError(f"max_bytes={most!r} cannot be used: give a positive number of bytes, or None.")
