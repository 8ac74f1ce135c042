/*
id: stage_progression
title: Progress through the stages
question: How far do people come on the common pathway, and how long do they stay in each stage?
unit: people
numerator: Different people who entered the stage.
denominator: Different people with any stage in the same programme.
needs: [stage_event.programme, stage_event.stage, stage_event.entered_on]
breakdowns:
  all: {label: All programmes}
  stage: {label: By stage, dims: {stage: stage_event.stage}}
  programme: {label: By programme, dims: {programme: stage_event.programme}}
  programme_stage: {label: By programme and stage, dims: {programme: stage_event.programme, stage: stage_event.stage}}
  transition: {label: From one stage to the next, dims: {from_stage: stage_event.stage, to_stage: stage_event.stage}}
  programme_transition: {label: By programme from one stage to the next, dims: {programme: stage_event.programme, from_stage: stage_event.stage, to_stage: stage_event.stage}}
statistics:
  people_on_pathway:
    label: People with any stage
    kind: count
    unit: people
  people_reached:
    label: People who reached the stage
    kind: count
    unit: people
  reached_share:
    label: Share of the people with any stage
    kind: share
    unit: share of people
    of: people_reached
    over: people_on_pathway
    rest: open
  people_moved:
    label: People who moved from the one stage to the other
    kind: count
    unit: people
  moves:
    label: Moves from the one stage to the other
    kind: count
    unit: moves
  median_days_in_stage:
    label: Median days in the stage before moving on
    kind: median
    unit: days
  unlinkable_people:
    label: Records with a stage that could not be linked, counted apart
    kind: count
    unit: client records
adds_up:
  - {statistic: moves, parts: programme_transition, total: transition}
  - {statistic: people_moved, parts: programme_transition, total: transition}
caveats:
  - A person counts once in a stage, whichever partner reported it and however often it was entered.
  - The same stage reported twice running, by one partner or two, is one stay.
  - Stages entered on one day are taken in the order of the agreement's code list.
  - Not to have reached a stage yet gives nobody away, so a stage that nearly everyone reached is shown.
  - Days in a stage are counted only for people who moved on; those still in it are not in the median.
*/
with reported as (
    select distinct e.person_id, e.programme, e.stage, e.entered_on, coalesce(c.ord, 0) as ord
    from stage_event as e
    left join code as c on c.table_name = 'stage_event' and c.column_name = 'stage' and c.code = e.stage
    where e.person_id is not null
        and e.entered_on is not null
        and coalesce(e.stage, 'unknown') <> 'unknown'
        and e.programme is not null
),

ordered as (
    select
        *,
        lag(stage) over (partition by person_id, programme order by entered_on, ord, stage collate "C") as stage_before
    from reported
),

-- One row a stay: a stage that is only reported again is left out.
stay as (
    select
        person_id, programme, stage, entered_on,
        lead(stage) over w as next_stage,
        lead(entered_on) over w - entered_on as days
    from ordered
    where stage is distinct from stage_before
    window w as (partition by person_id, programme order by entered_on, ord, stage collate "C")
),

reached as (
    select
        case grouping(programme, stage)
            when 3 then 'all' when 2 then 'stage' when 1 then 'programme' when 0 then 'programme_stage'
        end as breakdown,
        case grouping(programme, stage)
            when 3 then '{}'::jsonb
            when 2 then jsonb_build_object('stage', stage)
            when 1 then jsonb_build_object('programme', programme)
            when 0 then jsonb_build_object('programme', programme, 'stage', stage)
        end as dims,
        grouping(stage) = 0 as by_stage,
        case when grouping(programme) = 0 then programme end as programme,
        count(distinct person_id) as people,
        percentile_cont(0.5) within group (order by days) as median_days,
        count(days) as stays,
        count(distinct person_id) filter (where days is not null) as people_moved_on
    from stay
    group by grouping sets ((), (stage), (programme), (programme, stage))
),

-- Whom each stage's share is of: everyone on the pathway, or everyone in the programme.
base as (
    select programme, people from reached where not by_stage
),

moved as (
    select
        case grouping(programme) when 1 then 'transition' else 'programme_transition' end as breakdown,
        case grouping(programme)
            when 1 then jsonb_build_object('from_stage', stage, 'to_stage', next_stage)
            else jsonb_build_object('programme', programme, 'from_stage', stage, 'to_stage', next_stage)
        end as dims,
        count(*) as moves,
        count(distinct person_id) as people
    from stay
    where next_stage is not null
    group by grouping sets ((stage, next_stage), (programme, stage, next_stage))
)

select breakdown, dims, 'people_on_pathway' as statistic, people::numeric as value, null::numeric as numerator,
    null::numeric as denominator, people, null::bigint as base_people, null::bigint as rest_people
from reached
where not by_stage
union all
select r.breakdown, r.dims, s.*
from reached as r
inner join base as b on b.programme is not distinct from r.programme
cross join lateral (values
    ('people_on_pathway', b.people::numeric, null::numeric, null::numeric, b.people, null::bigint, null::bigint),
    ('people_reached', r.people, null, null, r.people, b.people, null),
    ('reached_share', r.people::numeric / nullif(b.people, 0), r.people, b.people, r.people, b.people, null),
    ('median_days_in_stage', r.median_days::numeric, null, r.stays, r.people_moved_on, r.people_moved_on, null)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
where r.by_stage
union all
select breakdown, dims, s.*
from moved
cross join lateral (values
    ('people_moved', people::numeric, null::numeric, null::numeric, people, null::bigint, null::bigint),
    ('moves', moves, null, null, people, null, null)
) as s (statistic, value, numerator, denominator, people, base_people, rest_people)
union all
select 'all', '{}'::jsonb, 'unlinkable_people', count(distinct person_ref), null, null, count(distinct person_ref), null, null
from stage_event
where person_id is null
