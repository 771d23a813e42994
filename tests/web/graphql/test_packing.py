"""gzip: for clients that ask, above 2 KiB; what is large does not hold up the others."""

import asyncio
import gzip
import zlib

import pytest

from crm.core.side_thread import SideThread
from crm.web import packing

LEADS = {"query": "{ leads(limit: 1000) { id firstName lastName email company createdAt updatedAt } }"}


@pytest.fixture
def many(db):
    def make(count):
        db.execute(
            "INSERT INTO leads (first_name, last_name, company) SELECT 'Åsa', 'Ek', 'Firm ' || n "
            "FROM generate_series(1, %s) AS n",
            [count],
        )

    return make


@pytest.fixture
def raw(client):
    """Ask, and return the response with its body as it came."""

    async def ask(coding, query=LEADS, **headers):
        headers |= {"Accept-Encoding": coding} if coding is not None else {}
        request = client.build_request("POST", "/graphql", json=query, headers=headers)
        if coding is None:
            del request.headers["accept-encoding"]
        response = await client.send(request, stream=True)
        body = b"".join([piece async for piece in response.aiter_raw()])
        await response.aclose()
        return response, body

    return ask


class TestGzip:
    @pytest.mark.parametrize("count", [50, 1000])
    async def test_packs_what_is_large(self, raw, many, count):
        many(count)
        plain_response, plain = await raw("identity")
        response, body = await raw("br, gzip;q=0.8")
        assert response.headers["content-encoding"] == "gzip"
        assert response.headers["vary"] == plain_response.headers["vary"] == "accept-encoding"
        assert gzip.decompress(body) == plain
        assert int(response.headers["content-length"]) == len(body) < len(plain) / 3
        assert "content-encoding" not in plain_response.headers

    @pytest.mark.parametrize("coding", [None, "", "br", "gzip;q=0", "gzip; q=0.0", "*", "identity", "xgzip"])
    async def test_packs_for_nobody_who_does_not_ask(self, raw, many, coding):
        many(50)
        response, body = await raw(coding)
        assert "content-encoding" not in response.headers
        assert body.startswith(b'{"data":')

    async def test_leaves_small_answers(self, raw, many):
        many(1)
        response, body = await raw("gzip")
        assert "content-encoding" not in response.headers
        assert "vary" not in response.headers
        assert body.startswith(b'{"data":')

    async def test_query_is_packed_and_has_one_tag(self, client, many):
        many(50)
        packed = await client.request("QUERY", "/graphql", json=LEADS, headers={"Accept-Encoding": "gzip"})
        plain = await client.request("QUERY", "/graphql", json=LEADS, headers={"Accept-Encoding": "identity"})
        assert packed.headers["content-encoding"] == "gzip"
        assert (packed.headers["etag"], packed.json()) == (plain.headers["etag"], plain.json())

    async def test_large_bodies_are_packed_beside_the_loop(self):
        body, turns = b'{"a": "\xc3\x85"}' * 2_000_000, 0
        packing_it = asyncio.create_task(packing.packed(body, SideThread(), "somebody"))
        while not packing_it.done():
            await asyncio.sleep(0.001)
            turns += 1
        assert turns > 3
        assert zlib.decompress(packing_it.result(), 31) == body


@pytest.mark.parametrize(
    ("given", "is_it"),
    [("*", True), ('W/"a"', True), ('"a"', True), ('"b", W/"a"', True), ('"b"', False), ("", False), ("a", False)],
)
def test_tags_match_whether_weak_or_not(given, is_it):
    assert packing.matches(given.encode(), b'W/"a"') == is_it
