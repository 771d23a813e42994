"""The courses of a sale: its contacts, and the tasks that remain. The texts are in swedish.py and english.py.

Read a story as a salesperson would tell it: the lead came in (`opening`: as its source has it), then one contact after
another. A contact with a question mark happens in every other such story. `weight` says how common something is.
Days are working days.
"""

from dataclasses import dataclass

from crm.sales.interactions.model import InteractionType as By
from crm.sales.leads.model import LeadStatus as Is


@dataclass(frozen=True, slots=True)
class StoryContact:
    """A contact: its type, days after the one before, its length in minutes, and the task that it settles."""

    by: By
    days: tuple[int, int]
    minutes: tuple[int, int] | None = None
    settles: str | None = None


OPENINGS = {  # by source; the weight of each is in SOURCES
    "Website": StoryContact(By.MESSAGE, (0, 0)),
    "Referral": StoryContact(By.NOTE, (0, 0)),
    "LinkedIn": StoryContact(By.MESSAGE, (0, 0)),
    "Trade fair": StoryContact(By.MEETING, (0, 0), (10, 20)),
    "Cold call": StoryContact(By.NOTE, (0, 0)),
    "Partner": StoryContact(By.EMAIL, (0, 0)),
}

SOURCES = {"Website": 30, "Referral": 18, "LinkedIn": 17, "Trade fair": 13, "Cold call": 14, "Partner": 8}

CONTACTS = {
    "missed_call": StoryContact(By.CALL, (0, 2), (0, 1)),
    "voicemail": StoryContact(By.MESSAGE, (1, 4)),
    "intro_email": StoryContact(By.EMAIL, (0, 3), settles="send_information"),
    "reminder": StoryContact(By.EMAIL, (4, 9)),
    "reply": StoryContact(By.EMAIL, (1, 6)),
    "intro_call": StoryContact(By.CALL, (1, 4), (8, 25), settles="first_call"),
    "needs_call": StoryContact(By.CALL, (2, 8), (20, 45), settles="understand_needs"),
    "needs_meeting": StoryContact(By.MEETING, (4, 12), (45, 90), settles="book_needs_meeting"),
    "summary_email": StoryContact(By.EMAIL, (0, 2), settles="send_summary"),
    "inside_note": StoryContact(By.NOTE, (0, 4), settles="map_deciders"),
    "demo": StoryContact(By.MEETING, (4, 12), (30, 75), settles="prepare_demo"),
    "demo_email": StoryContact(By.EMAIL, (0, 2), settles="answer_questions"),
    "reference_call": StoryContact(By.CALL, (3, 8), (15, 40), settles="find_reference"),
    "proposal_email": StoryContact(By.EMAIL, (2, 8), settles="write_proposal"),
    "proposal_call": StoryContact(By.CALL, (2, 7), (10, 30), settles="follow_up_proposal"),
    "proposal_meeting": StoryContact(By.MEETING, (3, 9), (30, 60), settles="go_through_proposal"),
    "negotiation_call": StoryContact(By.CALL, (2, 8), (15, 45), settles="settle_terms"),
    "agreement_email": StoryContact(By.EMAIL, (1, 5), settles="send_agreement"),
    "won_call": StoryContact(By.CALL, (1, 7), (5, 20)),
    "kickoff": StoryContact(By.MEETING, (5, 12), (60, 120), settles="plan_kickoff"),
    "check_in": StoryContact(By.CALL, (15, 35), (10, 30), settles="check_in"),
    "lost_silent": StoryContact(By.NOTE, (10, 25)),
    "lost_fit": StoryContact(By.CALL, (2, 10), (5, 20)),
    "lost_price": StoryContact(By.CALL, (5, 15), (10, 25)),
    "lost_competitor": StoryContact(By.EMAIL, (5, 15)),
}

# Contacts in which the lead tells its budget.
BUDGET_IS_TOLD_IN = frozenset({"needs_call", "needs_meeting"})


@dataclass(frozen=True, slots=True)
class Story:
    """The contacts so far, in order."""

    weight: int
    contacts: str


@dataclass(frozen=True, slots=True)
class StoryStage:
    """What leads of one status have in common."""

    status: Is
    weight: int
    stories: tuple[Story, ...]
    quiet_days: int  # since the last contact, typically
    forgotten: float  # the share that has been quiet for anything up to a year and a half
    next_tasks: tuple[str, ...]
    next_task_counts: tuple[int, ...]  # one of these, each with the same chance
    suggestions: tuple[str, ...]
    suggestion_counts: tuple[int, ...]
    without_owner: float = 0.0


