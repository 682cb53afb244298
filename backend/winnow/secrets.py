"""What keys of model servers are encrypted with before they are stored: Fernet, by the machine's own secret.

The secret is `WINNOW_SECRET_KEY`, or else the file `secret.key` in the data folder, made when it is first needed. Both
may hold several: the first encrypts, all decrypt, so that one can be exchanged for another.
https://cryptography.io/en/latest/fernet/#cryptography.fernet.MultiFernet
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import TYPE_CHECKING
from uuid import uuid4

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import SecretStr

from winnow.errors import SetupFault

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from winnow.settings import Settings

FILE_NAME = "secret.key"


def secrets_of(settings: Settings) -> Secrets:
    """The ring the settings say; nothing is read or made before it is used."""
    return Secrets(
        given=settings.secret_keys,
        file=settings.data_dir / FILE_NAME,
    )


class Secrets:
    """A ring of secrets: encrypts with the first, decrypts with all.

    A file is read again at each use, for another process may have exchanged what is in it.

    Args:
        given: the ring, when the settings hold it; else it is in the file.
        file: read, and made, only when nothing is given.
    """

    def __init__(self, *, given: Sequence[SecretStr] = (), file: Path) -> None:
        self._given = [secret.get_secret_value().encode() for secret in given]
        self._file = file

    @property
    def in_file(self) -> bool:
        """Whether the ring is in the file, and can be exchanged there."""
        return not self._given

    def encrypt(self, clear: SecretStr) -> bytes:
        """The encrypted form, in ASCII.

        Raises:
            SetupFault: the file cannot be made, or must not be trusted.
        """
        return _fernet(self._given or self._read() or self._make()).encrypt(clear.get_secret_value().encode())

    def decrypt(self, encrypted: bytes, *, of: str) -> SecretStr:
        """The clear form; `of` is the name of the provider whose key it is, for the message.

        Raises:
            SetupFault: it was encrypted with a secret that is not in the ring.
        """
        ring = self._given or self._read()
        if ring:
            with contextlib.suppress(InvalidToken):
                return SecretStr(_fernet(ring).decrypt(encrypted).decode())
        raise SetupFault(
            f"the key of {of} cannot be decrypted with this machine's secret; set WINNOW_SECRET_KEY to the one it was "
            f"encrypted with, or enter the key again: winnow providers edit {of} --key -"
        )

    def renew(self) -> None:
        """Puts a new secret in front of those in the file; a ring of the settings is renewed by whoever set it."""
        if self.in_file:
            self._replace([Fernet.generate_key(), *(self._read() or [])])

    def forget_unused(self, encrypted: Iterable[bytes]) -> None:
        """Takes out of the file all secrets but the first, unless one of these would be lost with them."""
        ring = self._read() if self.in_file else []
        if len(ring) > 1 and all(_decrypts(ring[:1], each) for each in encrypted):
            self._replace(ring[:1])

    def _read(self) -> list[bytes]:
        """The ring in the file; empty when there is none."""
        try:
            descriptor = os.open(self._file, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable(error) from error
        with os.fdopen(descriptor, "rb") as file:
            self._require_private(os.fstat(descriptor))
            ring = file.read(10_000).split()
        try:
            _fernet(ring)
        except ValueError:
            raise SetupFault(
                f"{self._file} holds no secrets; put it back from a copy, or delete it and enter the keys of all "
                "providers again"
            ) from None
        return ring

    def _require_private(self, state: os.stat_result) -> None:
        if state.st_uid != os.geteuid():
            raise SetupFault(f"{self._file} is another user's; run Winnow as that user, or set WINNOW_SECRET_KEY")
        if state.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise SetupFault(
                f"{self._file} can be used by others than its owner, and so can the keys it protects; run: "
                f"chmod 600 {self._file}"
            )

    def _make(self) -> list[bytes]:
        """A file with a new secret, whole or not at all; when another process was first, that one's."""
        try:
            self._make_folder()
            draft = self._draft([Fernet.generate_key()])
            try:
                with contextlib.suppress(FileExistsError):
                    os.link(draft, self._file)
            finally:
                draft.unlink()
            _sync(self._file.parent)
        except OSError as error:
            raise self._unusable(error) from error
        return self._read()

    def _replace(self, ring: Sequence[bytes]) -> None:
        try:
            self._make_folder()
            self._draft(ring).replace(self._file)
            _sync(self._file.parent)
        except OSError as error:
            raise self._unusable(error) from error

    def _make_folder(self) -> None:
        folder = self._file.parent
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if os.geteuid() == 0:  # PostgreSQL's own account enters it, should servers be embedded here later
                folder.chmod(0o711)

    def _draft(self, ring: Sequence[bytes]) -> Path:
        """A file of its own beside it, that is on the disk."""
        draft = self._file.with_name(f"{self._file.name}.{uuid4().hex}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"".join(secret + b"\n" for secret in ring))
            file.flush()
            os.fsync(descriptor)
        return draft

    def _unusable(self, error: OSError) -> SetupFault:
        return SetupFault(
            f"the secret that keys are encrypted with cannot be kept in {self._file} ({error.strerror or error}); set "
            "WINNOW_SECRET_KEY, the same for all processes, to what this prints: openssl rand -base64 32"
        )


def _fernet(ring: Sequence[bytes]) -> MultiFernet:
    # openssl and others write + and / where Fernet's own alphabet has - and _
    return MultiFernet([Fernet(secret.translate(bytes.maketrans(b"+/", b"-_"))) for secret in ring])


def _decrypts(ring: Sequence[bytes], encrypted: bytes) -> bool:
    try:
        _fernet(ring).decrypt(encrypted)
    except InvalidToken:
        return False
    return True


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
