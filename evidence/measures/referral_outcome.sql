/*
id: referral_outcome
title: Referrals between partners
question: What becomes of a person whom one partner refers to another, and how long does it take?
unit: referrals
numerator: Referrals that were accepted, arrived with their assessment, or were lost (no enrolment at the receiver within the agreement's days).
denominator: Referrals between two partners of the agreement whose answer to the question is known.
needs: [referral.direction, referral.other_partner, referral.sent_on, referral.accepted_on, referral.first_contact_on, referral.status, referral.assessment_passed_on, enrolment.started_on, enrolment.ended_on]
breakdowns:
  all: {label: The whole partnership}
  sender: {label: By the partner that refers, dims: {partner: partner}}
  receiver: {label: By the partner that receives, dims: {other_partner: partner}}
  pair: {label: By sender and receiver, dims: {partner: partner, other_partner: partner}}
  period: {label: By the period of sending, dims: {period: period}}
  status: {label: By what became of them, dims: {referral_status: referral.status}}
  reported_by: {label: By who reported them, dims: {reported_by: text}}
statistics:
  referrals:
    label: Referrals between partners
    kind: count
    unit: referrals
  people_referred:
    label: People referred
    kind: count
    unit: people
  answered:
    label: Referrals with an answer
    kind: count
    unit: referrals
    part_of: referrals
  accepted:
    label: Referrals accepted
    kind: count
    unit: referrals
    part_of: answered
  accepted_share:
    label: Share accepted of those with an answer
    kind: share
    unit: share of referrals
    of: accepted
    over: answered
  passed_on_known:
    label: Referrals where it is known if the assessment was passed on
    kind: count
    unit: referrals
    part_of: referrals
  passed_on:
    label: Referrals that arrived with their assessment
    kind: count
    unit: referrals
    part_of: passed_on_known
  passed_on_share:
    label: Share that arrived with their assessment
    kind: share
    unit: share of referrals
    of: passed_on
    over: passed_on_known
  followed_up:
    label: Referrals that can be followed to the receiver
    kind: count
    unit: referrals
    part_of: referrals
  lost:
    label: Referrals lost
    kind: count
    unit: referrals
    part_of: followed_up
  lost_share:
    label: Share lost
    kind: share
    unit: share of referrals
    of: lost
    over: followed_up
  median_days_to_acceptance:
    label: Median days from sending to acceptance
    kind: median
    unit: days
    over: accepted
  median_days_to_first_contact:
    label: Median days from acceptance to first contact
    kind: median
    unit: days
    over: accepted
  unlinkable_referrals:
    label: Referral rows of people who could not be linked, counted apart
    kind: count
    unit: referral rows
  outside_referrals:
    label: Referrals to or from organisations outside the agreement
    kind: count
    unit: referrals
adds_up:
  - {statistic: referrals, parts: sender, total: all}
  - {statistic: referrals, parts: receiver, total: all}
  - {statistic: referrals, parts: period, total: all}
  - {statistic: referrals, parts: status, total: all}
  - {statistic: referrals, parts: reported_by, total: all}
  - {statistic: referrals, parts: pair, total: sender}
  - {statistic: referrals, parts: pair, total: receiver}
  - {statistic: people_referred, parts: sender, total: all}
  - {statistic: people_referred, parts: receiver, total: all}
  - {statistic: people_referred, parts: period, total: all}
  - {statistic: people_referred, parts: status, total: all}
  - {statistic: people_referred, parts: reported_by, total: all}
  - {statistic: people_referred, parts: pair, total: sender}
  - {statistic: people_referred, parts: pair, total: receiver}
  - {statistic: answered, parts: sender, total: all}
  - {statistic: answered, parts: receiver, total: all}
  - {statistic: answered, parts: period, total: all}
  - {statistic: answered, parts: pair, total: sender}
  - {statistic: answered, parts: pair, total: receiver}
  - {statistic: accepted, parts: sender, total: all}
  - {statistic: accepted, parts: receiver, total: all}
  - {statistic: accepted, parts: period, total: all}
  - {statistic: accepted, parts: pair, total: sender}
  - {statistic: accepted, parts: pair, total: receiver}
  - {statistic: passed_on_known, parts: sender, total: all}
  - {statistic: passed_on_known, parts: receiver, total: all}
  - {statistic: passed_on_known, parts: period, total: all}
  - {statistic: passed_on_known, parts: pair, total: sender}
  - {statistic: passed_on_known, parts: pair, total: receiver}
  - {statistic: passed_on, parts: sender, total: all}
  - {statistic: passed_on, parts: receiver, total: all}
  - {statistic: passed_on, parts: period, total: all}
  - {statistic: passed_on, parts: pair, total: sender}
  - {statistic: passed_on, parts: pair, total: receiver}
  - {statistic: followed_up, parts: sender, total: all}
  - {statistic: followed_up, parts: receiver, total: all}
  - {statistic: followed_up, parts: period, total: all}
  - {statistic: followed_up, parts: pair, total: sender}
  - {statistic: followed_up, parts: pair, total: receiver}
  - {statistic: lost, parts: sender, total: all}
  - {statistic: lost, parts: receiver, total: all}
  - {statistic: lost, parts: period, total: all}
  - {statistic: lost, parts: pair, total: sender}
  - {statistic: lost, parts: pair, total: receiver}
caveats:
  - A sender's and a receiver's row of the same person between the same two partners are one referral where their sending dates are at most 14 days apart; where there are several, the first sent is the first received. Once the receiver has answered, its word counts for what happened on arrival; the sender's counts for the sending date.
  - A referral has an answer where it was accepted, declined or withdrawn; referrals still without one are outside the share accepted.
  - A referral counts as lost where the receiver's data shows no open enrolment of the person from the sending date to the agreement's last day; declined and withdrawn referrals have an answer and are left out, and so are referrals too recent to judge from the receiver's latest data.
  - Only linked people can be followed from one partner to the next.
  - Days counted backwards (accepted before sent) are faults of the data and are left out of the medians.
*/
with told as (
    select
        r.partner_id, r.row_key, r.person_id, r.person_ref, r.direction,
        case r.direction when 'sent' then r.partner_id else r.other_partner end as sender,
        case r.direction when 'sent' then r.other_partner else r.partner_id end as receiver,
        r.sent_on, r.accepted_on, r.first_contact_on, r.status, r.assessment_passed_on
    from referral as r
    where r.direction in ('sent', 'received')
),

