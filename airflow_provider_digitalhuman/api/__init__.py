"""The wire: what the DigitalHuman API is sent and what it answers. No Airflow and no I/O in here."""
