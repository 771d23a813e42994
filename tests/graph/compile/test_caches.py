"""What the engine remembers, and how little."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crm.core.settings import Settings
from crm.db.database import Database
from crm.graph.compile.caches import SecondUseCache
from crm.graph.run.engine import Engine, Request
from crm.schema import schema
from tests.graph.asking import data


def plan_of(engine, viewer, query, variables):
    operation = engine.operation(Request(query))
    return engine.plan(operation, operation.coerce(variables), viewer)


class TestDocuments:
    async def test_a_flood_of_one_off_documents_leaves_next_to_nothing(self, engine, viewers):
        for number in range(300):
            await data(engine, viewers["viewer"], f"{{ a{number}: __typename }}")
        assert len(engine.documents) == 0
        assert engine.documents.bytes <= engine.settings.plan_cache_bytes / 16

    async def test_the_second_use_is_kept(self, engine, viewers):
        for _ in range(3):
            await data(engine, viewers["viewer"], "{ me { id } }")
        assert len(engine.documents) == 1

    async def test_the_second_use_finds_all_that_the_first_made(self, engine, viewers):
        request = Request("{ me { id } }")
        await data(engine, viewers["viewer"], request.query)
        operation = engine.known(request)
        assert engine.plan(operation, {}, viewers["viewer"]).shaped.ready({}, viewers["viewer"]) is not None

    async def test_a_flood_of_repeated_documents_is_bounded(self, database_url, viewers):
        database = Database(database_url, size=1)
        engine = Engine(schema, database, Settings(plan_cache_bytes=1_000_000))
        for number in range(200):
            for _ in range(2):
                await data(engine, viewers["viewer"], f"{{ a{number}: __typename }}")
        assert 0 < len(engine.documents) < 200
        assert engine.documents.bytes <= 1_000_000
        database.close()


class TestSecondUseCache:
    def test_the_least_used_goes_first(self):
        cache = SecondUseCache(100)
        for key in ("a", "a", "b", "b"):
            cache.offer(key, key, 50)
        cache.get("a")
        for _ in range(2):
            cache.offer("c", "c", 50)
        assert [cache.get(key) for key in "abc"] == ["a", None, "c"]
        assert cache.bytes == 100

    def test_what_is_larger_than_the_cache_is_not_kept(self):
        cache = SecondUseCache(100)
        for _ in range(3):
            cache.offer("a", "a", 101)
        assert len(cache) == cache.bytes == 0

    def test_a_key_offered_again_counts_once(self):
        cache = SecondUseCache(100)
        for _ in range(5):
            cache.offer("a", "a", 30)
        assert (len(cache), cache.bytes) == (1, 30)

    def test_newcomers_wait_in_a_small_share(self):
        cache = SecondUseCache(160)
        for key in "abc":
            cache.offer(key, key, 4)
        assert [cache.get(key) for key in "abc"] == [None, "b", "c"]
        assert (len(cache), cache.bytes) == (2, 8)
        cache.grow("c", 3)
        assert cache.bytes == 11

    def test_a_newcomer_that_grows_too_large_goes(self):
        cache = SecondUseCache(160)
        cache.offer("a", "a", 4)
        cache.grow("a", 7)
        assert cache.get("a") is None
        assert cache.bytes == 0

    @given(st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 40), st.booleans()), max_size=60))
    def test_it_counts_what_it_holds(self, steps):
        """Whatever is done with it, its bytes are those of its values, and no more than it may have."""
        cache, sizes = SecondUseCache(100), {}
        for key, size, grows in steps:
            if cache.get(key) is None:
                cache.offer(key, key, size)
                sizes[key] = size
            elif grows:
                cache.grow(key, size)
                sizes[key] += size
            held = {**cache._entries, **cache._newcomers}  # noqa: SLF001
            assert cache.bytes == sum(size for _, size in held.values()) <= 100
            assert all(sizes[key] == size for key, (_, size) in held.items())

    def test_it_forgets_what_it_saw_long_ago(self):
        cache = SecondUseCache(100, remembered=10)
        cache.offer("a", "a", 1)
        for number in range(10):
            cache.offer(str(number), "x", 1)
        cache.offer("a", "a", 1)
        assert len(cache) == 0


class TestPlans:
    QUERY = """query($w: LeadFilter, $n: Int, $s: Boolean! = false) {
        leads(filter: $w, limit: $n) { id version @skip(if: $s) } }"""

    @pytest.fixture
    async def twice(self, engine, viewers, db):  # noqa: ARG002  (over empty tables)
        for _ in range(2):
            await data(engine, viewers["viewer"], self.QUERY)
        return engine

    async def test_are_shared_by_equal_shapes(self, twice, viewers):
        one = plan_of(twice, viewers["viewer"], self.QUERY, {"n": 1})
        assert plan_of(twice, viewers["viewer"], self.QUERY, {"n": 2, "w": {}}) is one
        assert plan_of(twice, viewers["viewer"], self.QUERY, {"s": True}) is not one
        assert plan_of(twice, viewers["admin"], self.QUERY, {"n": 1}) is not one

    async def test_what_is_dropped_counts_no_more(self, engine, viewers, db):  # noqa: ARG002  (over empty tables)
        flags = [f"f{number}" for number in range(6)]  # twice as many plans as are kept
        defined, parts = (
            " ".join(pattern % ((flag,) * pattern.count("%s")) for flag in flags)
            for pattern in ("$%s: Boolean!", "%s: version @include(if: $%s)")
        )
        query = f"query({defined}) {{ leads {{ id {parts} }} }}"
        sizes = []
        for _ in range(3):
            for number in range(64):
                chosen = {flag: bool(number >> place & 1) for place, flag in enumerate(flags)}
                for _ in range(2):
                    await data(engine, viewers["viewer"], query, chosen)
            sizes.append(engine.documents.bytes)
        assert sizes[2] == sizes[1] == sizes[0]

    async def test_values_share_a_statement_and_shapes_do_not(self, twice, viewers):
        shaped = plan_of(twice, viewers["viewer"], self.QUERY, {}).shaped
        texts = [
            {"w": {"id": {"eq": 1}}, "n": 5},
            {"w": {"id": {"eq": 2}}, "n": 6},
            {"w": {"id": {"gt": 1}}, "n": 5},
            {"w": {"id": {"eq": 1}}},
        ]
        operation = twice.operation(Request(self.QUERY))
        for one in texts:
            shaped.step(operation.coerce(one), viewers["viewer"])
        first, same, other, unlimited = (shaped.step(operation.coerce(one), viewers["viewer"])[0] for one in texts)
        assert first is same
        assert len({first, other, unlimited}) == 3

    async def test_a_flood_of_one_off_shapes_leaves_next_to_nothing(self, twice, viewers):
        usual = plan_of(twice, viewers["viewer"], self.QUERY, {}).shaped.step({}, viewers["viewer"])[0]
        before = twice.documents.bytes
        for where in shapes():
            await data(twice, viewers["viewer"], self.QUERY, {"w": where})
        assert twice.documents.bytes <= before + 256 * 1024 / 16
        assert plan_of(twice, viewers["viewer"], self.QUERY, {}).shaped.step({}, viewers["viewer"])[0] is usual

    async def test_a_flood_of_repeated_shapes_is_bounded_and_counted(self, database_url, viewers):
        database = Database(database_url, size=1)
        engine = Engine(schema, database, Settings(plan_cache_bytes=600_000))
        texts = [self.QUERY.replace("version", f"v{number}: version") for number in range(3)]
        sizes = []
        for text in texts:
            for where in [None, None, *shapes(), *shapes()]:
                operation = engine.operation(Request(text))
                variables = operation.coerce({"w": where})
                await engine.plan(operation, variables, viewers["viewer"]).shaped.bound(
                    variables, viewers["viewer"], engine.side
                )
            sizes.append(engine.documents.bytes)
        assert sizes[0] > 150_000  # the shapes of one document: a quarter of a MiB at most, and counted with it
        assert max(sizes) <= 600_000
        assert 0 < len(engine.documents) < len(texts)
        database.close()


def shapes() -> list[dict[str, object]]:
    """Filters of 127 shapes."""
    names = ["company", "email", "phone", "source", "location", "currency", "summary"]
    return [
        {name: {"eq": "x"} for bit, name in enumerate(names) if number >> bit & 1}
        for number in range(1, 2 ** len(names))
    ]