-- Only referrals between two different partners of the agreement, of people who are linked.
between_partners as (
    select told.*
    from told
    where person_id is not null
        and sent_on is not null
        and sender <> receiver
        and sender in (select partner_id from partner)
        and receiver in (select partner_id from partner)
),

-- Rows of one person from one partner to the same other, parted where more than 14 days pass without one.
spaced as (
    select
        *,
        case when sent_on - lag(sent_on) over w <= 14 then 0 else 1 end as begins
    from between_partners
    window w as (partition by person_id, sender, receiver order by sent_on, row_key collate "C")
),

grouped as (
    select
        *,
        sum(begins) over (
            partition by person_id, sender, receiver order by sent_on, row_key collate "C"
        ) as run
    from spaced
),

numbered as (
    select
        *,
        row_number() over (
            partition by person_id, sender, receiver, run, direction order by sent_on, row_key collate "C"
        ) as place
    from grouped
),

-- The sender's and the receiver's row of one referral: the first sent is the first received, the second the second.
in_order as (
    select s.row_key as sent_key, r.row_key as received_key
    from numbered as s
    inner join numbered as r using (person_id, sender, receiver, run, place)
    where s.direction = 'sent' and r.direction = 'received' and abs(r.sent_on - s.sent_on) <= 14
),

