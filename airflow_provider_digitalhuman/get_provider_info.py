"""What Airflow discovers of this provider.

A literal, and no import: an exception in here, or a ``package-name`` that is not the distribution's
canonical name, breaks every ``airflow`` command of the user.
"""

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Return the provider's entry for Airflow's ``apache_airflow_provider`` entry point."""
    return {
        "package-name": "airflow-provider-digitalhuman",
        "name": "DigitalHuman",
        "description": "Lip-sync videos of the DigitalHuman API: submitted once, awaited without a worker slot.",
        "integrations": [
            {
                "integration-name": "DigitalHuman",
                "external-doc-url": "https://docs.mingyanai.com/en/api-reference/digital-human/DigitalHuman/digital-human-create",
                "tags": ["service"],
            }
        ],
        "operators": [
            {
                "integration-name": "DigitalHuman",
                "python-modules": ["airflow_provider_digitalhuman.operators.digitalhuman"],
            }
        ],
        "sensors": [
            {
                "integration-name": "DigitalHuman",
                "python-modules": ["airflow_provider_digitalhuman.sensors.digitalhuman"],
            }
        ],
        "triggers": [
            {
                "integration-name": "DigitalHuman",
                "python-modules": ["airflow_provider_digitalhuman.triggers.digitalhuman"],
            }
        ],
        "extra-links": [
            "airflow_provider_digitalhuman.support.links.DigitalHumanVideoLink",
            "airflow_provider_digitalhuman.links.DigitalHumanVideoLink",  # in DAGs serialized before 0.2
        ],
        "hooks": [
            {
                "integration-name": "DigitalHuman",
                "python-modules": ["airflow_provider_digitalhuman.hooks.digitalhuman"],
            }
        ],
        "connection-types": [
            {
                "connection-type": "digitalhuman",
                "hook-class-name": "airflow_provider_digitalhuman.hooks.digitalhuman.DigitalHumanHook",
                "hook-name": "DigitalHuman",
                "ui-field-behaviour": {
                    "hidden-fields": ["login", "schema", "port"],
                    "relabeling": {"password": "API key", "host": "Base URL"},
                    "placeholders": {
                        "password": "the key of your DigitalHuman account, without 'Bearer'",
                        "host": "https://zcbservice.aizfw.cn/kyyReactApiServer",
                    },
                },
                "conn-fields": {
                    "model": {
                        "label": "Model",
                        "description": "Model for requests that do not name one. Empty: kyy_digitalHuman.",
                        "schema": {"type": ["string", "null"], "default": None},
                    },
                    "connect_timeout": {
                        "label": "Connect time-out (s)",
                        "description": "Seconds to reach the server. Empty: 10.",
                        "schema": {"type": ["number", "null"], "default": None, "exclusiveMinimum": 0},
                    },
                    "submit_timeout": {
                        "label": "Submit time-out (s)",
                        "description": (
                            "Seconds for the answer to a create. Keep it long: a time-out there leaves it unknown"
                            " whether the video was charged. Empty: 180."
                        ),
                        "schema": {"type": ["number", "null"], "default": None, "exclusiveMinimum": 0},
                    },
                    "query_timeout": {
                        "label": "Query time-out (s)",
                        "description": "Seconds for the answer to a query. Empty: 30.",
                        "schema": {"type": ["number", "null"], "default": None, "exclusiveMinimum": 0},
                    },
                    "max_queries_per_second": {
                        "label": "Queries per second",
                        "description": (
                            "How many queries one triggerer may send with this key for all waiting videos together."
                            " Empty: 20."
                        ),
                        "schema": {"type": ["number", "null"], "default": None, "exclusiveMinimum": 0},
                    },
                    "verify": {
                        "label": "Verify TLS",
                        "description": "true, false, or the path of a CA file on every worker. Empty: true.",
                        "schema": {"type": ["string", "null"], "default": None},
                    },
                    "proxies": {
                        "label": "Proxies",
                        "description": 'One proxy URL, or JSON such as {"https": "http://proxy.example.com:3128"}.',
                        "schema": {"type": ["string", "null"], "default": None},
                    },
                },
            }
        ],
        "cli": ["airflow_provider_digitalhuman.ledger.airflow_cli.get_commands"],
        "config": {
            "digitalhuman": {
                "description": "Settings of the DigitalHuman provider.",
                "options": {
                    "keep_record_copy": {
                        "description": (
                            "Keep a copy of each submission's record in an Airflow Variable until the task has"
                            " succeeded (Airflow 3.3 and later). A clear on Airflow 3.4 and later empties the task"
                            " state store, so the copy is kept there by default. Turn it on before an upgrade from 3.3."
                        ),
                        "version_added": "0.2.0",
                        "type": "boolean",
                        "example": "True",
                        "default": None,
                    },
                    "min_download_speed": {
                        "description": (
                            "Bytes per second, over three minutes, below which the download of a finished video counts"
                            " as broken off: it continues with another request, and is given up after six that bring"
                            " nothing new. 0: never."
                        ),
                        "version_added": "0.2.0",
                        "type": "float",
                        "example": "100000",
                        "default": "1024",
                    },
                    "preload": {
                        "description": (
                            "Load this provider, and the CA file, once in the process that task processes are forked"
                            " from, before the first fork. Turn it off to have each task process load it by itself."
                        ),
                        "version_added": "0.2.0",
                        "type": "boolean",
                        "example": "False",
                        "default": "True",
                    },
                },
            },
        },
    }
