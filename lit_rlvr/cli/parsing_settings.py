"""What jsonargparse keeps globally."""

from docstring_parser import DocstringStyle
from jsonargparse import set_parsing_settings


def configure_parsing() -> None:
    """Take help from attribute docstrings, let `${...}` follow later files and flags, and read configuration from URLs."""
    set_parsing_settings(
        omegaconf_absolute_to_relative_paths=True,
        docstring_parse_attribute_docstrings=True,
        docstring_parse_style=DocstringStyle.GOOGLE,
        config_read_mode_fsspec_enabled=True,
    )
