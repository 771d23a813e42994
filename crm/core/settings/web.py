"""Connections of clients: requests, answers and WebSockets."""

from pathlib import Path
from typing import Self

from pydantic import BaseModel, Field, TypeAdapter, model_validator

_DOCUMENTS = TypeAdapter(dict[str, str])


class WebSettings(BaseModel):
    """Connections of clients: requests, answers and WebSockets."""

    federation: bool = Field(
        default=False,
        description="Whether gateways of Apollo Federation 2 may ask (`_service`, `_entities`) the API as a subgraph.",
    )
    max_body_bytes: int = Field(default=256 * 1024, ge=1024, description="The largest request body.")
    max_bulk_body_bytes: int = Field(
        default=2 * 1024 * 1024, ge=1024, description="The same for mutations of many records, like `createLeads`."
    )
    max_head_bytes: int = Field(
        default=64 * 1024, ge=4096, description="A request's line and headers together; larger ones get 431."
    )
    head_timeout_seconds: float = Field(
        default=10,
        gt=0,
        le=600,
        description="A connection's first request, or one that has begun, sends its head in this.",
    )
    body_timeout_seconds: float = Field(
        default=30, gt=0, le=3600, description="A request's body must have come this long after its head."
    )
    stalled_reader_seconds: float = Field(
        default=60, gt=0, le=3600, description="A client that takes nothing of its answer for so long is dropped."
    )
    max_kept_body_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="What a process keeps of request bodies that are not answered yet, and of WebSocket messages that "
        "are not whole yet, one user at most half of it. Beyond it the one that has been coming for the longest time "
        "gets 503 (a WebSocket: 1013).",
    )
    max_unread_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=1024 * 1024,
        description="What a process keeps of answers that their clients do not read; beyond it the client that has not "
        "read for the longest time is dropped. Answers that are being made come on top.",
    )
    max_connections: int = Field(
        default=5000,
        ge=10,
        description="Open connections per process, WebSockets included; more get 503. "
        "The limit of open files (`ulimit -n`) is raised to fit, or lowers this.",
    )
    drain_seconds: float = Field(
        default=3,
        ge=0,
        le=600,
        description="After SIGTERM: how long idle connections may send one more request (its answer says "
        "`Connection: close`) before they are closed. `crm dev` waits for none.",
    )
    websocket_init_seconds: float = Field(
        default=10,
        gt=0,
        description="A WebSocket must send `connection_init` within this time.",
    )
    websocket_ping_seconds: float = Field(
        default=20,
        gt=0,
        le=600,
        description="A WebSocket is pinged this often, and dropped when no answer comes for as long again.",
    )
    websocket_buffer_bytes: int = Field(
        default=1024 * 1024,
        ge=4096,
        description="What may wait for a slow reader of `/ws/ai-tasks`; one who is further behind is dropped.",
    )
    persisted_documents: str = Field(
        default="",
        description="Files with documents that clients may name by an id, separated by commas: what graphql-codegen "
        "writes as persisted-documents.json. Those of the releases in use, old ones too.",
    )
    trusted_documents: bool = Field(
        default=False, description="Whether only these documents are run, at /graphql and over WebSockets."
    )
    websocket_operations: int = Field(default=100, ge=1, description="Operations at once on one WebSocket.")
    max_subscription_bytes: int = Field(
        default=128 * 1024 * 1024,
        ge=1024 * 1024,
        description="Memory for the subscriptions of a process, half of it for one user: about 30 KB for each that "
        "differs from all others by its document or its variables. Beyond it a subscription is refused.",
    )

    @property
    def document_files(self) -> list[Path]:
        """The files of persisted documents."""
        return [Path(name.strip()) for name in self.persisted_documents.split(",") if name.strip()]

    @model_validator(mode="after")
    def _documents_can_be_read(self) -> Self:
        if self.trusted_documents and not self.document_files:
            msg = "CRM_TRUSTED_DOCUMENTS needs CRM_PERSISTED_DOCUMENTS"
            raise ValueError(msg)
        for file in self.document_files:
            try:
                _DOCUMENTS.validate_json(file.read_bytes())
            except (OSError, ValueError):
                msg = f"CRM_PERSISTED_DOCUMENTS: {file} is no JSON object of documents by their ids"
                raise ValueError(msg) from None
        return self
