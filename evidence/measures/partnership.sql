/*
id: partnership
title: Partnership and coverage
question: Which partner's data of which period is in, and how much of it was held back?
unit: rows
numerator: Rows that the checks accepted.
denominator: Rows that the partner sent.
needs: []
breakdowns:
  partner: {label: By partner, dims: {partner: partner}}
  partner_period: {label: By partner and period, dims: {partner: partner, period: period}}
  partner_period_table: {label: By partner period and table, dims: {partner: partner, period: period, table: table}}
statistics:
  rows_received:
    label: Rows received
    kind: count
    unit: rows
  rows_accepted:
    label: Rows accepted
    kind: count
    unit: rows
  rows_held_back:
    label: Rows held back
    kind: count
    unit: rows
  accepted_share:
    label: Share accepted
    kind: ratio
    unit: share of rows
    of: rows_accepted
    over: rows_received
  periods_in:
    label: Periods with data
    kind: count_of_things
    unit: periods
adds_up:
  - {statistic: rows_received, parts: partner_period_table, total: partner_period}
  - {statistic: rows_received, parts: partner_period, total: partner}
  - {statistic: rows_accepted, parts: partner_period_table, total: partner_period}
  - {statistic: rows_accepted, parts: partner_period, total: partner}
  - {statistic: rows_held_back, parts: partner_period_table, total: partner_period, disjoint: true}
  - {statistic: rows_held_back, parts: partner_period, total: partner, disjoint: true}
caveats:
  - Rows are not people; a person has many rows.
  - A partner that is named without a row has sent nothing for that period.
  - Rows are rounded like people, and rows of the person table are withheld like people, because they are people.
*/
with summed as (
    select
        case grouping(p.period, c.table_name)
            when 3 then 'partner' when 1 then 'partner_period' when 0 then 'partner_period_table'
        end as breakdown,
        case grouping(p.period, c.table_name)
            when 3 then jsonb_build_object('partner', m.partner_id)
            when 1 then jsonb_build_object('partner', m.partner_id, 'period', p.period)
            when 0 then jsonb_build_object('partner', m.partner_id, 'period', p.period, 'table', c.table_name)
        end as dims,
        grouping(p.period) = 1 as by_partner,
        c.table_name is not distinct from 'person' and grouping(c.table_name) = 0 as is_people,
        coalesce(sum(c.rows_received), 0) as rows_received,
        coalesce(sum(c.rows_accepted), 0) as rows_accepted,
        coalesce(sum(c.rows_held_back), 0) as rows_held_back,
        count(distinct c.period) as periods_in
    from partner as m
    cross join collection_period as p
    left join coverage as c on c.partner_id = m.partner_id and c.period = p.period
    group by grouping sets ((m.partner_id), (m.partner_id, p.period), (m.partner_id, p.period, c.table_name))
    having grouping(c.table_name) = 1 or c.table_name is not null
)

select breakdown, dims, s.*
from summed
cross join lateral (values
    ('rows_received', rows_received::numeric, null::numeric, null::numeric,
     case when is_people then rows_received end::bigint, null::bigint, null::bigint),
    ('rows_accepted', rows_accepted, null, null, case when is_people then rows_accepted end, null, null),
    ('rows_held_back', rows_held_back, null, null, case when is_people then rows_held_back end, null, null),
    ('accepted_share', rows_accepted::numeric / nullif(rows_received, 0), rows_accepted, rows_received, null, null, null)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
union all
select breakdown, dims, 'periods_in', periods_in, null, null, null, null, null
from summed
where by_partner
