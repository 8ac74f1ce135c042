-- One row for each stay in one of the organisation's projects. The programme is the project's type, the end reason
-- the group of the destination: 100s homeless, 200s an institution, 300s for a time, 400s for good.
SELECT
    enrollment.EnrollmentID AS enrolment_number,
    enrollment.PersonalID AS local_person_id,
    CASE project.ProjectType
        WHEN '0' THEN 'emergency_shelter'
        WHEN '1' THEN 'night_shelter'
        WHEN '2' THEN 'transitional_housing'
        WHEN '3' THEN 'permanent_supportive_housing'
        WHEN '4' THEN 'street_outreach'
        WHEN '6' THEN 'services_only'
        WHEN '8' THEN 'safe_haven'
        WHEN '9' THEN 'permanent_housing'
        WHEN '10' THEN 'permanent_housing_with_services'
        WHEN '11' THEN 'day_shelter'
        WHEN '12' THEN 'homelessness_prevention'
        WHEN '13' THEN 'rapid_rehousing'
        WHEN '14' THEN 'coordinated_entry'
        ELSE 'other'
    END AS programme,
    enrollment.EntryDate AS started_on,
    nullif(trim("exit".ExitDate), '') AS ended_on,
    CASE
        WHEN coalesce("exit".ExitDate, '') = '' THEN NULL
        WHEN "exit".Destination = '24' THEN 'died'
        WHEN "exit".Destination LIKE '1__' THEN 'homeless'
        WHEN "exit".Destination LIKE '2__' THEN 'institution'
        WHEN "exit".Destination LIKE '3__' THEN 'temporary_housing'
        WHEN "exit".Destination LIKE '4__' THEN 'permanent_housing'
        WHEN "exit".Destination = '17' THEN 'other'
        ELSE 'unknown'
    END AS end_reason
FROM enrollment
JOIN project ON project.ProjectID = enrollment.ProjectID
LEFT JOIN "exit" ON "exit".EnrollmentID = enrollment.EnrollmentID AND coalesce("exit".DateDeleted, '') = ''
WHERE project.OrganizationID = getvariable('organization_id')
  AND coalesce(enrollment.DateDeleted, '') = ''
ORDER BY enrolment_number
