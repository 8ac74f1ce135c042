/*
id: repeat_cost
title: Cost of repeat assessment
question: How much of the partners' time, and money, went into assessments that repeat another partner's?
unit: hours
numerator: Minutes of all repeat assessments, as hours.
denominator: Repeat assessments whose minutes are recorded.
needs: [assessment.domain, assessment.assessed_on, assessment.valid_to, assessment.minutes]
needs_marks: true
breakdowns:
  all: {label: The whole partnership}
  domain: {label: By domain, dims: {domain: assessment.domain}}
  partner: {label: By the partner that assessed again, dims: {partner: partner}}
statistics:
  repeats_timed:
    label: Repeat assessments with their minutes recorded
    kind: count
    unit: assessments
    part_of: repeat_assessment.repeats
  repeat_hours:
    label: Hours spent on repeat assessments
    kind: sum
    unit: hours
    over: repeats_timed
  repeat_cost:
    label: Cost of the hours spent on repeat assessments
    kind: product
    unit: GBP
    money: true
    of: repeat_hours
    over: repeats_timed
adds_up:
  - {statistic: repeats_timed, parts: domain, total: all}
  - {statistic: repeats_timed, parts: partner, total: all}
  - {statistic: repeat_hours, parts: domain, total: all}
  - {statistic: repeat_hours, parts: partner, total: all}
caveats:
  - Hours are worth the agreement's figure for an hour of assessment, whoever does it; the cost is the published hours times that figure.
  - Repeats without recorded minutes count nothing, so the hours are rather too low.
  - What sharing would truly save is less, since reading a shared assessment takes time as well.
*/
with repeated as (
    select partner_id, person_id, domain, minutes, hourly_cost_gbp
    from assessment
    cross join figures
    where mark = 'repeat' and person_id is not null and minutes is not null
),

counted as (
    select
        case grouping(domain, partner_id) when 3 then 'all' when 1 then 'domain' when 2 then 'partner' end as breakdown,
        case grouping(domain, partner_id)
            when 3 then '{}'::jsonb
            when 1 then jsonb_build_object('domain', domain)
            when 2 then jsonb_build_object('partner', partner_id)
        end as dims,
        count(*) as repeats_timed,
        coalesce(sum(minutes), 0) / 60.0 as hours,
        coalesce(sum(minutes * hourly_cost_gbp), 0) / 60.0 as cost,
        count(distinct person_id) as people
    from repeated
    group by grouping sets ((), (domain), (partner_id))
)

select breakdown, dims, s.*
from counted
cross join lateral (values
    ('repeats_timed', repeats_timed::numeric, null::numeric, null::numeric, people, null::bigint, null::bigint),
    ('repeat_hours', hours::numeric, null, repeats_timed, people, people, null),
    ('repeat_cost', cost::numeric, hours::numeric, repeats_timed, people, people, null)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
