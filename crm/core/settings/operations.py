"""Operations: how large they may be, what they may cost, and what their answers may take."""

from pydantic import BaseModel, Field


class OperationSettings(BaseModel):
    """Operations: how large they may be, what they may cost, and what their answers may take."""

    request_timeout_seconds: float = Field(default=30, gt=0, le=3600, description="A request's deadline.")
    max_answer_bytes: int = Field(
        default=8 * 1024 * 1024,
        ge=1024,
        description="The largest answer. While it is made, PostgreSQL holds it up to seven times, a process four.",
    )
    large_answer_bytes: int = Field(
        default=1024 * 1024,
        ge=1024,
        description="Answers from this size on queue for a few slots.",
    )
    large_answers: int = Field(default=4, ge=1, le=100, description="How many large answers may be under way at once.")
    plan_cache_bytes: int = Field(default=64 * 1024 * 1024, ge=0, description="Memory for compiled operations.")
    max_depth: int = Field(default=12, ge=1, description="How deep a selection may nest.")
    max_introspection_depth: int = Field(default=20, ge=1, description="The same for `__schema` and `__type`.")
    max_fields: int = Field(default=500, ge=1, description="Fields per operation, fragments expanded.")
    max_aliases: int = Field(default=30, ge=1, description="Aliases per operation, fragments expanded.")
    max_directives: int = Field(default=50, ge=0, description="Directives per operation.")
    max_operations: int = Field(default=50, ge=1, description="Operations per document.")
    max_fragments: int = Field(default=50, ge=0, description="Named fragments per document.")
    max_tokens: int = Field(default=4000, ge=10, description="Lexical tokens per document.")
    max_cost: int = Field(
        default=10_000,
        ge=1,
        description="Cost points per operation: roughly the records it may touch.",
    )
    max_validation_errors: int = Field(default=5, ge=1, le=100, description="Validation errors shown at once.")
