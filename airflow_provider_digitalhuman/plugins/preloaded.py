"""What each task process needs of this provider: a process that imports this module has it for all its forks.

All that a task loads to make a video or to wait for one. Not what fetches and stores files: importing its large
libraries costs little beside a transfer.
"""

import airflow_provider_digitalhuman.connection.transport
import airflow_provider_digitalhuman.operators.digitalhuman
import airflow_provider_digitalhuman.operators.run
import airflow_provider_digitalhuman.sensors.digitalhuman
import airflow_provider_digitalhuman.triggers.digitalhuman  # noqa: F401
from airflow_provider_digitalhuman.connection.tls import tls_context

tls_context(verify=True)  # reads the CA file that connections trust which name none
