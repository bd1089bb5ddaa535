"""Files that hold secrets: nobody but the server may read them."""

import os
import stat
from pathlib import Path

from surrogate_fmu.errors import ConfigError


def check_private(path: Path, what: str) -> None:
    """Refuse a file that others can read. Windows has no such modes, so nothing is refused there.

    A file of root may be read by its group too: that is how Kubernetes mounts a Secret for a container that is not root (the
    same rule as PostgreSQL has for the key of its server).

    Args:
        path: of the file.
        what: the file is, for the message: "key file".

    Raises:
        ConfigError: its mode lets others read or change it.
        OSError: there is no such file.
    """
    if os.name != "posix":
        return
    status = path.stat()
    mode = stat.S_IMODE(status.st_mode)
    mounted = status.st_uid == 0 and os.geteuid() != 0
    if mode & (0o037 if mounted else 0o077):
        raise ConfigError(f"the {what} {path} (mode {mode:04o}) can be read by others; run: chmod 600 {path}")
