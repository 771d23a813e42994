"""Texts about English-speaking leads. See language.py for the facts in braces, stories.py for the names."""

from crm.demo.language import DemoLanguage, listed

INTERACTIONS = {
    "Website": (
        ("Website form", "{first} would like to know more about {need}. Says {seats} users, based in {city}."),
        ("Web enquiry", "“Hi, we run on {tool} today and are looking at better {need}. Could somebody ring me?”"),
        ("Guide downloaded", "{first} at {company} downloaded the guide to {need} and asked to be contacted."),
    ),
    "Referral": (
        ("Tip from a customer", "One of our customers in {city} mentioned {company}. {first} is the one to talk to."),
        ("Recommended to us", "{boss} got in touch: {first} at {company} is after something new for {need}."),
    ),
    "LinkedIn": (
        ("LinkedIn message", "{first} commented on our post about {need} and answered my message."),
        ("Contact on LinkedIn", "“Interesting! There would be about {seats} of us using it. Do get in touch.”"),
    ),
    "Trade fair": (
        ("Talk at our stand", "{first} stopped at the stand. They run on {tool} and are tired of it."),
        ("Met at the fair", "Showed {first} how we do {need}. {company} would have about {seats} users."),
    ),
    "Cold call": (
        ("Call list", "{company} fits our profile: {city}, some {seats} staff. {first} is the right way in."),
        ("New on the call list", "Found {company} in the trade directory. Reception points to {first} {last}."),
    ),
    "Partner": (
        ("Introduced by a partner", "Our partner introduced {first} at {company}, who is reviewing {need}."),
        ("Partner lead", "From our partner: {company} in {city} wants to replace {tool}. {first} expects a call."),
    ),
    "missed_call": (
        ("No answer", "Rang {first}, no answer. Will try again this week."),
        ("Busy", "Reception says {first} is in a meeting. I will call back."),
        ("No answer", "Let it ring out. Left no message this time."),
    ),
    "voicemail": (
        ("Voicemail", "Left a message about {need} and asked {first} to ring back."),
        ("Text message", "“Hi {first}, I tried you about {need}. When would ten minutes suit? {seller}, Nordvik”"),
    ),
    "intro_email": (
        (
            "{company} and {need}",
            (
                "Hi {first},\n\nGood to be in touch. We help companies like {company} to get {need} right, often "
                "where people work with {tool} today. Have you got twenty minutes next week?\n\nKind regards\n{seller}"
            ),
        ),
        (
            "More about Nordvik",
            (
                "Hi {first},\n\nHere is the material I mentioned, with an example from a company of your size. "
                "Let me know if you have any questions meanwhile.\n\nBest wishes\n{seller}"
            ),
        ),
        ("Presentation sent", "Sent {first} the presentation and two customer stories about {need}."),
    ),
    "reminder": (
        (
            "A quick reminder",
            "Hi {first},\n\nDid you get a chance to look at what I sent? Happy to call if that is easier.\n\n{seller}",
        ),
        ("Re: {company} and {need}", "Sent a short reminder. Should it be somebody else at {company}?"),
    ),
    "reply": (
        ("Reply from {first}", "{first} says thanks for the information and would rather talk after year end."),
        ("Reply from {first}", "Asks whether it works alongside {tool}, and what it costs for {seats} people."),
        ("Re: More about Nordvik", "“Looks good. Ring me on Thursday morning, I shall be in the office.”"),
    ),
    "intro_call": (
        ("First call", "Good call. {company} runs on {tool} and loses time on {need}. Wants to see more."),
        ("Called", "{first} is in charge of {need} and says that {boss} has a say in it. Friendly."),
        ("Introductory call", "{seats} people are affected. What they have ({tool}) no longer copes, {first} says."),
    ),
    "needs_call": (
        ("Needs", "Went through {need} step by step. Up to {budget}, {seats} users, wants to start this year."),
        ("Needs and budget", "{first} has {budget} set aside. What matters most is {need}; reports come second."),
    ),
    "needs_meeting": (
        ("Needs meeting in {city}", "Met {first} and {boss}. Their biggest problem is {need}. Budget about {budget}."),
        ("Workshop with {company}", "Drew up how they work with {tool} today. {seats} users, up to {budget}."),
        ("Meeting about {need}", "Good meeting. {boss} holds the purse: {budget}. {first} runs the project."),
    ),
    "summary_email": (
        (
            "Our meeting in short",
            (
                "Hi {first},\n\nThank you for a good meeting. We agreed on three things: {need} first, {seats} users "
                "and a budget of {budget}. The next step is a demonstration.\n\nKind regards\n{seller}"
            ),
        ),
        ("Meeting notes sent", "Sent the notes to {first}, with a copy to {boss}."),
    ),
    "inside_note": (
        ("Who decides", "{boss} signs, {first} recommends. IT wants our security answers first."),
        ("Before the next step", "{company} is comparing us with one other supplier. Our strong card is {need}."),
        ("Internal", "Spoke to a colleague who knows {boss}. They tend to decide at the end of the quarter."),
    ),
    "demo": (
        (
            "Demonstration",
            "Showed {need} with their own examples. {first} liked how simple it is, {boss} wanted prices.",
        ),
        ("Demo for {company}", "Five people came. Most questions were about moving over from {tool}."),
        ("Online demo", "Went well. {first} wants {boss} to see the reports before we go on."),
    ),
    "demo_email": (
        (
            "Answers to your questions",
            (
                "Hi {first},\n\nYes, everything can be moved over from {tool}, and {seats} users fit the basic "
                "package. Tell me when you would like a proposal.\n\n{seller}"
            ),
        ),
        ("Recording and questions", "Sent the recording of the demo and the answers about {need}."),
    ),
    "reference_call": (
        ("Reference call", "{first} talked to one of our customers in the trade and liked what was said about {need}."),
        ("Reference", "Put {first} in touch with a customer in {city}. Good feedback."),
    ),
    "proposal_email": (
        (
            "Proposal for {company}",
            (
                "Hi {first},\n\nHere is our proposal: {seats} users, {need} and the set-up for {budget}. "
                "It is good for 30 days.\n\nKind regards\n{seller}"
            ),
        ),
        ("Proposal: {need}", "Sent a proposal for {budget} to {first} and {boss}. Set-up is included."),
        ("Proposal sent", "Proposal for {budget}, {seats} users. {first} is taking it to the board."),
    ),
    "proposal_call": (
        ("About the proposal", "{first} has read it and would like to pay in parts. {budget} is about right."),
        ("Proposal follow-up", "The proposal is with {boss}. {first} expects an answer within a fortnight."),
    ),
    "proposal_meeting": (
        ("Going through the proposal", "Went through it with {first} and {boss}. Questions about notice and support."),
        ("Proposal meeting in {city}", "They want {need} first and the rest after summer. {budget} is within reach."),
    ),
    "negotiation_call": (
        ("Terms", "{boss} wants longer payment terms. We can meet them if they sign for two years."),
        ("Price and terms", "Agreed on {budget} with set-up included. Their solicitor is to read the contract."),
    ),
    "agreement_email": (
        ("Contract to sign", "Hi {first},\n\nThe contract is ready for {boss} to sign.\n\nBest wishes\n{seller}"),
        ("Contract sent", "Sent the contract to {boss} for signature, with a copy to {first}."),
    ),
    "won_call": (
        ("We have a deal!", "{first} rang: {boss} has signed. {budget} and {seats} users."),
        ("They say yes", "A yes from {company}, by voice and in writing. Worth {budget}. Planning the kick-off."),
    ),
    "kickoff": (
        ("Kick-off", "Planned the roll-out of {need} with {first}. {seats} users, in two rounds."),
        ("Kick-off at {company}", "On site in {city}. {first} is our contact, data comes over from {tool}."),
    ),
    "check_in": (
        ("Catching up", "{first} is happy: {need} works as it should. Wants to talk about more modules later."),
        ("How is it going?", "A few questions about permissions, otherwise fine. {boss} told a sister firm about us."),
    ),
    "lost_silent": (
        ("Closed: no contact", "Several attempts, nothing from {first}. Closing; may try again another year."),
        ("Closed", "No reaction from {company}. Reception says {need} is not on the agenda."),
    ),
    "lost_fit": (
        ("Not a fit", "{company} needs more than {need}, which we do not have. Parted as friends."),
        ("Project cancelled", "{first} says that {boss} has put everything off until further notice."),
    ),
    "lost_price": (
        ("No, because of the price", "{budget} was too much for {boss}. They will stay with {tool} another year."),
        ("Lost on price", "{first} was keen, but the board said no to {budget}."),
    ),
    "lost_competitor": (
        ("They chose somebody else", "{first} writes that they chose a supplier who already runs their accounts."),
        ("Lost to a competitor", "“Thank you for your work, {seller}. This time it went to somebody else.”"),
    ),
}

