"""Shapes are checked at run time in the tests: every jaxtyping annotation of the package becomes an assertion."""

from jaxtyping import install_import_hook

install_import_hook("lit_rlvr", "beartype.beartype")