STAGES = (
    StoryStage(
        Is.NEW,
        weight=13,
        stories=(Story(42, ""), Story(38, "opening"), Story(20, "opening missed_call")),
        quiet_days=5,
        forgotten=0.12,
        next_tasks=("first_call", "send_information", "look_up_company"),
        next_task_counts=(0, 1, 1, 2),
        suggestions=("call_new", "write_new"),
        suggestion_counts=(0, 1, 1, 2),
        without_owner=0.3,
    ),
    StoryStage(
        Is.CONTACTED,
        weight=19,
        stories=(
            Story(30, "opening missed_call? intro_email intro_call"),
            Story(30, "opening intro_call intro_email reply?"),
            Story(20, "opening? missed_call voicemail intro_email reminder?"),
            Story(20, "opening intro_email reply intro_call inside_note?"),
        ),
        quiet_days=14,
        forgotten=0.35,
        next_tasks=("understand_needs", "book_needs_meeting", "send_information", "call_again"),
        next_task_counts=(0, 1, 1, 2),
        suggestions=("revive_cold", "book_meeting", "share_case"),
        suggestion_counts=(0, 0, 1, 1, 2),
        without_owner=0.04,
    ),
    StoryStage(
        Is.QUALIFIED,
        weight=13,
        stories=(
            Story(
                40,
                "opening intro_call intro_email? needs_call needs_meeting summary_email inside_note? demo? demo_email?",
            ),
            Story(35, "opening missed_call? intro_call intro_email needs_meeting summary_email demo demo_email?"),
            Story(25, "opening intro_email intro_call needs_call inside_note? demo reference_call?"),
        ),
        quiet_days=11,
        forgotten=0.25,
        next_tasks=("prepare_demo", "write_proposal", "map_deciders", "find_reference", "answer_questions"),
        next_task_counts=(0, 1, 1, 2, 2),
        suggestions=("move_to_proposal", "book_meeting", "share_case", "revive_cold"),
        suggestion_counts=(0, 0, 1, 1, 2),
    ),
    StoryStage(
        Is.PROPOSAL,
        weight=9,
        stories=(
            Story(40, "opening intro_call intro_email? needs_meeting summary_email? demo inside_note? proposal_email"),
            Story(
                35, "opening intro_call needs_call? needs_meeting demo reference_call? proposal_email proposal_call?"
            ),
            Story(
                25,
                "opening missed_call? intro_call needs_meeting demo proposal_email proposal_meeting negotiation_call?",
            ),
        ),
        quiet_days=8,
        forgotten=0.15,
        next_tasks=("follow_up_proposal", "go_through_proposal", "settle_terms", "send_agreement"),
        next_task_counts=(1, 1, 2, 2),
        suggestions=("chase_proposal", "involve_decider"),
        suggestion_counts=(0, 1, 1, 2),
    ),
    StoryStage(
        Is.WON,
        weight=18,
        stories=(
            Story(
                45, "opening intro_call needs_meeting demo proposal_email proposal_meeting? won_call kickoff? check_in?"
            ),
            Story(
                35,
                "opening missed_call? intro_call needs_meeting summary_email? demo proposal_email proposal_meeting? "
                "negotiation_call agreement_email won_call kickoff",
            ),
            Story(20, "opening intro_call intro_email needs_call demo proposal_email proposal_call won_call check_in?"),
        ),
        quiet_days=40,
        forgotten=0.9,
        next_tasks=("check_in", "plan_kickoff", "ask_for_referral"),
        next_task_counts=(0, 0, 1),
        suggestions=("ask_referral", "grow_account"),
        suggestion_counts=(0, 0, 1),
    ),
    StoryStage(
        Is.LOST,
        weight=28,
        stories=(
            Story(32, "opening? missed_call intro_email voicemail? reminder? lost_silent"),
            Story(28, "opening intro_call intro_email? needs_call lost_fit"),
            Story(25, "opening intro_call needs_meeting demo proposal_email reminder? lost_price"),
            Story(15, "opening intro_call needs_meeting demo? proposal_email proposal_call? lost_competitor"),
        ),
        quiet_days=40,
        forgotten=0.95,
        next_tasks=("try_again_later",),
        next_task_counts=(0, 0, 0, 1),
        suggestions=("win_back",),
        suggestion_counts=(0, 0, 0, 1),
    ),
)

# Percentages.
TASK_IS_NOTED_FOR_CONTACT = 62
SUGGESTIONS_DISMISSED = 24
SUGGESTIONS_ACCEPTED = 18
LEADS_DELETED = 1
LEADS_WITHOUT_PHONE = 30  # of those that nobody has called
OFFICE_PHONES = 40  # where the town has numbers of its own
ACCEPTED_SUGGESTIONS_DONE = 60
TASKS_OF_ANOTHER_COLLEAGUE = 8
CONTACTS_BY_ANOTHER_COLLEAGUE = 10
EARLY_BUDGETS = 35  # told before anybody asked

SEATS = (5, 8, 10, 12, 15, 15, 18, 20, 20, 25, 25, 30, 35, 40, 45, 50, 60, 75, 90, 120, 150, 250)
PRIORITIES = ("low", "normal", "normal", "normal", "normal", "high", "high", "urgent")
TAG_COUNTS = (0, 1, 1, 1, 1, 2, 2)
TAGS = ("key-account", "newsletter", "multi-site", "public-tender", "returning", "price-sensitive", "fast-mover")
