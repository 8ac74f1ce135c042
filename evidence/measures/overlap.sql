/*
id: overlap
title: Overlap between partners
question: How many people are known to more than one partner, and to which?
unit: people
numerator: Different people known to all the partners named.
denominator: Different people known to the partner named first, or to any partner.
needs: [record.person_id]
breakdowns:
  all: {label: The whole partnership}
  size: {label: By number of partners, dims: {size: number}}
  set: {label: By exact set of partners, dims: {partners: partners, size: number}}
  partner: {label: By partner, dims: {partner: partner}}
  pair: {label: By pair of partners, dims: {partner: partner, other_partner: partner}}
statistics:
  people:
    label: Different people
    kind: count
    unit: people
    same_as: reach.unique_people
  shared_people:
    label: People known to two or more partners
    kind: count
    unit: people
    part_of: people
  shared_if_joined:
    label: People known to two or more partners if all pairs in doubt are one person
    kind: count
    unit: people
    bounds: shared_people
  shared_if_parted:
    label: People known to two or more partners if no pair in doubt is one person
    kind: count
    unit: people
    bounds: shared_people
  shared_share:
    label: Share of people known to two or more partners
    kind: share
    unit: share of people
    of: shared_people
    over: people
adds_up:
  - {statistic: people, parts: size, total: all, disjoint: true}
  - {statistic: people, parts: set, total: size, disjoint: true}
  - {statistic: people, parts: set, total: partner, members: partners, disjoint: true}
  - {statistic: people, parts: set, total: pair, members: partners, disjoint: true}
  - {statistic: shared_people, part_statistic: people, parts: size, other_than: {size: "1"}, total: all, disjoint: true}
  - {statistic: shared_people, part_statistic: people, parts: set, other_than: {size: "1"}, total: all, disjoint: true}
  - {statistic: shared_people, part_statistic: people, parts: set, other_than: {size: "1"}, total: partner, members: partners, disjoint: true}
  - {statistic: people, parts: size, only: {size: "1"}, beside: shared_people, total: all, disjoint: true}
  - {statistic: people, parts: set, only: {size: "1"}, beside: shared_people, total: partner, members: partners, disjoint: true}
caveats:
  - A set is exact; people known to A and B and nobody else are in the set of A and B only.
  - A pair is not; people known to A and B are in the pair whoever else knows them.
  - Sets and pairs that nobody is in are left out.
  - Of the whole partnership two more counts say how far the people known to several partners move with the pairs of records that linkage is in doubt about; they are no confidence interval.
  - Records that could not be linked are left out, so the true overlap is rather higher.
*/
with known as (
    select distinct person_id, partner_id
    from record
    where person_id is not null
),

person_set as (
    select
        person_id,
        count(*) as size,
        string_agg(partner_id, '+' order by partner_id collate "C") as partners
    from known
    group by person_id
),

-- Everyone, and the part of them whom at least two partners know.
whole as (
    select
        case grouping(k.partner_id) when 1 then 'all' else 'partner' end as breakdown,
        case grouping(k.partner_id) when 1 then '{}'::jsonb else jsonb_build_object('partner', k.partner_id) end as dims,
        count(distinct k.person_id) as people,
        count(distinct k.person_id) filter (where s.size >= 2) as shared_people
    from known as k
    inner join person_set as s using (person_id)
    group by grouping sets ((), (k.partner_id))
),

exact as (
    select
        case grouping(partners) when 1 then 'size' else 'set' end as breakdown,
        case grouping(partners)
            when 1 then jsonb_build_object('size', size::text)
            else jsonb_build_object('partners', partners, 'size', size::text)
        end as dims,
        count(*) as people
    from person_set
    group by grouping sets ((size), (size, partners))
),

pair as (
    select
        'pair' as breakdown,
        jsonb_build_object('partner', a.partner_id, 'other_partner', b.partner_id) as dims,
        count(*) as people
    from known as a
    inner join known as b on a.person_id = b.person_id and a.partner_id collate "C" < b.partner_id collate "C"
    group by a.partner_id, b.partner_id
)

select breakdown, dims, s.*
from whole
cross join lateral (values
    ('people', people::numeric, null::numeric, null::numeric, people, null::bigint, null::bigint),
    ('shared_people', shared_people, null, null, shared_people, null, null),
    ('shared_share', shared_people::numeric / nullif(people, 0), shared_people, people,
     shared_people, people, people - shared_people)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
union all
select breakdown, dims, 'people', people, null, null, people, null, null from exact
union all
select breakdown, dims, 'people', people, null, null, people, null, null from pair
union all
select 'all', '{}'::jsonb, statistic, count(*) filter (where size >= 2), null, null,
    count(*) filter (where size >= 2), null, null
from (
    select 'shared_if_joined' as statistic, count(distinct partner_id) as size
    from record where if_joined is not null group by if_joined
    union all
    select 'shared_if_parted', count(distinct partner_id)
    from record where if_parted is not null group by if_parted
) as doubt
group by statistic
