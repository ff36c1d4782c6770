"""Errors that several parts of the project raise or have to tell apart."""

import errno
import os


class ConfigError(ValueError):
    """A pipeline config that cannot be used: the message names file, key, value and the way out."""


class DetectorError(Exception):
    """A file or a picture that cannot be used: the message says why, and what would do."""


def is_full_disk(error: Exception) -> bool:
    """Whether a write failed for want of room, a quota or a limit. TensorFlow's errors say so in words alone."""
    return any(os.strerror(number) in str(error) for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