TASKS = {
    "first_call": (
        ("Call {first} at {company}", "First call. Ask about {need} and how they work today."),
        ("Get in touch with {first} {last}", "Came in through {source}. Find out what they need."),
    ),
    "send_information": (
        ("Send information to {first}", "The presentation and a customer story about {need}."),
        ("E-mail material about {need}", "To {first} at {company}."),
    ),
    "look_up_company": (("Read up on {company}", "Size, owners, and what they use today."),),
    "call_again": (
        ("Call {first} again", "Mornings are best, says reception."),
        ("Try {first} at {company}", "Ask whether there is any news about {need}."),
    ),
    "understand_needs": (("Go through the needs with {first}", "How many users, what budget, who decides?"),),
    "book_needs_meeting": (
        ("Book a meeting with {company}", "On site in {city} if possible, with {boss} at the table."),
        ("Suggest times for a needs meeting", "{first} wants to meet within a couple of weeks."),
    ),
    "send_summary": (("Send {first} a summary", "With a copy to {boss}."),),
    "map_deciders": (("Find out who decides at {company}", "{boss} or {first}? And what does IT say?"),),
    "prepare_demo": (
        ("Prepare the demo for {company}", "Put in their own examples of {need}."),
        ("Book a demo with {first}", "Ask for {boss} to be there."),
    ),
    "answer_questions": (("Answer {first}'s questions", "About moving over from {tool}, and the number of users."),),
    "find_reference": (("Find a reference customer for {first}", "In {city} or in the same trade, ideally."),),
    "write_proposal": (
        ("Write the proposal for {company}", "{seats} users, {need}, up to {budget}."),
        ("Draw up a proposal for {budget}", "To {first}. Set-up is to be included."),
    ),
    "follow_up_proposal": (
        ("Follow up the proposal to {company}", "{budget}. Ask {first} when {boss} decides."),
        ("Call {first} about the proposal", "It is good for 30 days."),
    ),
    "go_through_proposal": (("Book a walk-through of the proposal", "With {first} and {boss}."),),
    "settle_terms": (("Settle the terms with {boss}", "Payment and notice are still open."),),
    "send_agreement": (("Send {company} the contract", "To be signed by {boss}."),),
    "plan_kickoff": (("Plan the kick-off with {first}", "Moving from {tool}, and training for {seats} people."),),
    "check_in": (("Catch up with {first} after the roll-out", "Does {need} work? Is anything missing?"),),
    "ask_for_referral": (("Ask {first} for a recommendation", "Happy customer. Who else do they know in {city}?"),),
    "try_again_later": (("Try {company} again", "Ask {first} whether things have changed."),),
}

