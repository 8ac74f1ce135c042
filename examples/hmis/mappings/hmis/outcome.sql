-- What HMIS lets one see of change for the better: moving in, leaving to housing for good, and work or income that
-- was not there at entry and is at a later interview. Each counts once for a stay.
WITH enrolled AS (
    SELECT enrollment.EnrollmentID AS enrollment_id, enrollment.PersonalID AS personal_id, enrollment.MoveInDate AS move_in
    FROM enrollment
    JOIN project ON project.ProjectID = enrollment.ProjectID
    WHERE project.OrganizationID = getvariable('organization_id')
      AND coalesce(enrollment.DateDeleted, '') = ''
),
answers AS (
    SELECT EnrollmentID AS enrollment_id, 'employment_gained' AS outcome, DataCollectionStage AS stage,
           InformationDate AS asked_on, Employed AS answer
    FROM employmenteducation
    WHERE coalesce(DateDeleted, '') = ''
    UNION ALL
    SELECT EnrollmentID, 'income_gained', DataCollectionStage, InformationDate, IncomeFromAnySource
    FROM incomebenefits
    WHERE coalesce(DateDeleted, '') = ''
),
gained AS (
    SELECT later.enrollment_id, later.outcome, min(later.asked_on) AS achieved_on
    FROM answers AS later
    JOIN answers AS entry
      ON entry.enrollment_id = later.enrollment_id AND entry.outcome = later.outcome
     AND entry.stage = '1' AND entry.answer = '0'
    WHERE later.stage IN ('2', '3', '5') AND later.answer = '1' AND later.asked_on >= entry.asked_on
    GROUP BY later.enrollment_id, later.outcome
),
achieved AS (
    SELECT 'M' || enrollment_id AS outcome_number, enrollment_id, 'moved_in' AS outcome, move_in AS achieved_on
    FROM enrolled
    WHERE coalesce(move_in, '') <> ''
    UNION ALL
    SELECT 'P' || EnrollmentID, EnrollmentID, 'permanent_housing', ExitDate
    FROM "exit"
    WHERE Destination LIKE '4__' AND coalesce(DateDeleted, '') = ''
    UNION ALL
    SELECT CASE outcome WHEN 'employment_gained' THEN 'W' ELSE 'I' END || enrollment_id, enrollment_id, outcome, achieved_on
    FROM gained
)
SELECT achieved.outcome_number, enrolled.personal_id AS local_person_id, achieved.outcome, achieved.achieved_on
FROM achieved
JOIN enrolled ON enrolled.enrollment_id = achieved.enrollment_id
ORDER BY achieved.outcome_number
