"""A task of one's own that submits with the hook, and fails behind it at first."""

from datetime import timedelta

from airflow.providers.common.compat.sdk import DAG, task

from airflow_provider_digitalhuman.api.request import VideoRequest
from airflow_provider_digitalhuman.hooks.digitalhuman import DigitalHumanHook


@task(retries=2, retry_delay=timedelta(seconds=1))
def make_video(**context):
    params = context["params"]
    with DigitalHumanHook() as hook:
        request = VideoRequest(params["audio_url"], params["video_url"])
        made = hook.create_video(request, context=context).id
    if context["ti"].try_number == 1:
        raise RuntimeError("behind the submission")
    return made


with DAG(dag_id="hook_probe", schedule=None, params={"audio_url": "", "video_url": ""}):
    make_video()
