"""LiveCodeBench's packed tests: base64 of zlib of a pickled string. Nothing is ever unpickled."""

import base64
import binascii
import pickletools
import zlib

MAX_BYTES = 256 * 1024**2
"""Largest size of what is unpacked: a few bytes of zlib can stand for gigabytes."""

_STRINGS = {"SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "UNICODE"}
_WRAPPING = {"PROTO", "FRAME", "MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT", "STOP"}
"""Opcodes that neither build nor call anything."""


def unpack_text(packed: str) -> str:
    """Return the string in a packed field.

    The pickle's opcodes are read, never executed: a pickle of anything but one plain string is refused.

    Raises:
        ValueError: it is not base64, not zlib, unpacks to more than `MAX_BYTES`, or is not the pickle of one string.
    """
    try:
        compressed = base64.b64decode(packed.encode("ascii", "replace"), validate=True)
        decompressor = zlib.decompressobj()
        pickled = decompressor.decompress(compressed, MAX_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"neither JSON nor base64 of zlib ({error})") from error
    if decompressor.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {MAX_BYTES} bytes")
    if not decompressor.eof:
        raise ValueError("the zlib data is cut short")
    return _pickled_string(pickled)


def _pickled_string(pickled: bytes) -> str:
    strings: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(pickled):
            if opcode.name in _STRINGS:
                strings.append(str(argument))
            elif opcode.name not in _WRAPPING:
                raise ValueError(f"the pickle holds more than one plain string ({opcode.name}) and is not executed")
    except (UnicodeDecodeError, IndexError) as error:
        raise ValueError(f"the pickle is damaged ({error})") from error
    if len(strings) != 1:
        raise ValueError(f"the pickle holds {len(strings)} strings instead of one")
    return strings[0]
