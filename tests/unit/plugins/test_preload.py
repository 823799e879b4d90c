"""What is loaded before the first fork, and that nothing is where none comes."""

import importlib.metadata
import os
import ssl
import subprocess
import sys
from pathlib import Path

import certifi
import pytest

from airflow_provider_digitalhuman.connection.tls import tls_context
from airflow_provider_digitalhuman.exceptions import InvalidConnectionError
from airflow_provider_digitalhuman.plugins.preload import DigitalHumanPreloadPlugin

LOADED = f"""if True:
    import os, sys
    from airflow_provider_digitalhuman.plugins.preload import {DigitalHumanPreloadPlugin.__name__} as Plugin

    def loaded():
        return [name for name in sys.modules if name.startswith("airflow_provider_digitalhuman")]

    def in_a_child(function):
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(write, repr(function()).encode())
            os._exit(0)
        os.close(write)
        with open(read) as told:
            text = told.read()
        os.waitpid(child, 0)
        return eval(text)

    before = set(loaded())
    Plugin().on_load()
    Plugin.on_load()  # Airflow's other plugin manager
"""


def run(program: str, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", "-c", LOADED + program]
    return subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, **env})


def test_airflow_finds_the_plugin() -> None:
    points = importlib.metadata.distribution("airflow-provider-digitalhuman").entry_points
    (point,) = points.select(group="airflow.plugins")
    assert point.load() is DigitalHumanPreloadPlugin
    assert point.name == DigitalHumanPreloadPlugin.name


def test_nothing_is_loaded_where_no_process_is_forked() -> None:
    done = run(
        """
    import subprocess
    subprocess.run([sys.executable, "-c", ""], check=True)  # no fork of this program
    print(set(loaded()) - before)
    """
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_child_has_what_its_parent_loaded_before_the_fork() -> None:
    done = run(
        """
    from importlib import import_module
    def trusted():
        tls = import_module("airflow_provider_digitalhuman.connection.tls")
        certificates = len(tls.tls_context(verify=True).get_ca_certs())
        return certificates, tls._trusting.cache_info().misses
    modules = in_a_child(loaded)
    print("airflow_provider_digitalhuman.connection.transport" in modules, set(modules) == set(loaded()))
    print(*in_a_child(trusted))
    """
    )
    *_, modules, trusted = done.stdout.splitlines()
    certificates, files_read = map(int, trusted.split())
    assert modules == "True True"
    assert certificates > 50
    assert files_read == 1


def test_trouble_is_told_once_and_fails_nothing(tmp_path: Path) -> None:
    done = run(
        """
    print(in_a_child(lambda: 1), in_a_child(lambda: 2))
    """,
        REQUESTS_CA_BUNDLE=str(tmp_path / "gone.pem"),
    )
    assert done.stdout.splitlines()[-1] == "1 2"
    told = done.stdout + done.stderr  # as Airflow's logging is set up here
    assert told.count("could not be loaded in advance") == 1
    assert "gone.pem" in told


def test_preload_can_be_turned_off() -> None:
    done = run(
        """
    print(set(in_a_child(loaded)) - before)
    """,
        AIRFLOW__DIGITALHUMAN__PRELOAD="False",
    )
    assert done.stdout.splitlines()[-1] == "set()"


def test_a_ca_file_is_read_again_when_it_has_changed(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(Path(certifi.where()).read_text())
    first = tls_context(str(file))
    assert tls_context(str(file)) is first

    one, end, _ = file.read_text().partition("-----END CERTIFICATE-----\n")
    file.write_text(one + end)
    assert len(tls_context(str(file)).get_ca_certs()) == 1 < len(first.get_ca_certs())

    file.unlink()
    with pytest.raises(InvalidConnectionError, match="cannot be read as a CA file"):
        tls_context(str(file))


def test_a_context_for_everybody_is_nobody_elses() -> None:
    assert tls_context(verify=False).verify_mode is ssl.CERT_NONE
    assert tls_context(verify=True).verify_mode is ssl.CERT_REQUIRED
