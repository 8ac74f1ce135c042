"""What partners do with people: enrolments, assessments, referrals, stages, outcomes, contacts, and what it costs.

Every function returns one table as a frame of text cells in the agreed names, with three columns in front that say
where a row belongs: ``_partner`` and ``_member`` (positions) and ``_day`` (days since 1970-01-01). Rows whose later
half may be unknown when an extract is taken keep their dates as numbers until then.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from protocol.model import Agreement, Partner
from synthetic.draws import Draws, Flags, Integers, Texts, as_text, blank
from synthetic.people import NEVER, People
from synthetic.profile import ErrorProfile
from synthetic.records import Memberships

NOTES = (
    "Phoned {name}, no answer, left a message.",
    "{name} came with a friend; talked about the next step.",
    "Met {name} at the library. Feeling better than last time.",
    "{name} asked us to write to the landlord.",
    "Reminder sent to {name} about Thursday.",
)
"""Free text as case workers write it: with the person's name in it, so that a leak of free text shows."""


@dataclass(frozen=True)
class Scene:
    """What all events share: the agreement, who is known to whom, and the days between which things happen."""

    agreement: Agreement
    partners: tuple[Partner, ...]
    people: People
    members: Memberships
    profile: ErrorProfile
    seed: int
    first_day: int
    last_day: int

    def draws(self, name: str) -> Draws:
        """The stream of one table."""
        return Draws(self.seed, "events", name)

    def open_from(self) -> Integers:
        """For each membership, the first day on which anything can happen in the periods."""
        return np.maximum(self.members.joined, self.first_day)

    def served(self) -> Flags:
        """Memberships whose person was taken in and is there for at least a day of the periods."""
        return ~self.members.declined & (self.open_from() <= self.members.until)


def options(agreement: Agreement, table: str, column: str, wanted: Mapping[str, float]) -> dict[str, float]:
    """The wanted codes that the column's list has, with their weights; every code alike where it has none of them."""
    found = next((c for t in agreement.contract.tables if t.name == table for c in t.columns if c.name == column), None)
    if found is None or found.codelist is None:
        return dict(wanted)
    values = agreement.codelist(found.codelist).values
    fitting = {code: weight for code, weight in wanted.items() if code in values}
    return fitting or dict.fromkeys(values, 1.0)


def codes_of(agreement: Agreement, table: str, column: str) -> tuple[str, ...]:
    """The codes of a column without those that say that nothing is known; empty where it has no list."""
    found = next((c for t in agreement.contract.tables if t.name == table for c in t.columns if c.name == column), None)
    if found is None or found.codelist is None:
        return ()
    values = agreement.codelist(found.codelist).values
    known = tuple(v for v in values if v not in {"unknown", "not_known", "not_stated", "other", "none"})
    return known or values


def programmes_of(scene: Scene) -> tuple[tuple[str, ...], ...]:
    """The programmes of each partner: those that name its field, else two of the list in turn."""
    codes = codes_of(scene.agreement, "enrolment", "programme") or ("support",)
    out = []
    for number, partner in enumerate(scene.partners):
        words = _words_of(partner)
        own = tuple(code for code in codes if any(word in code for word in words))
        turn = (codes[number % len(codes)], codes[(number + 1) % len(codes)])
        out.append(own[:2] or tuple(dict.fromkeys(turn)))
    return tuple(out)


def _words_of(partner: Partner) -> tuple[str, ...]:
    """Words of the field a partner works in, as they may stand in codes."""
    if "housing" in partner.id:
        return ("hous", "tenan", "homeless")
    if "skill" in partner.id or "youth" in partner.id:
        return ("skill", "train", "educat", "learn")
    return {
        "health": ("health", "wellbeing", "social_prescrib", "mental"),
        "job_centre": ("employ", "work", "job"),
        "council": ("council", "famil", "money", "debt", "benefit", "communit"),
    }.get(partner.kind, ("wellbeing", "communit", "support"))