-- Rows left over where one partner reports more than the other: each is the other's nearest, at most 14 days apart.
candidate as (
    select
        s.row_key as sent_key,
        r.row_key as received_key,
        row_number() over (
            partition by s.row_key order by abs(r.sent_on - s.sent_on), r.sent_on, r.row_key collate "C"
        ) as rank_for_sender,
        row_number() over (
            partition by r.row_key order by abs(r.sent_on - s.sent_on), s.sent_on, s.row_key collate "C"
        ) as rank_for_receiver
    from numbered as s
    inner join numbered as r using (person_id, sender, receiver, run)
    where s.direction = 'sent' and r.direction = 'received' and abs(r.sent_on - s.sent_on) <= 14
        and s.row_key not in (select sent_key from in_order)
        and r.row_key not in (select received_key from in_order)
),

matched as (
    select sent_key, received_key from in_order
    union all
    select sent_key, received_key from candidate where rank_for_sender = 1 and rank_for_receiver = 1
),

reconciled as (
    select
        s.row_key as referral_key, s.person_id, s.sender, s.receiver, s.sent_on,
        -- A receiver that has answered is believed in full: a date that it does not give was not.
        case when r.status not in ('sent', 'unknown') then r.accepted_on else coalesce(r.accepted_on, s.accepted_on) end
            as accepted_on,
        case
            when r.status not in ('sent', 'unknown') then r.first_contact_on
            else coalesce(r.first_contact_on, s.first_contact_on)
        end as first_contact_on,
        case
            when r.status not in ('sent', 'unknown') then r.status
            else coalesce(nullif(s.status, 'unknown'), r.status)
        end as status,
        coalesce(nullif(r.assessment_passed_on, 'unknown'), s.assessment_passed_on) as assessment_passed_on,
        case when r.row_key is null then 'sender only' else 'sender and receiver' end as reported_by
    from between_partners as s
    left join matched as m on m.sent_key = s.row_key
    left join between_partners as r on r.row_key = m.received_key and r.direction = 'received'
    where s.direction = 'sent'
    union all
    select
        row_key, person_id, sender, receiver, sent_on, accepted_on, first_contact_on, status, assessment_passed_on,
        'receiver only'
    from between_partners
    where direction = 'received' and row_key not in (select received_key from matched)
),

-- Until when the receiver's enrolments are in the data: a younger referral cannot be judged yet.
known_until as (
    select c.partner_id, max(p.ends) as until
    from coverage as c
    inner join collection_period as p using (period)
    where c.table_name = 'enrolment'
    group by c.partner_id
),

-- Referrals whose person was enrolled at the receiver on a day from the sending to the agreement's last.
arrived as (
    select distinct r.referral_key
    from reconciled as r
    inner join enrolment as e on e.person_id = r.person_id and e.partner_id = r.receiver
    inner join figures as f
        on e.started_on <= r.sent_on + f.lost_referral_days and (e.ended_on is null or e.ended_on >= r.sent_on)
),

judged as (
    select
        r.*,
        p.period,
        r.accepted_on is not null or coalesce(r.status = 'accepted', false) as is_accepted,
        r.accepted_on is not null or coalesce(r.status in ('accepted', 'declined', 'withdrawn'), false) as is_answered,
        r.assessment_passed_on in ('yes', 'no') as is_passed_known,
        r.assessment_passed_on = 'yes' as is_passed,
        case when r.accepted_on >= r.sent_on then r.accepted_on - r.sent_on end as days_to_acceptance,
        case when r.first_contact_on >= r.accepted_on then r.first_contact_on - r.accepted_on end as days_to_contact,
        r.status not in ('declined', 'withdrawn') and r.sent_on + f.lost_referral_days <= k.until as is_followed,
        a.referral_key is null as has_no_enrolment
    from reconciled as r
    cross join figures as f
    left join arrived as a using (referral_key)
    left join known_until as k on k.partner_id = r.receiver
    left join collection_period as p on r.sent_on between p.starts and p.ends
),

