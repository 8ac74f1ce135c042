-- What people are asked, again and again: coordinated entry's own assessments, and the interviews on income, work
-- and health at entry (1), at an update (2) and every year (5). The interview at exit (3) closes a stay and is not
-- an assessment of need. An interview counts where its first question was answered; HMIS gives no length and no score.
WITH enrolled AS (
    SELECT enrollment.EnrollmentID AS enrollment_id
    FROM enrollment
    JOIN project ON project.ProjectID = enrollment.ProjectID
    WHERE project.OrganizationID = getvariable('organization_id')
      AND coalesce(enrollment.DateDeleted, '') = ''
),
asked AS (
    SELECT
        'A' || AssessmentID AS assessment_number,
        EnrollmentID AS enrollment_id,
        PersonalID AS local_person_id,
        CASE AssessmentLevel WHEN '1' THEN 'crisis_needs' WHEN '2' THEN 'housing_needs' ELSE 'unknown' END AS domain,
        'coordinated_entry' AS tool,
        AssessmentDate AS assessed_on
    FROM assessment
    WHERE coalesce(DateDeleted, '') = ''
    UNION ALL
    SELECT
        'I' || IncomeBenefitsID,
        EnrollmentID,
        PersonalID,
        'income_benefits',
        CASE DataCollectionStage WHEN '1' THEN 'entry' WHEN '2' THEN 'update' ELSE 'annual' END || '_interview',
        InformationDate
    FROM incomebenefits
    WHERE DataCollectionStage IN ('1', '2', '5')
      AND IncomeFromAnySource IN ('0', '1')
      AND coalesce(DateDeleted, '') = ''
    UNION ALL
    SELECT
        'E' || EmploymentEducationID,
        EnrollmentID,
        PersonalID,
        'employment',
        CASE DataCollectionStage WHEN '1' THEN 'entry' WHEN '2' THEN 'update' ELSE 'annual' END || '_interview',
        InformationDate
    FROM employmenteducation
    WHERE DataCollectionStage IN ('1', '2', '5')
      AND Employed IN ('0', '1')
      AND coalesce(DateDeleted, '') = ''
    UNION ALL
    SELECT
        'H' || HealthAndDVID,
        EnrollmentID,
        PersonalID,
        'safety',
        CASE DataCollectionStage WHEN '1' THEN 'entry' WHEN '2' THEN 'update' ELSE 'annual' END || '_interview',
        InformationDate
    FROM healthanddv
    WHERE DataCollectionStage IN ('1', '2', '5')
      AND DomesticViolenceSurvivor IN ('0', '1')
      AND coalesce(DateDeleted, '') = ''
)
SELECT asked.assessment_number, asked.local_person_id, asked.domain, asked.tool, asked.assessed_on,
    NULL AS valid_to
FROM asked
JOIN enrolled ON enrolled.enrollment_id = asked.enrollment_id
ORDER BY asked.assessment_number
