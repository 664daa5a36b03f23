"""The version of the package, for the metadata, `reactor.__version__` and `--version`."""

__version__ = "0.1.0"
