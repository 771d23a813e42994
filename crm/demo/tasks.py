"""Writes tasks: those that contacts settled, those that come next, and suggestions of the playbook."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from crm.demo import stories
from crm.demo.cases import Case, Occasion, Sellers
from crm.demo.dice import Dice
from crm.demo.languages import LANGUAGES
from crm.demo.rows import NULL, escaped
from crm.demo.worktime import DAY, WorkTime
from crm.sales.tasks.model import TaskGenerator, TaskSource

TASK_COLUMNS = (
    "lead_id, title, description, due_date, completed, completed_at, priority, source, dismissed_reason, ai_reasoning, "
    "generated_by, model, rule, prompt_version, decided_at, decided_by_id, assignee_id, version, created_at, updated_at"
)
MOST = 6
AFTERNOON = 8 * 60  # into the working day
QUIET = 2 * DAY  # before the playbook suggests anything

_MANUAL, _SUGGESTED, _DISMISSED = (
    source.value for source in (TaskSource.MANUAL, TaskSource.AI_SUGGESTED, TaskSource.DISMISSED)
)
_PLAYBOOK = TaskGenerator.PLAYBOOK.value
_VERSION = "demo"
# The rule of the playbook that would make each suggestion.
RULES = {
    "call_new": "new-call",
    "write_new": "new-write",
    "revive_cold": "gone-cold",
    "book_meeting": "contacted-without-a-meeting",
    "share_case": "keep-going",
    "move_to_proposal": "write-a-proposal",
    "chase_proposal": "proposal-silent",
    "involve_decider": "proposal-lies-with-another",
    "ask_referral": "won-referral",
    "grow_account": "won-grow",
    "win_back": "lost-win-back",
}
_WORDS = {
    code: {
        name: tuple(f"{escaped(title)}\t{escaped(description)}" for title, description in texts)
        for name, texts in language.tasks.items()
    }
    for code, language in LANGUAGES.items()
}


@dataclass(slots=True)
class TaskDraft:
    """A task about to be written. Times are working minutes."""

    words: str  # title and description
    created: int
    due: int
    updated: int | None = None
    done: int | None = None
    source: str = _MANUAL
    dismissed_reason: str = NULL
    reasoning: str = NULL
    generated_by: str = NULL
    rule: str = NULL
    is_decided: bool = False


class TaskWriter:
    """Writes the tasks of leads."""

    def __init__(self, dice: Dice, time: WorkTime, sellers: Sellers) -> None:
        self.dice = dice
        self.time = time
        self.now = time.now
        self.sellers = sellers

    def tasks(self, case: Case) -> list[str]:
        """The rows of a lead's tasks, at most six: settled ones, open ones, suggestions."""
        stage = case.stage
        settled = [occasion.contact.settles for occasion in case.occasions]
        following = [name for name in self._some(stage.next_tasks, stage.next_task_counts) if name not in settled]
        is_quiet = self.now - case.last > QUIET + 1
        suggested = self._some(stage.suggestions, stage.suggestion_counts) if is_quiet else []
        return [
            self._row(case, draft)
            for draft in (
                *islice(self._settled(case), MOST - len(following) - len(suggested)),
                *(self._following(case, name) for name in following),
                *(self._suggested(case, name) for name in suggested),
            )
        ]

    def _some(self, names: Sequence[str], counts: Sequence[int]) -> list[str]:
        """Some of these names, each once."""
        start = self.dice.below(len(names))
        return [names[(start + n) % len(names)] for n in range(self.dice.pick(counts))]

    def _settled(self, case: Case) -> Iterator[TaskDraft]:
        """Tasks that were noted after one contact and done with the next."""
        before = case.created
        for occasion in case.occasions:
            name = occasion.contact.settles
            if name and self.dice.chance(stories.TASK_IS_NOTED_FOR_CONTACT):
                yield self._settled_by(occasion, before, self._words(case, name))
            before = occasion.at

    def _settled_by(self, occasion: Occasion, before: int, words: str) -> TaskDraft:
        dice = self.dice
        created = min(before + dice.between(1, 60), occasion.at)
        done = occasion.at + dice.between(5, 50)
        due = _afternoon(occasion.at + dice.between(-1, 3) * DAY, created)
        return TaskDraft(words, created, due, updated=done, done=done)

    def _following(self, case: Case, name: str) -> TaskDraft:
        """A task that is still open; some are overdue."""
        dice = self.dice
        due = self.now + dice.between(-8, 15) * DAY
        latest = min(due - DAY, self.now - 1)
        created = max(case.last + 1, latest - dice.below(8 * DAY))
        return TaskDraft(self._words(case, name), created, _afternoon(due, created))

    def _suggested(self, case: Case, name: str) -> TaskDraft:
        """A suggestion of the playbook: open, dismissed, or accepted."""
        dice, facts = self.dice, case.facts
        language = LANGUAGES[case.language]
        lot = dice.random() * 100 - stories.SUGGESTIONS_DISMISSED
        dismissed, accepted = lot < 0, 0 <= lot < stories.SUGGESTIONS_ACCEPTED
        earliest = case.last + QUIET
        created = earliest if dismissed or accepted else max(earliest, self.now - 3 * DAY)
        created += dice.below(self.now - 1 - created)
        answered = created + dice.below(min(2 * DAY, self.now - 1 - created)) if dismissed or accepted else None

        facts["days"] = (created - case.last) // DAY
        facts["last_contact"] = language.last_contacts[case.occasions[-1].contact.by] if case.occasions else ""
        title, reasoning = dice.pick(language.suggestions[name])
        return TaskDraft(
            f"{title.format_map(facts)}\t{NULL}",
            created,
            _afternoon(created + dice.between(1, 5) * DAY, created),
            updated=answered,
            done=answered if accepted and dice.chance(stories.ACCEPTED_SUGGESTIONS_DONE) else None,
            source=_DISMISSED if dismissed else _MANUAL if accepted else _SUGGESTED,
            dismissed_reason=dice.pick(language.dismissals) if dismissed else NULL,
            reasoning=reasoning.format_map(facts),
            generated_by=_PLAYBOOK,
            rule=RULES[name],
            is_decided=dismissed or accepted,
        )

    def _words(self, case: Case, name: str) -> str:
        return self.dice.pick(_WORDS[case.language][name]).format_map(case.facts)

    def _row(self, case: Case, draft: TaskDraft) -> str:
        dice, stamp = self.dice, self.time.stamp
        created = stamp(draft.created)
        updated = created if draft.updated is None else stamp(draft.updated)
        completed, done = ("f", NULL) if draft.done is None else ("t", stamp(draft.done))
        if case.owner is None:
            assignee = NULL
        elif dice.chance(stories.TASKS_OF_ANOTHER_COLLEAGUE):
            assignee = dice.pick(self.sellers[case.language]).id
        else:
            assignee = case.owner.id
        model, version = (NULL, NULL) if draft.rule == NULL else (_PLAYBOOK, _VERSION)
        decided, decided_by = (updated, assignee) if draft.is_decided else (NULL, NULL)
        return (
            f"{case.id}\t{draft.words}\t{stamp(draft.due)}\t{completed}\t{done}\t{dice.pick(stories.PRIORITIES)}\t"
            f"{draft.source}\t{draft.dismissed_reason}\t{draft.reasoning}\t{draft.generated_by}\t"
            f"{model}\t{draft.rule}\t{version}\t{decided}\t{decided_by}\t{assignee}\t"
            f"{1 if draft.updated is None else 2}\t{created}\t{updated}\n"
        )


def _afternoon(minute: int, earliest: int) -> int:
    """The afternoon of that day, or the first one after `earliest`."""
    due = max(minute, earliest) // DAY * DAY + AFTERNOON
    return due if due >= earliest else due + DAY