SUGGESTIONS = {
    "call_new": (
        (
            "Call {first} today",
            "{first} came in through {source}. Since then it has been quiet for {days} working days.",
        ),
        (
            "Make first contact with {company}",
            "{seats} possible users in {city}, and {days} working days without a word.",
        ),
    ),
    "write_new": (
        (
            "Send {first} a presentation",
            "Came in through {source}. Quiet for {days} working days; an e-mail is an easy start.",
        ),
    ),
    "revive_cold": (
        ("Get back in touch with {first}", "It has been quiet for {days} working days, since {last_contact}."),
        (
            "Call {company} again",
            "{days} working days without contact since {last_contact}. They did ask about {need}.",
        ),
    ),
    "book_meeting": (
        (
            "Book a meeting with {first} in {city}",
            "{days} working days since {last_contact}, and no meeting is planned.",
        ),
    ),
    "share_case": (
        ("Send a customer story about {need}", "{company} runs on {tool}. A story shows what a change brings."),
    ),
    "move_to_proposal": (
        ("Make {company} a proposal", "The needs are known and {budget} is set aside. Last: {last_contact}."),
    ),
    "chase_proposal": (
        (
            "Follow up the proposal for {budget}",
            "The proposal is out, and it is {days} working days since {last_contact}.",
        ),
        ("Call {first} about the decision", "{days} working days since {last_contact}. {boss} decides on {budget}."),
    ),
    "involve_decider": (
        ("Bring {boss} into the conversation", "{first} drives this, but {boss} decides on {budget}."),
    ),
    "ask_referral": (
        ("Ask {first} for a recommendation", "A customer with {seats} users. {days} working days since we spoke."),
    ),
    "grow_account": (("Offer {company} more modules", "They use us for {need}. The deal was worth {budget}."),),
    "win_back": (("Ask {company} how things stand", "Closed {days} working days ago. Are they still using {tool}?"),),
}

ENGLISH = DemoLanguage(
    job_titles=listed("""
        Managing Director, Finance Director, Head of Procurement, Operations Manager, Site Manager, IT
        Manager, Sales Director, Logistics Manager, Project Manager, General Manager, Production Manager, HR
        Manager, Office Manager, Marketing Manager, Financial Controller, Founder, Partner, Business
        Development Manager, Quality Manager, Service Manager, Chief Operating Officer"""),
    needs=listed("""
        resource planning, invoicing, stock control, time reporting, quoting, case handling, maintenance
        planning, route planning, project follow-up, contract management"""),
    tools=listed("""
        Excel, pen and paper, a home-grown system, an ageing ERP system, shared documents, three different
        systems"""),
    sources={
        "Website": "the website",
        "Referral": "a recommendation",
        "LinkedIn": "LinkedIn",
        "Trade fair": "the trade fair",
        "Cold call": "the call list",
        "Partner": "a partner",
    },
    last_contacts={
        "call": "the call",
        "email": "the e-mail",
        "meeting": "the meeting",
        "message": "the message",
        "note": "the note",
    },
    interactions=INTERACTIONS,
    tasks=TASKS,
    suggestions=SUGGESTIONS,
    dismissals=listed("""
        Already done, Not the right moment, They asked us to wait, Wrong person, Will raise it at the next
        meeting, Not relevant"""),
    summary=(
        "{first} {last} at {company} has been in touch with us {count} times. The last time was “{subject}” on {day}. "
        "Next: follow that up."
    ),
)
