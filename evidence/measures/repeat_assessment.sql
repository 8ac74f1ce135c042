/*
id: repeat_assessment
title: Repeat assessment
question: How often is a person assessed again in the same domain by a different partner while an earlier assessment still holds?
unit: assessments
numerator: Assessments marked as a repeat (same person and domain, a different partner, within the agreement's window of an earlier assessment that was still valid).
denominator: All eligible assessments (person linked, date and domain known).
needs: [assessment.domain, assessment.assessed_on, assessment.valid_to]
needs_marks: true
breakdowns:
  all: {label: The whole partnership}
  domain: {label: By domain, dims: {domain: assessment.domain}}
  partner: {label: By the partner that assessed again, dims: {partner: partner}}
  pair: {label: By the partner that assessed first and the one that assessed again, dims: {earlier_partner: partner, partner: partner}}
  period: {label: By the period of the later assessment, dims: {period: period}}
statistics:
  assessments:
    label: Eligible assessments
    kind: count
    unit: assessments
  repeats:
    label: Repeat assessments
    kind: count
    unit: assessments
    part_of: assessments
  repeat_share:
    label: Share of assessments that repeat another partner's
    kind: share
    unit: share of assessments
    of: repeats
    over: assessments
  repeats_after_own:
    label: Repeats where the partner also held a valid assessment of its own
    kind: count
    unit: assessments
    part_of: repeats
  reviews:
    label: Reviews by the same partner, counted apart
    kind: count
    unit: assessments
    part_of: assessments
  people_assessed:
    label: People assessed
    kind: count
    unit: people
  people_repeated:
    label: People assessed again by a different partner
    kind: count
    unit: people
    part_of: people_assessed
  people_repeated_share:
    label: Share of people assessed who were assessed again by a different partner
    kind: share
    unit: share of people
    of: people_repeated
    over: people_assessed
  median_days:
    label: Median days between the assessment repeated and the repeat
    kind: median
    unit: days
    over: repeats
  unlinkable_assessments:
    label: Assessments of people who could not be linked, counted apart
    kind: count
    unit: assessments
adds_up:
  - {statistic: assessments, parts: domain, total: all}
  - {statistic: assessments, parts: partner, total: all}
  - {statistic: assessments, parts: period, total: all}
  - {statistic: repeats, parts: domain, total: all}
  - {statistic: repeats, parts: partner, total: all}
  - {statistic: repeats, parts: period, total: all}
  - {statistic: repeats, parts: pair, total: partner}
  - {statistic: people_repeated, parts: pair, total: partner}
  - {statistic: repeats_after_own, parts: domain, total: all}
  - {statistic: repeats_after_own, parts: partner, total: all}
  - {statistic: repeats_after_own, parts: period, total: all}
  - {statistic: reviews, parts: domain, total: all}
  - {statistic: reviews, parts: partner, total: all}
  - {statistic: reviews, parts: period, total: all}
caveats:
  - A second partner's assessment is not always waste; professional judgement may ask for one. The figure shows what could have been shared.
  - Of two assessments on one day, the one of the partner that comes first in the alphabet counts as the earlier.
  - Where both another partner and the same partner held a valid assessment, the later one is a repeat; such repeats are shown beside the rest, so that the share without them can be worked out.
  - An assessment repeats the earliest one that still held; its domain must be known and the same.
*/
with assessed as (
    select
        a.partner_id,
        a.row_key,
        a.person_id,
        coalesce(a.person_id::text, a.person_ref) as contributor,
        a.domain,
        a.assessed_on,
        a.valid_to,
        a.mark,
        a.repeats_partner_id as earlier_partner,
        a.days_since,
        p.period
    from assessment as a
    left join collection_period as p on a.assessed_on between p.starts and p.ends
    where a.assessed_on is not null and coalesce(a.domain, 'unknown') <> 'unknown'
),

-- Repeats where the partner held a valid assessment of its own as well.
repeat_after_own as (
    select distinct later.row_key
    from assessed as later
    inner join assessed as own
        on own.partner_id = later.partner_id
        and own.person_id = later.person_id
        and own.domain = later.domain
        and (own.assessed_on, own.row_key collate "C") < (later.assessed_on, later.row_key collate "C")
        and (own.valid_to is null or own.valid_to >= later.assessed_on)
    inner join figures as f on later.assessed_on - own.assessed_on <= f.repeat_window_days
    where later.mark = 'repeat'
),

eligible as (
    select a.*, o.row_key is not null as after_own
    from assessed as a
    left join repeat_after_own as o using (row_key)
    where a.person_id is not null
),

counted as (
    select
        case grouping(domain, partner_id, period)
            when 7 then 'all' when 3 then 'domain' when 5 then 'partner' when 6 then 'period'
        end as breakdown,
        case grouping(domain, partner_id, period)
            when 7 then '{}'::jsonb
            when 3 then jsonb_build_object('domain', domain)
            when 5 then jsonb_build_object('partner', partner_id)
            when 6 then jsonb_build_object('period', period)
        end as dims,
        count(*) as assessments,
        count(*) filter (where mark = 'repeat') as repeats,
        count(*) filter (where after_own) as repeats_after_own,
        count(*) filter (where mark = 'review') as reviews,
        count(distinct person_id) as people,
        count(distinct person_id) filter (where mark = 'repeat') as people_repeats,
        count(distinct person_id) filter (where mark <> 'repeat') as people_rest,
        count(distinct person_id) filter (where after_own) as people_after_own,
        count(distinct person_id) filter (where mark = 'review') as people_reviews,
        percentile_cont(0.5) within group (order by days_since) filter (where mark = 'repeat') as median_days
    from eligible
    group by grouping sets ((), (domain), (partner_id), (period))
    having grouping(period) = 1 or period is not null
),

paired as (
    select
        jsonb_build_object('earlier_partner', earlier_partner, 'partner', partner_id) as dims,
        count(*) as repeats,
        count(distinct person_id) as people,
        percentile_cont(0.5) within group (order by days_since) as median_days
    from eligible
    where mark = 'repeat'
    group by earlier_partner, partner_id
)

select breakdown, dims, s.*
from counted
cross join lateral (values
    ('assessments', assessments::numeric, null::numeric, null::numeric, people, null::bigint, null::bigint),
    ('repeats', repeats, null, null, people_repeats, people, people_rest),
    ('repeat_share', repeats::numeric / nullif(assessments, 0), repeats, assessments,
     people_repeats, people, people_rest),
    ('repeats_after_own', repeats_after_own, null, null, people_after_own, people_repeats, null),
    ('reviews', reviews, null, null, people_reviews, people, null),
    ('people_assessed', people, null, null, people, null, null),
    ('people_repeated', people_repeats, null, null, people_repeats, people, people - people_repeats),
    ('people_repeated_share', people_repeats::numeric / nullif(people, 0), people_repeats, people,
     people_repeats, people, people - people_repeats),
    ('median_days', median_days::numeric, null, repeats, people_repeats, people_repeats, null)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
union all
select 'pair', dims, s.*
from paired
cross join lateral (values
    ('repeats', repeats::numeric, null::numeric, null::numeric, people, null::bigint, null::bigint),
    ('people_repeated', people, null, null, people, null, null),
    ('median_days', median_days::numeric, null, repeats, people, people, null)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
union all
select 'all', '{}'::jsonb, 'unlinkable_assessments', count(*), null, null, count(distinct contributor), null, null
from assessed
where person_id is null
