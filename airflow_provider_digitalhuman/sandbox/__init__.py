"""A stand-in of the vendor's server on this machine: no key, no charge, real MP4 files.

It speaks the wire contract of the DigitalHuman API, counts what a client asks of it, and fails on
command. Nothing of Airflow is imported in here. See ``docs/sandbox.md``.
"""
