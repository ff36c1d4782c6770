"""The zip that an exported file ends with, which its runtime reads past: facedet.json is in it."""

import io
import lzma
import struct
import zipfile
import zlib

from facedet.runtime.backends.base import DETAILS_FILE, MAX_DETAILS_BYTES, BackendError

# of zipfile, for damage of every kind
_ZIP_ERRORS = (ValueError, RuntimeError, NotImplementedError, EOFError, OSError, OverflowError, struct.error, zlib.error, lzma.LZMAError)


def read(data: bytes, made_by: str) -> bytes:
    """At most MAX_DETAILS_BYTES of DETAILS_FILE. BackendError where there is none; made_by: the command whose files have it."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive, archive.open(DETAILS_FILE) as file:
            return file.read(MAX_DETAILS_BYTES)
    except (zipfile.BadZipFile, KeyError) as error:
        raise BackendError(f"it holds no {DETAILS_FILE}: it was not made by {made_by}, or is cut.") from error
    except _ZIP_ERRORS as error:
        raise BackendError(f"its {DETAILS_FILE} is damaged: {error}") from error
