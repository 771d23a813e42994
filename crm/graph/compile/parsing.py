"""Parsing of documents: text becomes a syntax tree, or an error that says where it is none."""

import re
from bisect import bisect_right
from typing import Final

from graphql import DocumentNode, GraphQLError, GraphQLSyntaxError, Lexer, Source, SourceLocation, Token
from graphql.language.parser import Parser

from crm.core import errors
from crm.core.settings import Settings
from crm.graph.run.error_fields import MAX_MESSAGE, problems

_TOO_MANY_TOKENS: Final = "Document contains more than"
_LINE_BREAK: Final = re.compile(r"\r\n|[\n\r]")


class InvalidDocument(errors.BadUserInput):
    """The document, or its variables, are not valid GraphQL for this schema."""

    def __init__(self, graphql_errors: list[GraphQLError], document: DocumentNode | None = None) -> None:
        super().__init__(graphql_errors[0].message[:MAX_MESSAGE])
        # Computed here, since it walks the document: where documents are read there is time for that.
        self.rendered = problems(graphql_errors, document, self.code)


class UnparsedDocument(InvalidDocument):
    """The document is not GraphQL."""


class _Text(Source):
    """A document's text, which finds lines by bisection.

    Each error of an execution needs its location: sixty of them after 250,000 line breaks took graphql-core 0.4 s.
    """

    def __init__(self, body: str) -> None:
        super().__init__(body)
        self._starts = [0, *(line_break.end() for line_break in _LINE_BREAK.finditer(body))]

    def get_location(self, position: int) -> SourceLocation:
        """The line and column of a position."""
        line = bisect_right(self._starts, position)
        return SourceLocation(line, position + 1 - self._starts[line - 1])


def parsed(text: str, limits: Settings) -> DocumentNode:
    """The syntax tree of a document, or the error that it is none."""
    lexer = Lexer(_Text(text))
    parser = Parser(lexer.source, max_tokens=limits.max_tokens, allow_empty_selection_sets=False, lexer=lexer)
    try:
        return parser.parse_document()
    except GraphQLSyntaxError as error:
        if _TOO_MANY_TOKENS not in error.message:
            raise UnparsedDocument([error]) from None
        message = f"The document has more than {limits.max_tokens:,} tokens."
        raise errors.TooComplex(message, limit=limits.max_tokens, what="tokens") from None
    finally:
        _unchain(lexer)


def _unchain(lexer: Lexer) -> None:
    """Cut the chain of tokens, which refer to each other: the syntax tree is then freed with its last user."""
    token: Token | None = lexer.token
    while token is not None and token.next is not None:
        token = token.next
    while token is not None:
        former = token.prev
        token.prev = token.next = None
        token = former
