/*
id: need_by_domain
title: Need by domain
question: In which domains of need are people assessed?
unit: people
numerator: Different people assessed in the domain.
denominator: Different people assessed in any domain.
needs: [assessment.domain, assessment.assessed_on]
breakdowns:
  all: {label: The whole partnership}
  domain: {label: By domain, dims: {domain: assessment.domain}}
  partner_domain: {label: By partner and domain, dims: {partner: partner, domain: assessment.domain}}
statistics:
  people_with_any:
    label: People assessed in any domain
    kind: count
    unit: people
    same_as: repeat_assessment.people_assessed
  people_in_domain:
    label: People assessed in the domain
    kind: count
    unit: people
    same_as: repeat_assessment.people_assessed
  domain_share:
    label: Share of the people assessed
    kind: share
    unit: share of people
    of: people_in_domain
    over: people_with_any
caveats:
  - To be assessed in a domain is not yet to have a need in it.
  - People are assessed in several domains, so domains do not add up to the people assessed.
  - Shares by partner are of the people whom that partner assessed.
*/
with assessed as (
    select partner_id, person_id, domain
    from assessment
    where person_id is not null and assessed_on is not null and coalesce(domain, 'unknown') <> 'unknown'
),

base as (
    select case when grouping(partner_id) = 0 then partner_id end as partner_id, count(distinct person_id) as people
    from assessed
    group by grouping sets ((), (partner_id))
),

counted as (
    select
        case grouping(partner_id) when 1 then 'domain' else 'partner_domain' end as breakdown,
        case grouping(partner_id)
            when 1 then jsonb_build_object('domain', domain)
            else jsonb_build_object('partner', partner_id, 'domain', domain)
        end as dims,
        case when grouping(partner_id) = 0 then partner_id end as partner_id,
        count(distinct person_id) as people
    from assessed
    group by grouping sets ((domain), (partner_id, domain))
)

select 'all' as breakdown, '{}'::jsonb as dims, 'people_with_any' as statistic, people::numeric as value,
    null::numeric as numerator, null::numeric as denominator, people, null::bigint as base_people, null::bigint as rest_people
from base
where partner_id is null
union all
select c.breakdown, c.dims, s.*
from counted as c
inner join base as b on b.partner_id is not distinct from c.partner_id
cross join lateral (values
    ('people_with_any', b.people::numeric, null::numeric, null::numeric, b.people, null::bigint, null::bigint),
    ('people_in_domain', c.people, null, null, c.people, b.people, b.people - c.people),
    ('domain_share', c.people::numeric / nullif(b.people, 0), c.people, b.people, c.people, b.people, b.people - c.people)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
