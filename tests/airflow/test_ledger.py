"""Retries and clears against a real Airflow: who may submit again, and who may not."""

import secrets

import pytest

from airflow_provider_digitalhuman.sandbox.testing import SandboxClient
from tests.airflow.ledger_probe import BEHIND, Probe
from tools.airflow_cluster import AirflowCluster


@pytest.fixture
def probe(airflow: AirflowCluster, sandbox: SandboxClient) -> Probe:
    return Probe(airflow, sandbox, secrets.token_hex(6))


def test_clear_of_a_success_makes_a_new_video(probe: Probe) -> None:
    assert probe.start() == "success"
    first = probe.xcom()
    probe.wait_for_stage("returned")
    assert probe.clear() == "success"
    assert probe.xcom() != first
    assert len(probe.posts()) == 2
    assert first in probe.log(2), "the ID that was paid for before is named"


def test_task_that_airflow_fails_behind_its_return_is_cleared_without_paying_again(probe: Probe) -> None:
    probe.dag_id = BEHIND
    assert probe.start() == "failed"
    probe.wait_for_stage("submitted")
    (paid,) = (task["id"] for task in probe.sandbox.ledger()["tasks"] if probe.mark in str(task["body"]))
    assert probe.clear() == "success"
    assert (probe.xcom(), len(probe.posts())) == (paid, 1)
    probe.wait_for_stage("returned")


@pytest.mark.parametrize(
    ("fault", "when"), [("reset", "before"), ("reset", "after"), ("http_status", "after"), ("no_id", "after")]
)
def test_unknown_outcome_ends_the_retries(probe: Probe, fault: str, when: str) -> None:
    probe.sandbox.add_fault(on="create", fault=fault, match=probe.mark, when=when)
    assert probe.start() == "failed"
    assert (probe.tries(), len(probe.posts())) == (1, 1)
    assert "not known whether the video was accepted" in probe.log(1)


def test_clear_alone_does_not_submit_after_an_unknown_outcome(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="close", match=probe.mark, when="after")
    assert probe.start() == "failed"
    assert probe.clear() == "failed"
    assert len(probe.posts()) == 1
    assert "digitalhuman-ledger adopt --clear" in probe.log(2), "the command to copy"


def test_refusal_ends_the_retries_and_a_clear_submits(probe: Probe) -> None:
    probe.sandbox.add_fault(on="create", fault="error_code", match=probe.mark)
    assert probe.start() == "failed"
    assert (probe.tries(), len(probe.posts())) == (1, 1)
    assert probe.clear() == "success"
    assert len(probe.posts()) == 2
