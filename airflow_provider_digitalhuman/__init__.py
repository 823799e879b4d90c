"""Apache Airflow provider for the DigitalHuman lip-sync video API."""

__version__ = "0.1.0"
