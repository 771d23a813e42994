"""The words and stories themselves."""

import re
from collections.abc import Iterator
from itertools import chain

import pytest

from crm.demo import stories
from crm.demo.language import DemoLanguage, Text
from crm.demo.languages import LANGUAGES
from crm.demo.names import MARKET_SHARES
from crm.demo.people import person_of, slug

FACTS = {"first", "last", "company", "city", "need", "tool", "seats", "budget", "boss", "source"}

languages = pytest.mark.parametrize("language", LANGUAGES.values(), ids=LANGUAGES)


def facts_in(text: Text) -> set[str]:
    """What a text names."""
    return set(re.findall(r"{(\w+)}", "".join(text)))


def texts(language: DemoLanguage) -> Iterator[Text]:
    """All of them."""
    for group in (language.interactions, language.tasks, language.suggestions):
        yield from chain.from_iterable(group.values())


class TestLanguages:
    """Both languages can tell every story."""

    @languages
    def test_has_words_for_all_that_happens(self, language: DemoLanguage) -> None:
        settled = {contact.settles for contact in stories.CONTACTS.values()} - {None}
        following = set(chain.from_iterable(stage.next_tasks for stage in stories.STAGES))
        suggested = set(chain.from_iterable(stage.suggestions for stage in stories.STAGES))

        assert set(language.interactions) == set(stories.OPENINGS) | set(stories.CONTACTS)
        assert set(language.tasks) == settled | following
        assert set(language.suggestions) == suggested
        assert set(language.sources) == set(stories.SOURCES) == set(stories.OPENINGS)

    @languages
    def test_names_only_facts_that_there_are(self, language: DemoLanguage) -> None:
        assert all(facts_in(text) <= FACTS | {"seller"} for text in chain.from_iterable(language.interactions.values()))
        assert all(facts_in(text) <= FACTS for text in chain.from_iterable(language.tasks.values()))
        assert all(
            facts_in(text) <= FACTS | {"days", "last_contact"}
            for text in chain.from_iterable(language.suggestions.values())
        )

    @languages
    def test_titles_name_nothing_that_only_the_reasoning_knows(self, language: DemoLanguage) -> None:
        titles = [title for title, _ in chain.from_iterable(language.suggestions.values())]

        assert not {"days", "last_contact"} & set(chain.from_iterable(facts_in((title, "")) for title in titles))

    @languages
    def test_holds_nothing_that_copy_would_misread(self, language: DemoLanguage) -> None:
        words = [*chain.from_iterable(texts(language)), *language.job_titles, *language.needs, *language.tools]
        words += [*language.dismissals, *language.sources.values(), *language.last_contacts.values()]

        assert not [word for word in words if re.search(r"[\t\r\\]", word)]

    @languages
    def test_a_budget_is_named_only_where_it_has_been_told(self, language: DemoLanguage) -> None:
        for stage in stories.STAGES:
            for story in stage.stories:
                names = [name for name in story.contacts.replace("?", "").split() if name != "opening"]
                if stories.BUDGET_IS_TOLD_IN & set(names):
                    continue
                told = [language.interactions[name] for name in names]
                tasks = [language.tasks[name] for name in stage.next_tasks]
                suggestions = [language.suggestions[name] for name in stage.suggestions]
                named = chain.from_iterable(told + tasks + suggestions)
                assert not [text for text in named if "budget" in facts_in(text)], (stage.status, story)


class TestStories:
    """Stories make sense."""

    def test_name_contacts_that_there_are(self) -> None:
        names = {
            name.rstrip("?") for stage in stories.STAGES for story in stage.stories for name in story.contacts.split()
        }

        assert names == set(stories.CONTACTS) | {"opening"}

    def test_have_at_most_twelve_contacts(self) -> None:
        assert max(len(story.contacts.split()) for stage in stories.STAGES for story in stage.stories) <= 12

    def test_what_suggestions_say_about_the_last_contact_is_known(self) -> None:
        """Only new leads can be without any contact, and so without a last one."""
        new = next(stage for stage in stories.STAGES if stage.status == "new")
        named = [
            facts_in(text)
            for language in LANGUAGES.values()
            for name in new.suggestions
            for text in language.suggestions[name]
        ]

        assert not set(chain.from_iterable(named)) & {"last_contact"}
        assert all(story.contacts for stage in stories.STAGES if stage is not new for story in stage.stories)


class TestPeople:
    """Who a lead is follows from its id."""

    @pytest.mark.parametrize("start", [1, 1_000_000, 30_000_000])
    def test_no_two_leads_share_an_address(self, start: int) -> None:
        addresses = {person_of(lead_id).email for lead_id in range(start, start + 150_000)}

        assert len(addresses) == 150_000

    def test_nor_with_those_long_before(self) -> None:
        ids = [*range(20_000), *range(5_000_000, 5_020_000), *range(20_000_000, 20_020_000)]

        assert len({person_of(lead_id).email for lead_id in ids}) == len(ids)

    def test_different_names_are_spelt_differently_in_addresses(self) -> None:
        for market, _ in MARKET_SHARES:
            for names in (market.first_names, market.last_names, market.company_words):
                assert len({slug(name) for name in names}) == len(names)
                assert all(re.fullmatch("[a-z-]+", slug(name)) for name in names)

    def test_no_two_companies_share_a_domain(self) -> None:
        domains = [
            f"{slug(word)}-{slug(trade)}"
            for market, _ in MARKET_SHARES
            for word in market.company_words
            for trade, _ in market.trades
        ]

        assert len(set(domains)) == len(domains)

    def test_people_of_one_company_are_found_in_the_same_town(self) -> None:
        people = [person_of(lead_id) for lead_id in range(2_000)]

        assert len({(person.company, person.place) for person in people}) == len({person.company for person in people})
        assert len({person.company for person in people}) < len(people) / 2
