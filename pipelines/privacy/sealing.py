"""Encryption of single values: tokens that are equal where values are, and hashes to look them up by.

Tokens are AES-SIV (RFC 5297): the same value of the same kind always gives the same token, so that
columns still join, compress and show duplicates, and a token that was changed does not open. What an
onlooker without the key learns is which values are equal, and about how long they are.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeGuard

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from feature_repo.configuration import ConfigurationError, Problem
from pipelines.console import UserError
from pipelines.settings.workspace import Workspace

# Kind of text that is sealed whole, because nobody can tell what it holds.
WHOLE_ROW = "quarantine"
ENVIRONMENT_KEY = "TWIN_ENCRYPTION_KEY"
MARK = "enc:1:"
_TOKEN = re.compile(r"enc:1:[A-Za-z0-9_-]{22,}")
_SHORTEST_KEY = 32
_MAKE_ONE = f"`twin keys encryption` prints a fresh key; keep it safe, and set it as {ENVIRONMENT_KEY}"


class EncryptionKeyMissing(UserError):
    """There is personal data to seal or to open, and no key."""


class Sealer:
    """Seals and opens values with one key. Thread-safe; the key itself is never shown."""

    def __init__(self, key: bytes) -> None:
        """`key`: at least 32 random bytes. Raises ValueError if it is shorter."""
        if len(key) < _SHORTEST_KEY:
            raise ValueError(f"a key of at least {_SHORTEST_KEY} bytes")
        self._cipher = AESSIV(_derived(key, "seal", 64))
        self._hash_key = _derived(key, "lookup", 32)
        self.key_id = _derived(key, "key id", 8).hex()

    def seal(self, kind: str, value: str) -> str:
        """The token of `value`; only the same `kind` opens it. A token of this key and kind stays what it is."""
        # Text that only looks like a token is a value like any other.
        if value.startswith(MARK) and self._opened(kind, value) is not None:
            return value
        return _token(self._cipher.encrypt(value.encode("utf-8", "surrogatepass"), [kind.encode()]))

    def open(self, kind: str, token: str) -> str:
        """The value that was sealed.

        Raises:
            UserError: it is no token of this key and kind, or it was damaged.
        """
        value = self._opened(kind, token)
        if value is None:
            raise _not_opened(kind)
        return value

    def seal_json(self, kind: str, value: Any) -> str:
        """The token of any JSON value; text has the token that `seal` gives it."""
        if isinstance(value, str):
            known = value.startswith(MARK) and self._opened(_json_kind(kind), value) is not None
            return value if known else self.seal(kind, value)
        return self.seal(_json_kind(kind), msgspec.json.encode(value).decode())

    def open_json(self, kind: str, token: str) -> Any:
        """The inverse of `seal_json`. Raises UserError as `open` does."""
        value = self._opened(kind, token)
        if value is not None:
            return value
        text = self._opened(_json_kind(kind), token)
        if text is None:
            raise _not_opened(kind)
        return msgspec.json.decode(text)

    def lookup(self, kind: str, normalised: str) -> str:
        """32 hexadecimal digits that stand for a value in indexes, and do not open: keyed BLAKE2b."""
        text = f"{kind}\0{normalised}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16, key=self._hash_key).hexdigest()

    def _opened(self, kind: str, token: str) -> str | None:
        if not is_sealed(token):
            return None
        body = token.removeprefix(MARK)
        try:
            sealed = base64.urlsafe_b64decode(body + "=" * (-len(body) % 4))
            value = self._cipher.decrypt(sealed, [kind.encode()])
        except (InvalidTag, binascii.Error):
            return None
        # Base64 can write the same bytes in several ways; equal values have one token only.
        return value.decode("utf-8", "surrogatepass") if _token(sealed) == token else None


def _token(sealed: bytes) -> str:
    return MARK + base64.urlsafe_b64encode(sealed).rstrip(b"=").decode()


def is_sealed(text: object) -> TypeGuard[str]:
    """Whether this has the form of a token; whose key it is of, only opening it tells."""
    return isinstance(text, str) and text.startswith(MARK) and _TOKEN.fullmatch(text) is not None


def new_key() -> str:
    """A fresh key as it stands in the environment."""
    return base64.b64encode(secrets.token_bytes(_SHORTEST_KEY)).decode()


def sealer_of(workspace: Workspace) -> Sealer:
    """The sealer of a workspace: its key is the environment's, else the one the demo made for itself.

    The first use notes the key's id in the workspace, which refuses every other key from then on.

    Raises:
        EncryptionKeyMissing: there is no key.
        ConfigurationError: the key cannot be read as one.
        UserError: the workspace was sealed with another key.
    """
    sealer = Sealer(_key(workspace))
    noted = _noted(workspace.encryption_id, sealer.key_id)
    if noted != sealer.key_id:
        hint = f"set {ENVIRONMENT_KEY} to the key this workspace began with; with another, nothing in it would match"
        raise UserError(
            f"workspace {workspace.name!r} is encrypted with another key",
            [Problem(ENVIRONMENT_KEY, f"the key with id {noted}", f"the key with id {sealer.key_id}", hint)],
        )
    return sealer


def make_demo_key(workspace: Workspace) -> bool:
    """Give a workspace a key of its own where the environment has none; False if there was one already."""
    if os.environ.get(ENVIRONMENT_KEY, "").strip() or workspace.demo_key.exists():
        return False
    workspace.root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(workspace.demo_key, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as stream:
        stream.write(new_key() + "\n")
        stream.flush()
        os.fsync(stream.fileno())
    return True


def _key(workspace: Workspace) -> bytes:
    text, place = os.environ.get(ENVIRONMENT_KEY, "").strip(), ENVIRONMENT_KEY
    if not text and workspace.demo_key.exists():
        text, place = workspace.demo_key.read_text().strip(), str(workspace.demo_key)
    if not text:
        problem = Problem(ENVIRONMENT_KEY, "a key for personal data", "nothing", _MAKE_ONE)
        raise EncryptionKeyMissing("there is personal data here, and no key to encrypt it with", [problem])
    try:
        plain = text.rstrip("=").replace("-", "+").replace("_", "/")
        key = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _unfit(place, "text that is not base64") from None
    if len(key) < _SHORTEST_KEY:
        raise _unfit(place, f"{len(key)} bytes")
    return key


def _unfit(place: str, got: str) -> ConfigurationError:
    return ConfigurationError([Problem(place, f"base64 of at least {_SHORTEST_KEY} random bytes", got, _MAKE_ONE)])


def _noted(file: Path, key_id: str) -> str:
    """The id in `file`, which is made with `key_id` if there is none; whole or not at all, whoever else tries."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=file.parent, prefix=".encryption-") as fresh:
            fresh.write(key_id + "\n")
            fresh.flush()
            os.fsync(fresh.fileno())
            with suppress(FileExistsError):
                os.link(fresh.name, file)
    return file.read_text().strip()


def _derived(key: bytes, purpose: str, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=f"customer-twin/1/{purpose}".encode()).derive(key)


def _json_kind(kind: str) -> str:
    return f"json:{kind}"


def _not_opened(kind: str) -> UserError:
    hint = f"check {ENVIRONMENT_KEY}, and that nobody edited the value"
    return UserError(
        "an encrypted value cannot be opened",
        [Problem(kind, "a token of this key", "one of another key or kind, or a damaged one", hint)],
    )