def _frame(scene: Scene, member: Integers, day: Integers, cells: Mapping[str, Texts | Integers]) -> pl.DataFrame:
    """A table of rows about memberships, sorted as a partner's system would give them: by day."""
    order = np.lexsort((member, day, scene.members.partner[member]))
    columns: dict[str, pl.Series] = {
        "_partner": pl.Series(scene.members.partner[member][order], dtype=pl.Int64),
        "_member": pl.Series(member[order], dtype=pl.Int64),
        "_day": pl.Series(day[order], dtype=pl.Int64),
        "local_person_id": pl.Series(scene.members.local_id[member][order].tolist(), dtype=pl.String),
    }
    for name, values in cells.items():
        sorted_values = values[order]
        if sorted_values.dtype == object:
            columns[name] = pl.Series(sorted_values.tolist(), dtype=pl.String)
        else:
            columns[name] = pl.Series(sorted_values, dtype=pl.Int64)
    return pl.DataFrame(columns)


def number_rows(frame: pl.DataFrame, column: str, prefix: str) -> pl.DataFrame:
    """Each partner's own running number for its rows, ``prefix`` and seven digits."""
    place = pl.int_range(pl.len()).over("_partner") + 1
    return frame.with_columns(pl.concat_str([pl.lit(prefix), place.cast(pl.String).str.zfill(7)]).alias(column))


def make_enrolments(scene: Scene) -> pl.DataFrame:
    """Enrolments; ``_ended`` is the day one ended or :data:`synthetic.people.NEVER`."""
    draws, members = scene.draws("enrolment"), scene.members
    m = len(members)
    programmes = programmes_of(scene)
    taken = np.flatnonzero(~members.declined & (members.joined <= members.until))
    again = taken[draws.chance(0.08, len(taken))]
    member = np.concatenate([taken, again])
    n = len(member)
    second = np.arange(n) >= len(taken)
    started = members.joined[member] + np.where(second, draws.integers(20, 120, n), 0)
    ended = started + draws.integers(25, 420, n)
    ended = np.where(draws.chance(0.55, n), ended, NEVER)
    ended = np.minimum(ended, np.where(members.left[member] < NEVER, members.left[member], NEVER))
    ended = np.where(ended <= members.until[member], ended, NEVER)
    by_death = (ended == NEVER) & (members.died_on[member] <= members.until[member])
    ended = np.where(by_death, members.died_on[member], ended)
    keep = (started <= members.until[member]) & (ended >= started)
    turn = draws.integers(0, 1, m)[member] + second
    programme = np.array(
        [own[int(t) % len(own)] for own, t in zip([programmes[p] for p in members.partner[member]], turn, strict=True)],
        dtype=object,
    )
    reasons = options(
        scene.agreement,
        "enrolment",
        "end_reason",
        {"completed": 5, "moved_to_partner": 2, "moved_away": 1, "disengaged": 2, "withdrew": 1, "not_eligible": 0.3},
    )
    reason = draws.choose(reasons, n)
    reason[by_death] = next(iter(options(scene.agreement, "enrolment", "end_reason", {"died": 1.0})))
    cells = {"programme": programme, "end_reason": reason, "_ended": ended}
    frame = _frame(scene, member[keep], started[keep], {name: values[keep] for name, values in cells.items()})
    return number_rows(frame, "enrolment_number", "E")


