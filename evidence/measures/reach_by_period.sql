/*
id: reach_by_period
title: Reach by period
question: How many different people were enrolled in each period, and what do the partners' own counts add up to?
unit: people
numerator: Client records with an enrolment open on at least one day of the period.
denominator: Different people behind those records.
needs: [enrolment.started_on, enrolment.ended_on]
breakdowns:
  period: {label: By period, dims: {period: period}}
  partner_period: {label: By partner and period, dims: {partner: partner, period: period}}
statistics:
  enrolled_records:
    label: Partners' own counts
    kind: count
    unit: client records
  enrolled_people:
    label: Different people enrolled
    kind: count
    unit: people
  unlinkable_enrolled:
    label: Enrolled records that could not be linked, counted apart
    kind: count
    unit: client records
  counts_per_person:
    label: Times that a person is counted
    kind: ratio
    unit: records per person
    of: enrolled_records
    over: enrolled_people
adds_up:
  - {statistic: enrolled_records, parts: partner_period, total: period}
  - {statistic: unlinkable_enrolled, parts: partner_period, total: period}
caveats:
  - An enrolment counts from its first to its last day, both included; one without an end is still open.
  - A person enrolled in two periods counts in both, so periods do not add up.
*/
with enrolled as (
    select distinct e.partner_id, e.person_ref, e.person_id, p.period
    from enrolment as e
    inner join collection_period as p
        on e.started_on <= p.ends and (e.ended_on is null or e.ended_on >= p.starts)
),

counted as (
    select
        case grouping(partner_id) when 1 then 'period' else 'partner_period' end as breakdown,
        case grouping(partner_id)
            when 1 then jsonb_build_object('period', period)
            else jsonb_build_object('partner', partner_id, 'period', period)
        end as dims,
        count(*) filter (where person_id is not null) as enrolled_records,
        count(*) filter (where person_id is null) as unlinkable_enrolled,
        count(distinct person_id) as enrolled_people
    from enrolled
    group by grouping sets ((period), (partner_id, period))
)

select breakdown, dims, s.*
from counted
cross join lateral (values
    ('enrolled_records', enrolled_records::numeric, null::numeric, null::numeric, enrolled_people, null::bigint, null::bigint),
    ('enrolled_people', enrolled_people, null, null, enrolled_people, null, null),
    ('unlinkable_enrolled', unlinkable_enrolled, null, null, unlinkable_enrolled, null, null),
    ('counts_per_person', enrolled_records::numeric / nullif(enrolled_people, 0), enrolled_records, enrolled_people,
     enrolled_people, enrolled_people, null)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
