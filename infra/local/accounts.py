"""The system account for a server that refuses to run as root, and where it may read and write."""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path

from infra.local.errors import AccountMissing
from infra.local.processes import Account

PREFERRED = "postgres"  # Debian's packages make it
FALLBACK = "incidents-postgres"
STATE = Path("/var/lib/incidents")  # for homes that lie under a folder which only root may enter, such as /root


def server_account() -> Account | None:
    """None for an ordinary user; for root the account to run as, made when neither exists. Raises `AccountMissing`."""
    if os.geteuid() != 0:
        return None
    for name in (PREFERRED, FALLBACK):
        found = _lookup(name)
        if found is not None:
            return found
    command = [
        "useradd",
        "--system",
        "--user-group",
        "--no-create-home",
        "--shell",
        "/usr/sbin/nologin",
        FALLBACK,
    ]
    if shutil.which("useradd") is None:
        raise AccountMissing(FALLBACK, "there is no useradd")
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    made = _lookup(FALLBACK)
    if made is None:
        raise AccountMissing(FALLBACK, answer.stderr.strip())
    return made


def _lookup(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(name, entry.pw_uid, entry.pw_gid)


def may_enter(account: Account | None, folder: Path) -> bool:
    """Whether an account can reach a folder: it may search each folder on the way (or None: the caller, who can)."""
    if account is None:
        return True
    for step in (folder, *folder.parents):
        if step.exists():
            status = step.stat()
            bit = stat.S_IXOTH
            if status.st_uid == account.uid:
                bit = stat.S_IXUSR
            elif status.st_gid == account.gid:
                bit = stat.S_IXGRP
            if not status.st_mode & bit:
                return False
    return True


def reachable_folder(account: Account | None, wanted: Path) -> Path:
    """`wanted` where the account can reach it, else a folder of its own under `STATE`, the same one every time."""
    if may_enter(account, wanted.parent):
        return wanted
    digest = hashlib.sha256(str(wanted).encode()).hexdigest()[:16]
    return STATE / f"{wanted.name}-{digest}"


def give(account: Account | None, folder: Path) -> None:
    """Make a folder that belongs to the account and that nobody else reads."""
    folder.mkdir(parents=True, exist_ok=True)
    if account is not None:
        os.chown(folder, account.uid, account.gid)
    folder.chmod(0o700)