def make_assessments(scene: Scene) -> pl.DataFrame:
    """Assessments, with those planted to repeat a partner's and those planted to fall outside the window.

    No person has two assessments of one domain on one day, so nothing depends on how a tie is broken.
    """
    draws, members = scene.draws("assessment"), scene.members
    m = len(members)
    domains = codes_of(scene.agreement, "assessment", "domain") or ("needs",)
    weights = np.ones((len(scene.partners), len(domains)))
    for number, partner in enumerate(scene.partners):
        for place, name in enumerate(domains):
            if any(word in name for word in _words_of(partner)):
                weights[number, place] = 4.0
            elif "wellbeing" in name:
                weights[number, place] = 2.5
    served = scene.served()
    start, until = scene.open_from(), members.until

    found: list[tuple[Integers, Integers, Integers]] = []

    def domain_for(who: Integers) -> Integers:
        edges = np.cumsum(weights, axis=1)[members.partner[who]]
        point = draws.uniform(len(who)) * edges[:, -1]
        return np.minimum((edges <= point[:, None]).sum(axis=1), len(domains) - 1).astype(np.int64)

    # At the beginning of a service.
    new = np.flatnonzero(served & (members.joined >= scene.first_day) & draws.chance(0.6, m))
    found.append((new, members.joined[new] + draws.integers(0, 7, len(new)), domain_for(new)))
    # In the course of it.
    quarters = max(1, round((scene.last_day - scene.first_day) / 91))
    for _ in range(quarters):
        count = draws.positions(scene.profile.assessments_per_period, m) * served
        who = np.repeat(np.arange(m), count)
        found.append((who, draws.integers(start[who], until[who], len(who)), domain_for(who)))
    # Before a referral, and again at the receiver.
    receiver = np.flatnonzero((members.referred_by >= 0) & served)
    sender = members.referred_by[receiver]
    domain = domain_for(sender)
    before = np.maximum(members.sent[receiver] - draws.integers(0, 12, len(receiver)), start[sender])
    found.append((sender, before, domain))
    passed = passed_on(scene)[receiver]
    again = draws.chance(
        np.where(passed, scene.profile.repeats_when_passed_on, scene.profile.repeats_when_not), len(receiver)
    )
    after = members.joined[receiver] + draws.integers(1, 20, len(receiver))
    found.append((receiver[again], after[again], domain[again]))
    # By another partner, but long after.
    follows = np.flatnonzero(
        np.concatenate([[False], members.person[1:] == members.person[:-1]]) & served & draws.chance(0.1, m)
    )
    first = follows - 1
    domain = domain_for(first)
    earlier = np.maximum(start[first], start[follows]) + draws.integers(0, 20, len(first))
    keep = served[first]
    found.append((first[keep], earlier[keep], domain[keep]))
    later = earlier + draws.integers(95, 150, len(first))
    found.append((follows[keep], later[keep], domain[keep]))
    # A second well-being form of the same partner, for a change over time.
    for place in [number for number, name in enumerate(domains) if "wellbeing" in name][:1]:
        pair = np.flatnonzero(served & draws.chance(0.22, m))
        baseline = draws.integers(start[pair], until[pair], len(pair))
        found.append((pair, baseline, np.full(len(pair), place)))
        found.append((pair, baseline + draws.integers(40, 110, len(pair)), np.full(len(pair), place)))

    member, day, domain = (np.concatenate(parts) for parts in zip(*found, strict=True))
    inside = (day >= start[member]) & (day <= until[member]) & served[member]
    member, day, domain = member[inside], day[inside], domain[inside]
    order = np.lexsort((member, domain, day, members.person[member]))
    member, day, domain = member[order], day[order], domain[order]
    who = members.person[member]
    same = (who[1:] == who[:-1]) & (day[1:] == day[:-1]) & (domain[1:] == domain[:-1])
    fresh = np.concatenate([[True], ~same])
    member, day, domain = member[fresh], day[fresh], domain[fresh]

    n = len(member)
    tool, score = _tools_and_scores(scene, draws, np.array(domains, dtype=object)[domain])
    span = np.select([draws.chance(0.03, n), draws.chance(0.4, n)], [draws.integers(20, 45, n), 365], NEVER)
    valid_to = as_text(np.where(span < NEVER, day + span, 0), span < NEVER)
    summary = _notes(scene, draws, member, 0.5)
    minutes = _as_whole_numbers(draws.integers(4, 18, n) * 5, ~draws.chance(0.05, n))
    frame = _frame(
        scene,
        member,
        day,
        {
            "domain": np.array(domains, dtype=object)[domain],
            "tool": tool,
            "assessed_on": as_text(day),
            "valid_to": valid_to,
            "minutes": minutes,
            "total_score": score,
            "summary": summary,
            "_person": members.person[member],
        },
    )
    return number_rows(frame, "assessment_number", "A")


def passed_on(scene: Scene) -> Flags:
    """For each membership that a referral began: whether the sender's assessment came along."""
    return Draws(scene.seed, "events", "passed on").chance(scene.profile.assessment_passed_on, len(scene.members))


WELLBEING_TOOLS = ("swemwbs", "ons4")
TOOL_WORDS = {"hous": ("hous",), "employ": ("work", "employ"), "skill": ("work", "skill"), "health": ("phq", "gad")}
"""Part of a domain's code -> parts of the codes of tools that are used for it besides the general ones."""


