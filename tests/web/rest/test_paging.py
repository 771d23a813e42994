"""Where the next page of a list is."""

import pytest

from crm.web.rest.paging import next_page

ROWS = b'[{"id" : "1"}, \n {"id" : "2", "error" : "{\\"id\\": 3}"}]'


class TestNextPage:
    @pytest.mark.parametrize(
        ("query", "limit", "offset", "expected"),
        [
            (b"", 2, 0, "limit=2&offset=2"),
            (b"limit=2", 2, 4, "limit=2&offset=6"),
            (b"a=1&offset=4&limit=2&a=2", 2, 4, "a=1&a=2&limit=2&offset=6"),
            (b"a=%0d%0a%3e%22", 2, 0, "a=%0D%0A%3E%22&limit=2&offset=2"),
            (b"", 2, 999_998, "limit=2&offset=1000000"),
        ],
    )
    def test_comes_after_a_full_one(self, query, limit, offset, expected):
        assert next_page(query, limit, offset, ROWS) == expected

    @pytest.mark.parametrize(
        ("limit", "offset", "rows"), [(3, 0, ROWS), (0, 0, b"[]"), (2, 0, b"[]"), (2, 999_999, ROWS)]
    )
    def test_there_may_be_none(self, limit, offset, rows):
        assert next_page(b"", limit, offset, rows) is None
