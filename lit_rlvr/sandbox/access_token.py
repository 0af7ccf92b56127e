"""The secret that a remote sandbox and its server share."""

import hmac
import os
import re
from pathlib import Path

TOKEN_VARIABLE = "LIT_RLVR_SANDBOX_TOKEN"
MIN_LENGTH = 16

_MEND = "make one with: python -c 'import secrets; print(secrets.token_urlsafe(32))'"


def read_token(token_file: str = "", variable: str = TOKEN_VARIABLE) -> str:
    """Return the token from `token_file`, or from the environment variable when no file is named. It is never shown.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the variable is not set, or the token is too short or has characters that a header cannot carry.
    """
    place = f"the file {token_file}" if token_file else f"the environment variable {variable}"
    if token_file and not Path(token_file).is_file():
        raise FileNotFoundError(f"token file {token_file} does not exist; {_MEND}")
    token = (Path(token_file).read_text(encoding="utf-8") if token_file else os.environ.get(variable, "")).strip()
    if not token:
        raise ValueError(f"a remote sandbox needs a token, but {place} is not set or empty; {_MEND}")
    if len(token) < MIN_LENGTH or not re.fullmatch(r"[!-~]+", token):
        raise ValueError(f"the token in {place} must be {MIN_LENGTH} or more ASCII characters without spaces; {_MEND}")
    return token


def authorization(token: str) -> str:
    """Return the value of the header that carries the token."""
    return f"Bearer {token}"


def is_authorized(header: str | None, token: str) -> bool:
    """Whether a header carries the token, found in a time that does not depend on where they differ."""
    return hmac.compare_digest((header or "").encode("utf-8", "replace"), authorization(token).encode("ascii"))