def _tools_and_scores(scene: Scene, draws: Draws, domain: Texts) -> tuple[Texts, Texts]:
    """The tool that suits a domain; a total for tools that have one (well-being totals follow from the items)."""
    n = len(domain)
    tools = codes_of(scene.agreement, "assessment", "tool") or ("own_form",)
    wellbeing = [t for t in tools if any(word in t for word in WELLBEING_TOOLS)]
    others = [t for t in tools if t not in wellbeing] or list(tools)
    tool = np.empty(n, dtype=object)
    choice = draws.uniform(n)
    is_wellbeing = np.array(["wellbeing" in name for name in domain], dtype=np.bool_)
    general = [t for t in others if any(word in t for word in ("common", "star", "local", "own"))] or others
    for name in sorted(set(domain)):
        here = np.flatnonzero(domain == name)
        words = next((words for stem, words in TOOL_WORDS.items() if stem in name), ())
        pool = [t for t in others if any(word in t for word in words)] + general
        if "wellbeing" in name and wellbeing:
            pool = wellbeing
        tool[here] = np.array(pool, dtype=object)[np.floor(choice[here] * len(pool)).astype(np.int64)]
    most = np.array([27 if "phq" in name else 21 if "gad" in name else 95 for name in tool], dtype=np.int64)
    score = _as_whole_numbers(draws.integers(np.minimum(most, 20) // 4, most, n), ~is_wellbeing & draws.chance(0.7, n))
    return tool, score


def make_assessment_items(scene: Scene, assessments: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Answers to the well-being forms, and the assessments with SWEMWBS totals put in where all items are there.

    A person's answers follow a level of their own that rises with time in service; about one form in twelve lacks an
    answer, and then there is no total.
    """
    codes = codes_of(scene.agreement, "assessment_item", "item")
    draws = scene.draws("assessment_item")
    level = scene.draws("wellbeing").bell(len(scene.people))
    gain = scene.draws("wellbeing gain").bell(len(scene.members)) * 0.4 + 0.5
    frames = []
    for tool, low, high, middle, spread in (("swemwbs", 1, 5, 2.9, 0.55), ("ons4", 0, 10, 5.5, 1.4)):
        items = [code for code in codes if code.startswith(tool)]
        rows = assessments.filter(pl.col("tool") == tool)
        if not items or rows.is_empty():
            continue
        member = rows["_member"].to_numpy()
        months = (rows["_day"].to_numpy() - scene.members.joined[member]) / 30.0
        base = middle + spread * (level[scene.members.person[member]] + gain[member] * np.minimum(months, 9.0) / 5.0)
        lacks = draws.chance(0.08, len(rows))
        lacking = draws.integers(0, len(items) - 1, len(rows))
        for place, item in enumerate(items):
            score = np.clip(np.floor(base + 0.6 * draws.bell(len(rows)) + 0.5), low, high).astype(np.int64)
            frames.append(
                rows.select("_partner", "_member", "_day", "assessment_number")
                .with_columns(pl.lit(item).alias("item"), pl.Series("score", score))
                .filter(pl.Series(~(lacks & (lacking == place))))
                .with_columns(pl.lit(tool).alias("_tool"), pl.lit(len(items)).alias("_items"))
            )
    if not frames:
        return pl.DataFrame(), assessments
    answers = pl.concat(frames).sort("_partner", "_day", "_member", "assessment_number", "item")
    totals = (
        answers.filter(pl.col("_tool") == "swemwbs")
        .group_by("_partner", "assessment_number")
        .agg(pl.col("score").sum().alias("_total"), (pl.len() == pl.col("_items").first()).alias("_complete"))
        .filter("_complete")
    )
    assessments = (
        assessments.join(
            totals.select("_partner", "assessment_number", "_total"),
            on=["_partner", "assessment_number"],
            how="left",
            maintain_order="left",
        )
        .with_columns(pl.coalesce("total_score", pl.col("_total").cast(pl.String)).alias("total_score"))
        .drop("_total")
    )
    return answers.with_columns(pl.col("score").cast(pl.String)).drop("_tool", "_items"), assessments


def make_referrals(scene: Scene) -> pl.DataFrame:
    """Both sides of every referral, as each partner recorded it; ``_accepted`` and ``_contact`` are days.

    Accepted, declined and withdrawn ones, ones that were lost (sent, and nobody there), chains from one partner to the
    next and on to a third, and some out of the partnership. Sender and receiver do not always agree: a day apart, a
    side missing, an acceptance that the sender never heard of.
    """
    draws, members = scene.draws("referral"), scene.members
    ids = np.array([partner.id for partner in scene.partners], dtype=object)
    receiver = np.flatnonzero((members.referred_by >= 0) & (members.sent <= scene.last_day))
    sender = members.referred_by[receiver]
    n = len(receiver)
    sent = members.sent[receiver]
    wait = np.maximum(members.joined[receiver] - sent, 1)
    declined = members.declined[receiver]
    accepted = np.where(declined, NEVER, sent + 1 + np.floor(draws.uniform(n) * wait).astype(np.int64) - 1)
    contact = np.where(declined, NEVER, members.joined[receiver] + draws.integers(0, 12, n))
    contact = np.where(contact <= members.until[receiver], contact, NEVER)
    closed = options(scene.agreement, "referral", "status", {"declined": 4, "withdrawn": 1})
    status = np.where(declined, draws.choose(closed, n), "accepted").astype(object)
    reasons = codes_of(scene.agreement, "referral", "declined_reason") or ("no_capacity",)
    reason = blank(draws.pick(reasons, n), status != "declined")
    passed = np.where(passed_on(scene)[receiver], "yes", "no").astype(object)

    heard = draws.chance(0.85, n)
    sent_side: Side = (
        sender,
        sent,
        {
            "direction": np.full(n, "sent", dtype=object),
            "other_partner": ids[members.partner[receiver]],
            "_accepted": np.where(heard, accepted, NEVER),
            "_contact": np.where(heard & draws.chance(0.6, n), contact, NEVER),
            "status": np.where(heard, status, "sent"),
            "declined_reason": blank(reason, ~heard),
            "assessment_passed_on": np.where(draws.chance(0.12, n), "unknown", passed),
        },
    )
    late = np.minimum(np.where(draws.chance(0.1, n), draws.integers(1, 2, n), 0), np.maximum(wait - 1, 0))
    late = np.minimum(late, np.where(accepted < NEVER, np.maximum(accepted - sent, 0), 0))
    received_side: Side = (
        receiver,
        sent + late,
        {
            "direction": np.full(n, "received", dtype=object),
            "other_partner": ids[members.partner[sender]],
            "_accepted": accepted,
            "_contact": contact,
            "status": status,
            "declined_reason": reason,
            "assessment_passed_on": np.where(draws.chance(0.05, n), "unknown", passed),
        },
    )
    keeps_sent, keeps_received = ~draws.chance(0.04, n), ~draws.chance(0.05, n)
    sides = [_take(sent_side, keeps_sent), _take(received_side, keeps_received)]
    sides.append(_lost_referrals(scene, draws, ids))
    sides.append(_outside_referrals(scene, draws))

    member = np.concatenate([side[0] for side in sides])
    day = np.concatenate([side[1] for side in sides])
    cells = {name: np.concatenate([side[2][name] for side in sides]) for name in sides[0][2]}
    return number_rows(_frame(scene, member, day, cells), "referral_number", "R")


Side = tuple[Integers, Integers, dict[str, np.ndarray]]


def _take(side: Side, keep: Flags) -> Side:
    member, day, cells = side
    return member[keep], day[keep], {name: values[keep] for name, values in cells.items()}


def _lost_referrals(scene: Scene, draws: Draws, ids: Texts) -> Side:
    """Sent to a partner that has no record of the person."""
    members = scene.members
    known = np.zeros((len(scene.people), len(scene.partners)), dtype=np.bool_)
    known[members.person, members.partner] = True
    sender = np.flatnonzero(scene.served() & draws.chance(scene.profile.referral_lost, len(members)))
    to = draws.integers(0, len(scene.partners) - 1, len(sender))
    open_to = ~known[members.person[sender], to]
    sender, to = sender[open_to], to[open_to]
    day = draws.integers(scene.open_from()[sender], members.until[sender], len(sender))
    return sender, day, _unanswered(draws, ids[to])


def _outside_referrals(scene: Scene, draws: Draws) -> Side:
    """Sent to somebody who is no party to the agreement."""
    sender = np.flatnonzero(scene.served() & draws.chance(0.015, len(scene.members)))
    day = draws.integers(scene.open_from()[sender], scene.members.until[sender], len(sender))
    other = options(scene.agreement, "referral", "other_partner", {"other": 1.0})
    return sender, day, _unanswered(draws, draws.choose(other, len(sender)))


def _unanswered(draws: Draws, other: Texts) -> dict[str, np.ndarray]:
    n = len(other)
    return {
        "direction": np.full(n, "sent", dtype=object),
        "other_partner": other,
        "_accepted": np.full(n, NEVER),
        "_contact": np.full(n, NEVER),
        "status": np.full(n, "sent", dtype=object),
        "declined_reason": np.full(n, None, dtype=object),
        "assessment_passed_on": draws.choose({"yes": 3, "no": 4, "unknown": 3}, n),
    }


def make_stage_events(scene: Scene, enrolments: pl.DataFrame) -> pl.DataFrame:
    """Steps along the pathway, in order, some followed by a step back; nothing where no stages were agreed."""
    stages = codes_of(scene.agreement, "stage_event", "stage")
    if not stages:
        return pl.DataFrame()
    draws, members = scene.draws("stage_event"), scene.members
    started = enrolments["_day"].to_numpy()
    on_path = draws.chance(0.65, len(enrolments)) & (started >= scene.first_day - 240)
    member, programme = enrolments["_member"].to_numpy()[on_path], enrolments["programme"].to_numpy()[on_path]
    n = len(member)
    day = started[on_path] + draws.integers(0, 10, n)
    going = np.ones(n, dtype=np.bool_)
    found = []
    goes_on = (1.0, 0.72, 0.66, 0.5, 0.62)
    for place, stage in enumerate(stages):
        going = going & draws.chance(goes_on[min(place, len(goes_on) - 1)], n)
        found.append((member[going], day[going], np.full(int(going.sum()), stage, dtype=object), programme[going]))
        day = day + draws.integers(9, 48, n)
        back = going & draws.chance(scene.profile.stage_regression if place else 0.0, n)
        if place:
            name = np.full(int(back.sum()), stages[place - 1], dtype=object)
            found.append((member[back], day[back], name, programme[back]))
            day = np.where(back, day + draws.integers(9, 30, n), day)
            found.append((member[back], day[back], np.full(int(back.sum()), stage, dtype=object), programme[back]))
            day = np.where(back, day + draws.integers(9, 40, n), day)
    member, day, reached, programme = (np.concatenate(parts) for parts in zip(*found, strict=True))
    inside = (day >= scene.open_from()[member]) & (day <= members.until[member])
    member, day, reached, programme = member[inside], day[inside], reached[inside], programme[inside]
    cells = {"programme": programme, "stage": reached, "entered_on": as_text(day)}
    return number_rows(_frame(scene, member, day, cells), "stage_event_number", "S")


def make_outcomes(scene: Scene, stage_events: pl.DataFrame) -> pl.DataFrame:
    """Outcomes: work for those whose stage says so, and others now and then."""
    codes = codes_of(scene.agreement, "outcome", "outcome") or ("other",)
    draws, members = scene.draws("outcome"), scene.members
    work = [c for c in codes if any(word in c for word in ("employ", "work", "job"))]
    rest = [code for code in codes if code not in work] or list(codes)
    found = []
    for stage, lasting in (("into_work", False), ("sustained_work", True)):
        pool = [code for code in work if ("sustain" in code) == lasting][:1]
        if pool and not stage_events.is_empty():
            reached = stage_events.filter(pl.col("stage") == stage)
            reached = reached.unique(["_member"], keep="first", maintain_order=True)
            found.append((reached["_member"].to_numpy(), reached["_day"].to_numpy(), draws.pick(pool, len(reached))))
    served = np.flatnonzero(scene.served() & draws.chance(0.14, len(members)))
    day = draws.integers(scene.open_from()[served], members.until[served], len(served))
    found.append((served, day, draws.pick(rest, len(served))))
    member, day, outcome = (np.concatenate(parts) for parts in zip(*found, strict=True))
    cells = {"outcome": outcome, "achieved_on": as_text(day)}
    return number_rows(_frame(scene, member, day, cells), "outcome_number", "O")


def make_service_contacts(scene: Scene) -> pl.DataFrame:
    """Contacts with free-text notes that name the person."""
    draws, members = scene.draws("service_contact"), scene.members
    m = len(members)
    quarters = max(1, round((scene.last_day - scene.first_day) / 91))
    count = sum(draws.positions([0.3, 0.3, 0.22, 0.12, 0.06], m) for _ in range(quarters)) * scene.served()
    member = np.repeat(np.arange(m), count)
    n = len(member)
    day = draws.integers(scene.open_from()[member], members.until[member], n)
    programmes = programmes_of(scene)
    turn = draws.integers(0, 1, n)
    programme = np.array(
        [programmes[p][int(t) % len(programmes[p])] for p, t in zip(members.partner[member], turn, strict=True)],
        dtype=object,
    )
    channels = options(
        scene.agreement,
        "service_contact",
        "channel",
        {"face_to_face": 4, "in_person": 4, "phone": 3, "video": 1, "group": 1, "text_or_email": 2, "home_visit": 1},
    )
    cells = {
        "programme": programme,
        "contacted_on": as_text(day),
        "channel": draws.choose(channels, n),
        "minutes": _as_whole_numbers(draws.integers(1, 18, n) * 5, ~draws.chance(0.08, n)),
        "notes": _notes(scene, draws, member, 0.4),
    }
    return number_rows(_frame(scene, member, day, cells), "contact_number", "C")


def make_costs(scene: Scene) -> pl.DataFrame:
    """What each partner spent, by month, programme and kind of cost; about nobody."""
    draws = scene.draws("cost")
    kinds = codes_of(scene.agreement, "cost", "cost_type") or ("staff",)
    rows: list[tuple[int, int, str, str]] = []
    months = np.arange(
        np.datetime64(scene.first_day, "D").astype("datetime64[M]"),
        np.datetime64(scene.last_day, "D").astype("datetime64[M]") + 1,
    )
    for number, own in enumerate(programmes_of(scene)):
        for month in months:
            last = int((month + 1).astype("datetime64[D]").astype(np.int64)) - 1
            rows.extend((number, min(last, scene.last_day), programme, kind) for programme in own for kind in kinds)
    pence = draws.integers(40_000, 1_500_000, len(rows))
    frame = pl.DataFrame(
        {
            "_partner": [row[0] for row in rows],
            "_day": [row[1] for row in rows],
            "programme": [row[2] for row in rows],
            "cost_type": [row[3] for row in rows],
            "incurred_on": as_text(np.array([row[1] for row in rows], dtype=np.int64)).tolist(),
            "amount_gbp": [f"{value // 100}.{value % 100:02d}" for value in pence],
        },
        schema_overrides={"_partner": pl.Int64, "_day": pl.Int64},
    ).sort("_partner", "_day", maintain_order=True)
    return number_rows(frame, "cost_number", "K")


def make_sharing_bases(scene: Scene) -> pl.DataFrame:
    """On what basis each person's record is shared: for the first two purposes always, for others often."""
    draws, members = scene.draws("sharing_basis"), scene.members
    m = len(members)
    purposes = codes_of(scene.agreement, "sharing_basis", "purpose") or tuple(p.id for p in scene.agreement.purposes)
    public = np.array([partner.public_body for partner in scene.partners])[members.partner]
    task = options(scene.agreement, "sharing_basis", "lawful_basis", {"public_task": 9, "legal_obligation": 1})
    other = options(scene.agreement, "sharing_basis", "lawful_basis", {"consent": 7, "legitimate_interests": 3})
    basis = np.where(public, draws.choose(task, m), draws.choose(other, m))
    frames = []
    for place, purpose in enumerate(purposes):
        who = np.flatnonzero(draws.chance(1.0 if place < 2 else 0.6, m))
        day = members.known_from[who]
        cells = {
            "purpose": np.full(len(who), purpose, dtype=object),
            "lawful_basis": basis[who],
            "basis_from": as_text(day),
            "basis_to": np.full(len(who), None, dtype=object),
        }
        frames.append(_frame(scene, who, day, cells))
    return pl.concat(frames).sort("_partner", "_day", "_member", "purpose")


def _as_whole_numbers(numbers: Integers, present: Flags) -> Texts:
    text = numbers.astype(str).astype(object)
    text[~present] = None
    return text


def _notes(scene: Scene, draws: Draws, member: Integers, share: float) -> Texts:
    n = len(member)
    place = draws.integers(0, len(NOTES) - 1, n)
    written = draws.chance(share, n)
    names = scene.people.forename[scene.members.person[member]]
    return np.array(
        [NOTES[p].format(name=name) if w else None for p, name, w in zip(place, names, written, strict=True)],
        dtype=object,
    )
