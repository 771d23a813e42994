"""Persisted documents: those that clients may name by an id instead of sending them, or the only ones that run.

Clients name one as `documentId` (an appendix to GraphQL over HTTP) or in `extensions.persistedQuery` (Apollo).
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

import orjson

from crm.core import errors

_PREFIX: Final = "sha256:"


class UntrustedDocument(errors.Forbidden):
    """Only documents that the server knows are run (CRM_TRUSTED_DOCUMENTS): add yours to its files, and restart it."""


class PersistedDocuments:
    """Documents by the ids that clients may send."""

    def __init__(self, by_id: Mapping[str, str], *, only: bool = False) -> None:
        self._by_id = {**by_id}
        for text in by_id.values():
            digest = sha256(text.encode()).hexdigest()
            self._by_id[digest] = self._by_id[_PREFIX + digest] = text
        self._texts = frozenset(by_id.values())
        self._only = only

    @classmethod
    def read(cls, files: Iterable[Path], *, only: bool) -> Self:
        """Read what graphql-codegen writes (`persisted-documents.json`): texts by their ids, mostly hashes."""
        by_id: dict[str, str] = {}
        for file in files:
            by_id |= orjson.loads(file.read_bytes())
        return cls(by_id, only=only)

    def sent(self, text: str) -> str:
        """A document that was sent as a whole, if such are run."""
        if self._only and text not in self._texts:
            raise UntrustedDocument
        return text

    def named(self, parameters: Mapping[str, Any]) -> str | None:
        """The document that a request names; None if it names none."""
        extensions = parameters.get("extensions")
        persisted = extensions.get("persistedQuery") if isinstance(extensions, dict) else None
        key = parameters.get("documentId") or (persisted.get("sha256Hash") if isinstance(persisted, dict) else None)
        if not isinstance(key, str) or not key:
            return None
        if not self._by_id:
            raise errors.PersistedQueryNotSupported
        text = self._by_id.get(key)
        if text is None:
            raise errors.PersistedQueryNotFound
        return text


NONE: Final = PersistedDocuments({})
