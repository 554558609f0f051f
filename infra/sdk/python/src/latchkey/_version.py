"""The version of this package, in one place with pyproject.toml, which reads it here."""

__version__ = "0.1.0"
USER_AGENT = f"latchkey-python/{__version__}"
