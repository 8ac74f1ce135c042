/*
id: reach
title: Reach
question: How many different people do the partners know, and what do the partners' own counts add up to?
unit: people
numerator: Client records of the partners that could be linked (each partner's own count).
denominator: Different people behind those records.
needs: [record.person_id]
breakdowns:
  all: {label: The whole partnership}
  partner: {label: By partner, dims: {partner: partner}}
statistics:
  client_records:
    label: Partners' own counts
    kind: count
    unit: client records
  unlinkable_records:
    label: Records that could not be linked, counted apart
    kind: count
    unit: client records
  unique_people:
    label: Different people
    kind: count
    unit: people
  people_if_joined:
    label: Different people if all pairs in doubt are one person
    kind: count
    unit: people
    bounds: unique_people
  people_if_parted:
    label: Different people if no pair in doubt is one person
    kind: count
    unit: people
    bounds: unique_people
  counts_per_person:
    label: Times that a person is counted
    kind: ratio
    unit: records per person
    of: client_records
    over: unique_people
adds_up:
  - {statistic: client_records, parts: partner, total: all}
  - {statistic: unlinkable_records, parts: partner, total: all}
caveats:
  - A person whom two partners know is one person here and two in the partners' own counts.
  - Records without enough identifiers, and people who must not be linked, are outside the count of different people.
  - Of the whole partnership two more counts say how far the different people move with the pairs of records that linkage is in doubt about; they are no confidence interval.
  - The people of single partners do not add up to the people of the partnership, because partners share people.
*/
with client as (
    select distinct partner_id, person_ref, person_id, if_joined, if_parted
    from record
),

counted as (
    select
        case grouping(partner_id) when 1 then 'all' else 'partner' end as breakdown,
        case grouping(partner_id) when 1 then '{}'::jsonb else jsonb_build_object('partner', partner_id) end as dims,
        count(*) filter (where person_id is not null) as client_records,
        count(*) filter (where person_id is null) as unlinkable_records,
        count(distinct person_id) as unique_people
    from client
    group by grouping sets ((), (partner_id))
)

select breakdown, dims, s.*
from counted
cross join lateral (values
    ('client_records', client_records::numeric, null::numeric, null::numeric, unique_people, null::bigint, null::bigint),
    ('unlinkable_records', unlinkable_records, null, null, unlinkable_records, null, null),
    ('unique_people', unique_people, null, null, unique_people, null, null),
    ('counts_per_person', client_records::numeric / nullif(unique_people, 0), client_records, unique_people,
     unique_people, unique_people, null)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
union all
select 'all', '{}'::jsonb, statistic, people, null, null, people, null, null
from (select count(distinct if_joined) as joined, count(distinct if_parted) as parted from client) as doubt
cross join lateral (values ('people_if_joined', joined), ('people_if_parted', parted)) as b (statistic, people)
where people > 0