counted as (
    select
        case grouping(sender, receiver, period, status, reported_by)
            when 31 then 'all' when 15 then 'sender' when 23 then 'receiver' when 7 then 'pair'
            when 27 then 'period' when 29 then 'status' when 30 then 'reported_by'
        end as breakdown,
        case grouping(sender, receiver, period, status, reported_by)
            when 31 then '{}'::jsonb
            when 15 then jsonb_build_object('partner', sender)
            when 23 then jsonb_build_object('other_partner', receiver)
            when 7 then jsonb_build_object('partner', sender, 'other_partner', receiver)
            when 27 then jsonb_build_object('period', period)
            when 29 then jsonb_build_object('referral_status', coalesce(status, 'unknown'))
            when 30 then jsonb_build_object('reported_by', reported_by)
        end as dims,
        count(*) as referrals,
        count(distinct person_id) as people,
        count(*) filter (where is_accepted) as accepted,
        count(distinct person_id) filter (where is_accepted) as people_accepted,
        count(*) filter (where is_answered) as answered,
        count(distinct person_id) filter (where is_answered) as people_answered,
        count(distinct person_id) filter (where is_answered and not is_accepted) as people_not_accepted,
        count(*) filter (where is_passed_known) as passed_on_known,
        count(distinct person_id) filter (where is_passed_known) as people_passed_known,
        count(*) filter (where is_passed) as passed_on,
        count(distinct person_id) filter (where is_passed) as people_passed,
        count(distinct person_id) filter (where is_passed_known and not is_passed) as people_not_passed,
        count(*) filter (where is_followed) as followed_up,
        count(distinct person_id) filter (where is_followed) as people_followed,
        count(*) filter (where is_followed and has_no_enrolment) as lost,
        count(distinct person_id) filter (where is_followed and has_no_enrolment) as people_lost,
        count(distinct person_id) filter (where is_followed and not has_no_enrolment) as people_not_lost,
        percentile_cont(0.5) within group (order by days_to_acceptance) as median_acceptance,
        count(days_to_acceptance) as timed_acceptance,
        count(distinct person_id) filter (where days_to_acceptance is not null) as people_timed_acceptance,
        percentile_cont(0.5) within group (order by days_to_contact) as median_contact,
        count(days_to_contact) as timed_contact,
        count(distinct person_id) filter (where days_to_contact is not null) as people_timed_contact
    from judged
    group by grouping sets ((), (sender), (receiver), (sender, receiver), (period), (status), (reported_by))
    having grouping(period) = 1 or period is not null
)

select breakdown, dims, s.*
from counted
cross join lateral (values
    ('referrals', referrals::numeric, null::numeric, null::numeric, people, null::bigint, null::bigint),
    ('people_referred', people, null, null, people, null, null),
    ('answered', answered, null, null, people_answered, people, null),
    ('accepted', accepted, null, null, people_accepted, people_answered, people_not_accepted),
    ('accepted_share', accepted::numeric / nullif(answered, 0), accepted, answered,
     people_accepted, people_answered, people_not_accepted),
    ('passed_on_known', passed_on_known, null, null, people_passed_known, people, null),
    ('passed_on', passed_on, null, null, people_passed, people_passed_known, people_not_passed),
    ('passed_on_share', passed_on::numeric / nullif(passed_on_known, 0), passed_on, passed_on_known,
     people_passed, people_passed_known, people_not_passed),
    ('followed_up', followed_up, null, null, people_followed, people, null),
    ('lost', lost, null, null, people_lost, people_followed, people_not_lost),
    ('lost_share', lost::numeric / nullif(followed_up, 0), lost, followed_up,
     people_lost, people_followed, people_not_lost),
    ('median_days_to_acceptance', median_acceptance::numeric, null, timed_acceptance,
     people_timed_acceptance, people_timed_acceptance, null),
    ('median_days_to_first_contact', median_contact::numeric, null, timed_contact,
     people_timed_contact, people_timed_contact, null)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
where breakdown not in ('status', 'reported_by') or statistic in ('referrals', 'people_referred')
union all
select 'all', '{}'::jsonb, 'unlinkable_referrals', count(*), null, null, count(distinct person_ref), null, null
from told
where person_id is null
union all
select 'all', '{}'::jsonb, 'outside_referrals', count(*), null, null, count(distinct person_id), null, null
from told
where person_id is not null
    and (sender not in (select partner_id from partner) or receiver not in (select partner_id from partner))
