"""Digest of an ONNX file, which stands at its end as a property of the model."""

import hashlib

# In the encoding of ONNX (protocol buffers) files that are joined are one message whose repeated fields are joined. So
# the last bytes can be one more entry of `metadata_props` (field 14), with the digest of all bytes before.
_KEY = b"zsig_hep.sha256"
_HEX_DIGITS = 64


def with_digest(content: bytes) -> bytes:
    """Append the property `zsig_hep.sha256`, the digest of all bytes before it, to a serialised ONNX model.

    Example:
        >>> len(with_digest(b"model")) - len(b"model")
        85
    """
    return content + _entry(content)


def has_its_digest(content: bytes) -> bool:
    """Whether a file is what `with_digest` returned, in every bit.

    Example:
        >>> has_its_digest(with_digest(b"model")), has_its_digest(b"model")
        (True, False)
    """
    length = len(_entry(b""))
    return content[-length:] == _entry(memoryview(content)[:-length])


def _entry(content: bytes | memoryview) -> bytes:
    """The entry {1: key, 2: digest} of field 14; all lengths are below 128, which take one byte."""
    digest = hashlib.sha256(content).hexdigest().encode()
    entry = b"\x0a" + bytes([len(_KEY)]) + _KEY + b"\x12" + bytes([_HEX_DIGITS]) + digest
    return b"\x72" + bytes([len(entry)]) + entry
