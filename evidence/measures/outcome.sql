/*
id: outcome
title: Outcomes
question: How many people achieved which outcome, of all people who were enrolled?
unit: people
numerator: Different people with the outcome.
denominator: Different people with any enrolment.
needs: [outcome.outcome, outcome.achieved_on, enrolment.started_on]
breakdowns:
  all: {label: The whole partnership}
  outcome: {label: By outcome, dims: {outcome: outcome.outcome}}
  period: {label: By the period of the outcome, dims: {period: period}}
statistics:
  people_enrolled:
    label: People with any enrolment
    kind: count
    unit: people
  people_achieved:
    label: People with the outcome
    kind: count
    unit: people
  achieved_share:
    label: Share of the people with any enrolment
    kind: share
    unit: share of people
    of: people_achieved
    over: people_enrolled
  unlinkable_outcomes:
    label: Outcomes of people who could not be linked, counted apart
    kind: count
    unit: outcomes
adds_up:
  - {statistic: people_achieved, parts: outcome, total: all}
  - {statistic: people_achieved, parts: period, total: all}
caveats:
  - One person's outcome counts once, whichever partner reported it and however often.
  - People with an outcome but no enrolment at any partner are left out of both the numerator and the denominator.
  - People may have several outcomes, so outcomes do not add up to the people with any.
  - Nothing here says that the partnership's work caused the outcome.
*/
with enrolled as (
    select distinct person_id from enrolment where person_id is not null
),

achieved as (
    select o.person_id, o.outcome, p.period
    from outcome as o
    inner join enrolled using (person_id)
    left join collection_period as p on o.achieved_on between p.starts and p.ends
    where o.achieved_on is not null and coalesce(o.outcome, 'unknown') <> 'unknown'
),

counted as (
    select
        case grouping(outcome, period) when 3 then 'all' when 1 then 'outcome' when 2 then 'period' end as breakdown,
        case grouping(outcome, period)
            when 3 then '{}'::jsonb
            when 1 then jsonb_build_object('outcome', outcome)
            when 2 then jsonb_build_object('period', period)
        end as dims,
        count(distinct person_id) as people
    from achieved
    group by grouping sets ((), (outcome), (period))
    having grouping(period) = 1 or period is not null
),

base as (
    select count(*) as people from enrolled
)

select c.breakdown, c.dims, s.*
from counted as c
cross join base as b
cross join lateral (values
    ('people_enrolled', b.people::numeric, null::numeric, null::numeric, b.people, null::bigint, null::bigint),
    ('people_achieved', c.people, null, null, c.people, b.people, b.people - c.people),
    ('achieved_share', c.people::numeric / nullif(b.people, 0), c.people, b.people, c.people, b.people, b.people - c.people)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
union all
select 'all', '{}'::jsonb, 'unlinkable_outcomes', count(*), null, null, count(distinct person_ref), null, null
from outcome
where person_id is null
