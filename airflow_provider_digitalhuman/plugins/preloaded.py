"""What each task process needs of this provider: a process that imports this module has it for all its forks.

Whatever a task loads that makes a video or waits for one. Not what reads and writes files: that brings large libraries,
and takes much longer than to import them.
"""

import airflow_provider_digitalhuman.connection.transport
import airflow_provider_digitalhuman.ledger.fingerprint_legacy
import airflow_provider_digitalhuman.ledger.signature_warning
import airflow_provider_digitalhuman.operators.digitalhuman
import airflow_provider_digitalhuman.operators.run
import airflow_provider_digitalhuman.sensors.digitalhuman
import airflow_provider_digitalhuman.triggers.digitalhuman
import airflow_provider_digitalhuman.triggers.last_look  # noqa: F401
from airflow_provider_digitalhuman.connection.tls import tls_context

tls_context(verify=True)  # reads the CA file that connections trust which name none
