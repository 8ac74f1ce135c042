/*
Marks every assessment of the snapshot. :window_days is the agreement's window.

repeat     the same person was assessed in the same domain by a DIFFERENT partner at most :window_days before, and that
           earlier assessment was still valid on the day
review     no such, but the SAME partner held a valid assessment of its own within the window
of_record  neither; also where person, day or domain is not known

What is repeated (or reviewed) is the earliest assessment that qualifies. Of assessments on one day the order is
partner, then row key, so that exactly one of them is the earlier. The window's last day counts: days_since may equal
:window_days. An assessment is valid up to and including valid_to, and without end where valid_to is missing.
*/
with eligible as (
    select partner_id, row_key, person_id, domain, assessed_on, valid_to
    from assessment
    where person_id is not null and assessed_on is not null and coalesce(domain, 'unknown') <> 'unknown'
),

earlier as (
    select distinct on (later.partner_id, later.row_key)
        later.partner_id,
        later.row_key,
        case when before.partner_id = later.partner_id then 'review' else 'repeat' end as mark,
        before.partner_id as repeats_partner_id,
        before.row_key as repeats_row_key,
        later.assessed_on - before.assessed_on as days_since
    from eligible as later
    inner join eligible as before
        on before.person_id = later.person_id
        and before.domain = later.domain
        and (before.assessed_on, before.partner_id collate "C", before.row_key collate "C")
            < (later.assessed_on, later.partner_id collate "C", later.row_key collate "C")
        and later.assessed_on - before.assessed_on <= :window_days
        and (before.valid_to is null or before.valid_to >= later.assessed_on)
    order by
        later.partner_id,
        later.row_key,
        before.partner_id = later.partner_id,  -- another partner's first: a repeat goes before a review
        before.assessed_on,
        before.partner_id collate "C",
        before.row_key collate "C"
)

select
    a.partner_id,
    a.row_key,
    coalesce(e.mark, 'of_record') as mark,
    e.repeats_partner_id,
    e.repeats_row_key,
    e.days_since
from assessment as a
left join earlier as e on e.partner_id = a.partner_id and e.row_key = a.row_key
order by a.partner_id collate "C", a.row_key collate "C"
